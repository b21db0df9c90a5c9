"""Connected digits: recordings of one speaker, one after the other, with pauses and low noise."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.speech.speech_data import SAMPLE_RATE, Source, recordings_of, samples_of
from model.speech.log_mel import LogMel, log_mel_spectrogram
from model.speech.recognizer import standardize

SPECTROGRAM = LogMel(SAMPLE_RATE, window_ms=32.0, step_ms=24.0)
"""Frames further apart than usual, as digits are long and grids take as much time as frames."""

FEWEST, MOST = 3, 7
"""Numbers of digits of an utterance."""

PAUSE = (0.05, 0.3)
"""Shortest and longest pause before each digit and after the last, in seconds."""

NOISE = (0.0005, 0.005)
"""Lowest and highest standard deviation of the noise of an utterance; samples lie in [-1, 1)."""

NOTHING = -1
"""What digits and their beginnings are padded with."""

_AT_ONCE = 32


class Joined(NamedTuple):
    """An utterance of several digits.

    Attributes:
      samples: Samples, float32 `[samples]`.
      digits: The digits.
      begins: Beginning of the recording of each digit, in seconds.
      speaker: Name of the speaker.
    """

    samples: np.ndarray
    digits: Sequence[int]
    begins: Sequence[float]
    speaker: str


class Utterances(NamedTuple):
    """Utterances as nets read them.

    Attributes:
      spectrograms: Standardized log-mel spectrograms, float32 `[utterances, frames, bands]`, zeros
        after the end of each.
      frames: Number of frames of each, int32 `[utterances]`.
      digits: Digits of each, int32 `[utterances, MOST]`, padded with `NOTHING`.
      begins: Beginning of each digit in seconds, float32 `[utterances, MOST]`, padded likewise.
      speakers: Name of the speaker of each.
    """

    spectrograms: np.ndarray
    frames: np.ndarray
    digits: np.ndarray
    begins: np.ndarray
    speakers: Sequence[str]


class Connected(NamedTuple):
    """Utterances to train on and to test on, of equal numbers of frames.

    Attributes:
      train: Utterances of recordings to train on.
      test: Utterances of the recordings of the official test split.
      mean: Mean of each band over the frames to train on, `[bands]`.
      scale: Standard deviation of each band, likewise.
    """

    train: Utterances
    test: Utterances
    mean: np.ndarray
    scale: np.ndarray


def join(
    recordings: Sequence[np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, list[float]]:
    """Joins recordings with pauses of `PAUSE`, and adds noise of `NOISE` to the whole.

    Args:
      recordings: Samples of each recording, float32 `[samples]`.
      random: Generator of the pauses and the noise.

    Returns:
      The samples, float32, and the beginning of each recording in seconds.
    """
    pauses = (random.uniform(*PAUSE, len(recordings) + 1) * SAMPLE_RATE).astype(int)
    parts, begins, at = [], [], 0
    for pause, recording in zip(pauses, recordings, strict=False):
        parts += [np.zeros(pause, np.float32), recording]
        begins.append((at + pause) / SAMPLE_RATE)
        at += pause + len(recording)
    samples = np.concatenate([*parts, np.zeros(pauses[-1], np.float32)])
    noise = random.uniform(*NOISE) * random.standard_normal(len(samples), np.float32)
    return np.clip(samples + noise.astype(np.float32), -1, 1), begins


@functools.cache
def load(
    source: Source, train: int, test: int, seed: int = 0, folder: str | None = None
) -> Connected:
    """Returns utterances, which are a function of the arguments.

    Args:
      source: Where the recordings come from.
      train: Number of utterances to train on.
      test: Number of utterances to test on, of the recordings 0 to 4 of each digit and speaker.
      seed: Seed of who says what, of pauses and noise. Default 0.
      folder: Local copy of the data set; see `datasets.read`.
    """
    parts = [
        joined(source, is_test, count, seed, folder)
        for is_test, count in ((False, train), (True, test))
    ]
    longest = max(len(one.samples) for part in parts for one in part)
    spectrograms = [_spectrograms([one.samples for one in part]) for part in parts]
    frames = np.concatenate(spectrograms[0])
    mean, scale = frames.mean(axis=0), frames.std(axis=0)
    of_train, of_test = (
        _utterances(part, found, SPECTROGRAM.frames(longest), mean, scale)
        for part, found in zip(parts, spectrograms, strict=True)
    )
    return Connected(of_train, of_test, mean, scale)


def joined(
    source: Source, is_test: bool, count: int, seed: int, folder: str | None = None
) -> list[Joined]:
    """Returns utterances of the speakers in turn.

    Args:
      source: Where the recordings come from.
      is_test: Whether of the recordings to test on rather than of the others.
      count: Number of utterances.
      seed: Seed, as of `load`; train and test are drawn independently of each other.
      folder: Local copy of the data set.
    """
    random = np.random.default_rng([seed, is_test])
    chosen = [one for one in recordings_of(source, folder) if (one.number < 5) == is_test]
    samples = samples_of(chosen)
    speakers = sorted({one.speaker for one in chosen})
    made = []
    for number in range(count):
        speaker = speakers[number % len(speakers)]
        own = [place for place, one in enumerate(chosen) if one.speaker == speaker]
        places = random.choice(own, random.integers(FEWEST, MOST + 1), replace=False)
        signal, begins = join([samples[place] for place in places], random)
        made.append(Joined(signal, [chosen[place].digit for place in places], begins, speaker))
    return made


def _spectrograms(signals: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the log-mel spectrograms `[frames, bands]` of signals."""
    found = []
    for first in range(0, len(signals), _AT_ONCE):
        batch = signals[first : first + _AT_ONCE]
        padded = np.zeros([len(batch), max(map(len, batch))], np.float32)
        for row, signal in zip(padded, batch, strict=True):
            row[: len(signal)] = signal
        spectrograms = log_mel_spectrogram(tf.constant(padded), SPECTROGRAM).numpy()
        found += [
            spectrogram[: SPECTROGRAM.frames(len(signal))]
            for spectrogram, signal in zip(spectrograms, batch, strict=True)
        ]
    return found


def _utterances(
    part: Sequence[Joined],
    spectrograms: Sequence[np.ndarray],
    frames: int,
    mean: np.ndarray,
    scale: np.ndarray,
) -> Utterances:
    """Returns utterances with spectrograms of as many frames each."""
    lengths = np.array([len(one) for one in spectrograms], np.int32)
    padded = np.zeros([len(part), frames, SPECTROGRAM.bands], np.float32)
    digits = np.full([len(part), MOST], NOTHING, np.int32)
    begins = np.full([len(part), MOST], NOTHING, np.float32)
    for row, (one, spectrogram) in enumerate(zip(part, spectrograms, strict=True)):
        padded[row, : len(spectrogram)] = spectrogram
        digits[row, : len(one.digits)] = one.digits
        begins[row, : len(one.begins)] = one.begins
    standardized = standardize(tf.constant(padded), tf.constant(lengths), mean, scale).numpy()
    return Utterances(standardized, lengths, digits, begins, [one.speaker for one in part])
