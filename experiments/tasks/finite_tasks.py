"""Tasks whose examples are a data set: images of digits, and lines of code by project."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import pathlib
import sysconfig
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from experiments.data import datasets
from experiments.data.datasets import LabelledImages
from experiments.tasks.task import Examples
from model.config import require_one_of
from model.errors import InputError

Source = Literal["digits", "mnist"]


class FiniteTask:
    """A task that draws its batches from a data set, with replacement.

    Subclasses implement `arrays`.
    """

    @property
    def data_set(self) -> str:
        """Name of the data set in `datasets.DATA_SETS`; empty if it is installed."""
        return ""

    def in_folder(self, folder: str | None) -> Self:
        """Returns the same task on the local copy of the data set in a folder, if it has one."""
        return self

    def arrays(self) -> tuple[Examples, Examples]:
        """Returns the examples to train on and to test on, as arrays."""
        raise NotImplementedError

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Draws examples to train on; see `Task.draw`."""
        with tf.init_scope():  # a graph refers to these tensors, and does not contain them
            inputs, labels = map(tf.constant, self.arrays()[0])
        chosen = tf.random.stateless_uniform([size], seed, 0, len(labels), tf.int32)
        return self.encoded(tf.gather(inputs, chosen), tf.gather(labels, chosen))

    def held_out(self) -> Examples:
        """Returns the examples to test on."""
        return self.encoded(*map(tf.constant, self.arrays()[1]))

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """Returns examples as a net reads them, float32, from arrays as they are stored."""
        return Examples(tf.cast(inputs, tf.float32), labels)


class _Digits(NamedTuple):
    """Images of handwritten digits.

    Attributes:
      train: Images to train on.
      test: Images to test on.
      white: Largest value of a pixel.
    """

    train: LabelledImages
    test: LabelledImages
    white: int


@functools.cache
def _digits(source: Source, folder: str | None) -> _Digits:
    """Returns the images of a source; see `DigitTask`."""
    if source == "mnist":
        return _Digits(*datasets.mnist(folder), white=255)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.uint8)
    held_out = np.arange(len(labels)) % 5 == 4
    train, test = (LabelledImages(images[part], labels[part]) for part in (~held_out, held_out))
    return _Digits(train, test, white=16)


@dataclasses.dataclass(frozen=True)
class DigitTask(FiniteTask):
    """Classification of handwritten digits.

    Subclasses implement `arranged`.

    Attributes:
      source: "digits" for scikit-learn's 1,797 images of 8 x 8 pixels, every fifth of which is
        held out, or "mnist" for 70,000 images of 28 x 28 pixels.
      folder: Folder of a local copy; see `datasets.read`. Default: the cache.
    """

    source: Source
    # Does not change the examples, as data sets are verified.
    folder: str | None = dataclasses.field(default=None, kw_only=True, compare=False)
    classes: ClassVar[int] = 10

    def __post_init__(self) -> None:
        require_one_of("source", self.source, Source)

    @property
    def data_set(self) -> str:
        """Name of the data set; see `FiniteTask`."""
        return "mnist" if self.source == "mnist" else ""

    def in_folder(self, folder: str | None) -> Self:
        """Returns the same task on the local copy in a folder."""
        return dataclasses.replace(self, folder=folder)

    def arrays(self) -> tuple[Examples, Examples]:
        """Returns pixels, uint8, in the arrangement in which a net reads them."""
        digits = _digits(self.source, self.folder)
        train, test = (
            Examples(self.arranged(part.images), part.labels.astype(np.int32))
            for part in (digits.train, digits.test)
        )
        return train, test

    def arranged(self, images: np.ndarray) -> np.ndarray:
        """Arranges images `[images, height, width]` for a net."""
        raise NotImplementedError

    def encoded(self, inputs: tf.Tensor, labels: tf.Tensor) -> Examples:
        """Returns pixels with values from 0 to 1."""
        white = _digits(self.source, self.folder).white
        return Examples(tf.cast(inputs, tf.float32) / white, labels)


@dataclasses.dataclass(frozen=True)
class DigitImages(DigitTask):
    """Handwritten digits, cut into square patches, for a grid of two dimensions and depth.

    Attributes:
      patch: Side of a patch in pixels, a divisor of the image's.
    """

    patch: int

    def arranged(self, images: np.ndarray) -> np.ndarray:
        """Returns patches `[images, side, side, patch * patch]`."""
        count, height, width = images.shape
        patch = self.patch
        if height % patch or width % patch:
            raise InputError(
                f"patch is {patch}; it must divide the images' {height} x {width} pixels"
            )
        cut = images.reshape(count, height // patch, patch, width // patch, patch)
        rows = cut.transpose(0, 1, 3, 2, 4)
        return rows.reshape(count, height // patch, width // patch, patch**2)


@dataclasses.dataclass(frozen=True)
class DigitVectors(DigitTask):
    """Handwritten digits as vectors of all pixels, for feed-forward nets."""

    def arranged(self, images: np.ndarray) -> np.ndarray:
        """Returns vectors `[images, pixels]`."""
        return images.reshape(len(images), -1)


_PROJECTS = {
    "apache_beam": "apache-beam",
    "hypothesis": "hypothesis",
    "keras": "keras",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "rich": "rich",
    "sklearn": "scikit-learn",
    "werkzeug": "werkzeug",
}
"""The distributions of the projects, by the names of their packages."""


def _versions() -> tuple[str, ...]:
    """Returns the versions of the projects, empty for one that is not installed."""
    found = []
    for name in _PROJECTS.values():
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class CodeAttribution(FiniteTask):
    """Attribution of lines of Python to the project they are from, among installed projects.

    Lines are right-aligned in their row, with spaces before them. Lines that occur in two projects
    are left out. A hash of its content decides whether a line is held out, as one in ten is.

    Attributes:
      length: Number of characters of a row; longer lines are cut.
      lines: Number of lines of each project, those with the smallest hashes.
      versions: Versions of the projects, which decide over their lines. Default: as installed.
      projects: Names of the projects.
    """

    length: int
    lines: int
    versions: tuple[str, ...] = dataclasses.field(default_factory=_versions)
    projects: ClassVar[tuple[str, ...]] = tuple(_PROJECTS)
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
def _lines_of(projects: tuple[str, ...], length: int, count: int) -> tuple[Examples, Examples]:
    """Returns the lines to train on and to test on."""
    # Lines are told apart by what a net sees of them.
    owners: dict[bytes, set[str]] = {}
    for project in projects:
        for line in _lines(project):
            owners.setdefault(line[:length], set()).add(project)
    rows: tuple[list, list] = ([], [])
    labels: tuple[list, list] = ([], [])
    counts = dict.fromkeys(projects, 0)
    for line in sorted(owners, key=_digest):
        project, *others = owners[line]
        if others or counts[project] == count:
            continue
        counts[project] += 1
        held_out = _digest(line)[-1] < 26  # of 256; lines are sorted by the first bytes
        rows[held_out].append(list(line.rjust(length)))
        labels[held_out].append(projects.index(project))
    train, test = (
        Examples(np.array(row, np.uint8), np.array(label, np.int32))
        for row, label in zip(rows, labels, strict=True)
    )
    return train, test


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
