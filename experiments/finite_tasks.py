"""Tasks whose examples are a data set: images of digits, and lines of code by project."""

import dataclasses
import functools
import hashlib
import pathlib
import sysconfig
from collections.abc import Iterator
from typing import ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from experiments.task import Examples
from model.config import require_one_of
from model.errors import InputError

Source = Literal["digits", "mnist"]


class DataSet:
    """A task that draws its batches from a data set, with replacement.

    Subclasses implement `arrays`.
    """

    def arrays(self) -> tuple[Examples, Examples]:
        """Returns the examples to train on and to test on, as arrays."""
        raise NotImplementedError

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Draws examples to train on; see `Task.draw`."""
        inputs, labels = self.arrays()[0]
        chosen = tf.random.stateless_uniform([size], seed, 0, len(labels), tf.int32)
        return self.encoded(tf.gather(inputs, chosen), tf.gather(labels, chosen))

    def held_out(self) -> Examples:
        """Returns the examples to test on."""
        return self.encoded(*map(tf.constant, self.arrays()[1]))

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """Returns examples as a net reads them, float32, from arrays as they are stored."""
        return Examples(tf.cast(inputs, tf.float32), labels)


@dataclasses.dataclass(frozen=True)
class DigitImages(DataSet):
    """Handwritten digits, cut into square patches, for a grid of two dimensions and depth.

    Attributes:
      source: "digits" for scikit-learn's 1,797 images of 8 x 8 pixels, every fifth of which is
        held out, or "mnist" for 70,000 images of 28 x 28 pixels, which are downloaded.
      patch: Side of a patch in pixels, a divisor of the image's.
    """

    source: Source
    patch: int
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        require_one_of("source", self.source, Source)

    def arrays(self) -> tuple[Examples, Examples]:
        """Returns patches `[images, side, side, patch * patch]` with values from 0 to 1."""
        return _digit_images(self.source, self.patch)


@functools.cache
def _digit_images(source: Source, patch: int) -> tuple[Examples, ...]:
    if source == "digits":
        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8) / 16
        held_out = np.arange(len(labels)) % 5 == 4
        parts = (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
    else:
        try:
            parts = keras.datasets.mnist.load_data()
        except Exception as error:  # the download raises many kinds
            raise InputError(
                "MNIST cannot be downloaded; check the network, or run another scale"
            ) from error
        parts = tuple((images / 255, labels) for images, labels in parts)
    return tuple(
        Examples(_patches(images.astype(np.float32), patch), labels.astype(np.int32))
        for images, labels in parts
    )


def _patches(images: np.ndarray, patch: int) -> np.ndarray:
    """Cuts images `[images, height, width]` into square patches."""
    count, height, width = images.shape
    if height % patch or width % patch:
        raise InputError(f"patch is {patch}; it must divide the images' {height} x {width} pixels")
    cut = images.reshape(count, height // patch, patch, width // patch, patch)
    return cut.transpose(0, 1, 3, 2, 4).reshape(count, height // patch, width // patch, patch**2)


@dataclasses.dataclass(frozen=True)
class CodeAttribution(DataSet):
    """Attribution of lines of Python to the project they are from, among installed projects.

    Lines are right-aligned in their row, with spaces before them. Lines that occur in two projects
    are left out. A hash of its content decides whether a line is held out, as one in ten is.

    Attributes:
      length: Number of characters of a row; longer lines are cut.
      lines: Number of lines of each project, those with the smallest hashes.
      projects: Names of the projects.
    """

    length: int
    lines: int
    projects: ClassVar[tuple[str, ...]] = (
        "apache_beam",
        "hypothesis",
        "keras",
        "matplotlib",
        "numpy",
        "rich",
        "sklearn",
        "werkzeug",
    )
    classes: ClassVar[int] = len(projects)
    first_code: ClassVar[int] = 32
    symbols: ClassVar[int] = 95  # printable ASCII characters

    def arrays(self) -> tuple[Examples, Examples]:
        """Returns codes of characters `[lines, length]`, uint8."""
        return _lines_of(self.projects, self.length, self.lines)

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """Returns one-hot characters `[size, length, 95]`."""
        return Examples(
            tf.one_hot(tf.cast(inputs, tf.int32) - self.first_code, self.symbols), labels
        )


PRINTABLE = bytes(range(32, 127))
SHORTEST = 20
"""Smallest number of characters of a line that may identify its project."""


@functools.cache
def _lines_of(projects: tuple[str, ...], length: int, count: int) -> tuple[Examples, ...]:
    """Returns the lines to train on and to test on."""
    owners: dict[bytes, set[str]] = {}
    for project in projects:
        for line in _lines(project):
            owners.setdefault(line, set()).add(project)
    rows: tuple[list, list] = ([], [])
    labels: tuple[list, list] = ([], [])
    counts = dict.fromkeys(projects, 0)
    for line in sorted(owners, key=_digest):
        project, *others = owners[line]
        if others or counts[project] == count:
            continue
        counts[project] += 1
        held_out = _digest(line)[-1] < 26  # of 256; lines are sorted by the first bytes
        rows[held_out].append(list(line[:length].rjust(length)))
        labels[held_out].append(projects.index(project))
    return tuple(
        Examples(np.array(row, np.uint8), np.array(label, np.int32))
        for row, label in zip(rows, labels, strict=True)
    )


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()


def _lines(project: str) -> Iterator[bytes]:
    """Yields the lines of a project's sources that are printable and long enough, stripped."""
    root = pathlib.Path(sysconfig.get_path("purelib"), project)
    for path in sorted(root.rglob("*.py")):
        for line in path.read_bytes().splitlines():
            line = line.strip()
            if len(line) >= SHORTEST and not line.translate(None, PRINTABLE):
                yield line
