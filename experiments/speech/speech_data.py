"""Spoken digits as spectrograms: the Free Spoken Digit Dataset, or tones that stand for digits."""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.data import datasets
from model.speech.log_mel import LogMel, log_mel_spectrogram
from model.speech.wav import decode_wavs
from model.speech.wav_headers import WavLimits

Source = Literal["fsdd", "tones"]

OFFICIAL = "official"
"""The name of the split that tests the recordings 0 to 4 of each digit and speaker."""

SAMPLE_RATE = 8_000
FRAMES = 64
"""Number of frames of a spectrogram, a second; longer recordings lose their beginning."""

SPECTROGRAM = LogMel(sample_rate=SAMPLE_RATE, step_ms=16.0)

WAV = WavLimits(SAMPLE_RATE, min_samples=SPECTROGRAM.window)
"""What recordings are."""


class Utterances(NamedTuple):
    """Recordings of single digits.

    Attributes:
      spectrograms: Standardized log-mel spectrograms, `[recordings, FRAMES, bands]`, float32. They
        end with the recording; frames before its beginning are zeros.
      digits: The digits, `[recordings]`, int32.
    """

    spectrograms: np.ndarray
    digits: np.ndarray


class Split(NamedTuple):
    """Recordings to train on and to test on.

    Attributes:
      train: Recordings to train on.
      test: Recordings to test on.
    """

    train: Utterances
    test: Utterances


def samples_of(recordings: Sequence[datasets.Recording]) -> list[np.ndarray]:
    """Returns the samples of recordings, float32 `[samples]` in [-1, 1) each.

    Args:
      recordings: The recordings.

    Raises:
      InputError: If one is no WAV file of `WAV`; the message names it by its speaker and digit.
    """
    names = [f"recording {one.number} of {one.digit} by {one.speaker}" for one in recordings]
    wavs = (one.wav for one in recordings)
    return decode_wavs(dict(zip(names, wavs, strict=True)), WAV)


def log_mel_of(samples: np.ndarray, settings: LogMel) -> np.ndarray:
    """Returns the log-mel spectrogram `[frames, bands]` of a recording.

    Args:
      samples: Its samples, float32 `[samples]`.
      settings: Settings of the spectrogram.
    """
    return log_mel_spectrogram(tf.constant(samples), settings).numpy()


def splits(source: Source, folder: str | None = None) -> list[str]:
    """Returns the names of the splits: the official one, and one per speaker who is left out.

    Args:
      source: Where the recordings come from.
      folder: Local copy of the data set; see `datasets.read`.
    """
    speakers = sorted({one.speaker for one in recordings_of(source, folder)})
    return [OFFICIAL, *speakers]


@functools.cache
def load(source: Source, split: str, folder: str | None = None) -> Split:
    """Returns the recordings of a split; bands are standardized over those to train on.

    Args:
      source: Where the recordings come from: the data set "fsdd", or "tones", which need none.
      split: `OFFICIAL`, or the name of a speaker, all of whose recordings are to test on.
      folder: Local copy of the data set; see `datasets.read`.
    """
    recordings = recordings_of(source, folder)
    tested = [one.number < 5 if split == OFFICIAL else one.speaker == split for one in recordings]
    samples = samples_of(recordings)
    spectrograms = [log_mel_of(one, SPECTROGRAM)[-FRAMES:] for one in samples]
    trained = np.concatenate(
        [s for s, is_test in zip(spectrograms, tested, strict=True) if not is_test]
    )
    mean, scale = trained.mean(axis=0), trained.std(axis=0)
    padded = np.zeros([len(recordings), FRAMES, SPECTROGRAM.bands], np.float32)
    for row, spectrogram in zip(padded, spectrograms, strict=True):
        row[FRAMES - len(spectrogram) :] = (spectrogram - mean) / scale
    digits, is_test = np.array([one.digit for one in recordings], np.int32), np.array(tested)
    train, test = (Utterances(padded[part], digits[part]) for part in (~is_test, is_test))
    return Split(train, test)


@functools.cache
def recordings_of(source: Source, folder: str | None = None) -> list[datasets.Recording]:
    """Returns all recordings of a source.

    Args:
      source: Where the recordings come from.
      folder: Local copy of the data set; see `datasets.read`.
    """
    return datasets.spoken_digits(folder) if source == "fsdd" else _tones()


def _tones() -> list[datasets.Recording]:
    """Returns a tone of a pitch of its own for each digit, by three speakers, with noise."""
    random = np.random.default_rng(0)
    found = []
    for speaker, pitch in (("low", 1.0), ("middle", 1.06), ("high", 1.12)):
        for digit in range(10):
            for index in range(10):
                time = np.arange(random.integers(2_000, 5_000)) / SAMPLE_RATE
                phase = 2 * np.pi * (200 * pitch * 1.3**digit * time + random.uniform())
                samples = 0.5 * np.sin(phase) + 0.02 * random.normal(size=len(time))
                wav = tf.audio.encode_wav(samples[:, None].astype(np.float32), SAMPLE_RATE)
                found.append(datasets.Recording(digit, speaker, index, wav.numpy()))
    return found
