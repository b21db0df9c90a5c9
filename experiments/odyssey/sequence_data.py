"""Sequences with a target at each step: Bach's chorales, spoken digits, characters of a text."""

import functools
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.characters import language_models
from experiments.data import datasets
from experiments.speech.speech_data import SAMPLE_RATE, log_mel_of, samples_of
from model.speech.log_mel import LogMel
from pipeline.corpora.corpus import Mixture
from pipeline.settings import DataConfig
from pipeline.store.artifacts import Store

SequenceTask = Literal["chorales", "spoken digits", "characters"]

STEPS = 60
"""Number of steps of a sequence; longer ones are cut, and shorter ones padded."""

SPEECH = LogMel(sample_rate=SAMPLE_RATE, step_ms=20.0)
"""The frames of the spoken digits. Steps of 20 ms give a sequence two or three digits."""

_DATA = DataConfig()


class Sequences(NamedTuple):
    """Sequences and what to predict at each of their steps.

    Attributes:
      inputs: Inputs `[sequences, STEPS, features]`: 0 or 1, uint8, or float32.
      targets: Target of each step: notes `[sequences, STEPS, outputs]`, 0 or 1, or classes
        `[sequences, STEPS]`, uint8.
      counted: Whether each step counts, `[sequences, STEPS]`, boolean; padding does not.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counted: np.ndarray


class SequenceData(NamedTuple):
    """A task of predicting a target at each step.

    Attributes:
      train: Sequences to train on.
      valid: Sequences that choose between settings and epochs.
      test: Sequences to measure.
      outputs: Number of notes, or of classes.
      are_notes: Whether the target is any number of notes; otherwise it is one class.
      reads_ahead: Whether the target of a step may be told from all steps, as it is not what
        follows.
    """

    train: Sequences
    valid: Sequences
    test: Sequences
    outputs: int
    are_notes: bool = False
    reads_ahead: bool = False


class SequenceSource(NamedTuple):
    """Where the sequences of a task come from.

    Attributes:
      task: "chorales" for JSB Chorales, where each of 88 notes sounds or not in the next quarter
        (the split of Boulanger-Lewandowski et al., arXiv 1206.6392); "spoken digits" for the Free
        Spoken Digit Dataset, where each frame belongs to one of ten digits; or "characters" of a
        text, each of which is followed by another.
      folder: Folder of a local copy of the data set; None for the cache of downloads.
      text: Corpus of the characters; None for a data set.
      characters: Number of its characters to use: the last tenth is to test, the one before to
        validate.
    """

    task: SequenceTask
    folder: str | None = None
    text: Mixture | None = None
    characters: int = 0

    def description(self, store: Store) -> dict[str, Any]:
        """Returns what decides over the sequences, of which JSON can express all.

        Args:
          store: Store of the artifacts, held by this process.
        """
        if self.text is None:
            return {"task": self.task}
        examples = language_models.examples_of(store, self.text, _DATA)[0]
        return {
            "task": self.task,
            "examples": examples.fingerprint,
            "characters": self.characters,
        }

    def load(self, store: Store) -> SequenceData:
        """Returns the sequences.

        Args:
          store: Store of the artifacts, held by this process.
        """
        if self.task == "chorales":
            return _chorales(self.folder)
        if self.text is None:
            return _spoken_digits(self.folder)
        examples = language_models.examples_of(store, self.text, _DATA)[0]
        return _characters(language_models.text_of(examples, "train")[: self.characters])


@functools.cache
def _chorales(folder: str | None) -> SequenceData:
    parts = datasets.chorales(folder)
    train, valid, test = (_cut_rolls(parts[part]) for part in ("train", "valid", "test"))
    return SequenceData(train, valid, test, outputs=len(datasets.PITCHES), are_notes=True)


def _cut_rolls(rolls: list[np.ndarray]) -> Sequences:
    """Cuts piano rolls `[steps, notes]` into sequences, of which the last of a piece is padded."""
    pieces = [
        roll[start : start + STEPS + 1]
        for roll in rolls
        for start in range(0, len(roll) - 1, STEPS)
    ]
    padded = np.zeros([len(pieces), STEPS + 1, rolls[0].shape[1]], np.uint8)
    counted = np.zeros([len(pieces), STEPS], bool)
    for row, piece in enumerate(pieces):
        padded[row, : len(piece)] = piece
        counted[row, : len(piece) - 1] = True
    return Sequences(padded[:, :-1], padded[:, 1:], counted)


@functools.cache
def _spoken_digits(folder: str | None) -> SequenceData:
    """Returns the digits of each speaker, one after the other, cut into sequences.

    To train on are all but the official test split and its successor, the recordings 5 to 9, which
    validate. Bands are standardized over the training part.
    """
    recordings = datasets.spoken_digits(folder)
    order = np.random.default_rng(0).permutation(len(recordings))  # not a digit over and over
    shuffled = sorted((recordings[place] for place in order), key=lambda one: one.speaker)
    bounds = {"test": range(5), "valid": range(5, 10), "train": range(10, 50)}
    frames: dict[str, list[np.ndarray]] = {part: [] for part in bounds}
    digits: dict[str, list[np.ndarray]] = {part: [] for part in bounds}
    for one, samples in zip(shuffled, samples_of(shuffled), strict=True):
        (part,) = (part for part, indices in bounds.items() if one.number in indices)
        frames[part].append(log_mel_of(samples, SPEECH))
        digits[part].append(np.full(len(frames[part][-1]), one.digit, np.uint8))
    of_training = np.concatenate(frames["train"])
    mean, scale = of_training.mean(axis=0), of_training.std(axis=0)
    train, valid, test = (
        _cut_frames((np.concatenate(frames[part]) - mean) / scale, np.concatenate(digits[part]))
        for part in ("train", "valid", "test")
    )
    return SequenceData(train, valid, test, outputs=10, reads_ahead=True)


def _cut_frames(frames: np.ndarray, digits: np.ndarray) -> Sequences:
    """Cuts frames `[frames, bands]` into sequences; what is left over at the end is dropped."""
    count = len(frames) // STEPS
    return Sequences(
        frames[: count * STEPS].reshape(count, STEPS, -1),
        digits[: count * STEPS].reshape(count, STEPS),
        np.ones([count, STEPS], bool),
    )


@functools.cache
def _characters(text: bytes) -> SequenceData:
    known, ids = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    tenth = len(ids) // 10
    parts = ids[: -2 * tenth], ids[-2 * tenth : -tenth], ids[-tenth:]
    train, valid, test = (_cut_ids(part, len(known)) for part in parts)
    return SequenceData(train, valid, test, outputs=len(known))


def _cut_ids(ids: np.ndarray, classes: int) -> Sequences:
    """Cuts ids into sequences without padding; what is left over at the end is dropped."""
    count = (len(ids) - 1) // STEPS
    inputs = ids[: count * STEPS].reshape(count, STEPS)
    targets = ids[1 : count * STEPS + 1].reshape(count, STEPS)
    return Sequences(
        np.eye(classes, dtype=np.uint8)[inputs],
        targets.astype(np.uint8),
        np.ones([count, STEPS], bool),
    )
