"""Tasks whose examples are a data set: images of digits, and lines of code by who wrote them."""

import dataclasses
import functools
import hashlib
import pathlib
import sysconfig
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
    """A task that draws from examples to train on, again and again.

    A subclass says what `arrays` are: inputs and labels to train on, and to test on.
    """

    def arrays(self) -> tuple[Examples, Examples]:
        """Examples to train on and to test on."""
        raise NotImplementedError

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Random ones of the examples to train on."""
        inputs, labels = self.arrays()[0]
        chosen = tf.random.stateless_uniform([size], seed, 0, len(labels), tf.int32)
        return self.encoded(tf.gather(inputs, chosen), tf.gather(labels, chosen))

    def held_out(self) -> Examples:
        """The examples to test on."""
        return self.encoded(*map(tf.constant, self.arrays()[1]))

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """What the net gets, float32, of what is kept in memory."""
        return Examples(tf.cast(inputs, tf.float32), labels)


@dataclasses.dataclass(frozen=True)
class DigitImages(DataSet):
    """Handwritten digits, cut into square patches, for a grid of two dimensions and depth.

    Attributes:
      source: "digits", scikit-learn's 1,797 of 8 x 8 pixels, every fifth of which is tested on; or
        "mnist", 70,000 of 28 x 28, which is downloaded.
      patch: side of a patch, in pixels; the image's is a multiple of it.
    """

    source: Source
    patch: int
    classes: ClassVar[int] = 10

    def __post_init__(self):
        require_one_of("source", self.source, Source)

    def arrays(self) -> tuple[Examples, Examples]:
        """Patches `[images, side, side, patch * patch]`, from 0 to 1."""
        return _digit_images(self.source, self.patch)


@functools.cache
def _digit_images(source, patch):
    if source == "digits":
        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8) / 16
        tested = np.arange(len(labels)) % 5 == 4
        parts = (images[~tested], labels[~tested]), (images[tested], labels[tested])
    else:
        try:
            parts = keras.datasets.mnist.load_data()
        except Exception as error:  # whatever the download ends in
            raise InputError(
                "MNIST cannot be downloaded; look after the network, or run another scale"
            ) from error
        parts = tuple((images / 255, labels) for images, labels in parts)
    return tuple(
        Examples(_patches(images.astype(np.float32), patch), labels.astype(np.int32))
        for images, labels in parts
    )


def _patches(images, patch):
    count, height, width = images.shape
    if height % patch or width % patch:
        raise InputError(f"patch is {patch}; it must divide the images' {height} x {width} pixels")
    cut = images.reshape(count, height // patch, patch, width // patch, patch)
    return cut.transpose(0, 1, 3, 2, 4).reshape(count, height // patch, width // patch, patch**2)


@dataclasses.dataclass(frozen=True)
class Authors(DataSet):
    """Which project a line of Python is from, of projects that this one has installed.

    Lines stand at the end of their row, with spaces before them; lines that occur in two projects
    are in neither. Which lines are tested on, one in ten, their content decides.

    Attributes:
      length: characters of a row; longer lines end there.
      lines: of each project, the first by a hash of their content.
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
    first: ClassVar[int] = 32
    symbols: ClassVar[int] = 95  # of ASCII that can be printed

    def arrays(self) -> tuple[Examples, Examples]:
        """Ids of characters `[lines, length]`, uint8."""
        return _lines_of(self.projects, self.length, self.lines)

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """One-hot characters `[size, length, 95]`."""
        return Examples(tf.one_hot(tf.cast(inputs, tf.int32) - self.first, self.symbols), labels)


PRINTABLE = bytes(range(32, 127))
SHORTEST = 20
"""Characters of a line that may give its author away."""


@functools.cache
def _lines_of(projects, length, count):
    owners: dict[bytes, set[str]] = {}
    for project in projects:
        for line in _lines(project):
            owners.setdefault(line, set()).add(project)
    rows: tuple[list, list] = ([], [])
    labels: tuple[list, list] = ([], [])
    found = dict.fromkeys(projects, 0)
    for line in sorted(owners, key=_digest):
        project, *others = owners[line]
        if others or found[project] == count:
            continue
        found[project] += 1
        tested = _digest(line)[-1] < 26  # of 256; the first byte is what lines are sorted by
        rows[tested].append(list(line[:length].rjust(length)))
        labels[tested].append(projects.index(project))
    return tuple(
        Examples(np.array(row, np.uint8), np.array(label, np.int32))
        for row, label in zip(rows, labels, strict=True)
    )


def _digest(line):
    return hashlib.sha256(line).digest()


def _lines(project):
    """The lines of a project's sources that can be printed and are long enough, stripped."""
    root = pathlib.Path(sysconfig.get_path("purelib"), project)
    for path in sorted(root.rglob("*.py")):
        for line in path.read_bytes().splitlines():
            line = line.strip()
            if len(line) >= SHORTEST and not line.translate(None, PRINTABLE):
                yield line
