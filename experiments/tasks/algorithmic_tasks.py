"""Tasks with an endless supply of random examples: parity, addition, memorisation.

Kalchbrenner, Danihelka, Graves, "Grid Long Short-Term Memory", arXiv 1507.01526, section 4.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from experiments.tasks.task import UNCOUNTED, Examples
from model.errors import InputError

TEST_SEED = 2**31 - 1
"""Seed of the held-out examples, from which no training draws."""


class RandomTask:
    """A task whose held-out examples are drawn like those to train on.

    Attributes:
      held_out_size: Number of held-out examples.
    """

    held_out_size: ClassVar[int] = 1000

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Draws examples; see `Task.draw`."""
        raise NotImplementedError

    def held_out(self) -> Examples:
        """Returns the examples of `TEST_SEED`."""
        return self.draw(tf.constant([TEST_SEED, 0]), self.held_out_size)


@dataclasses.dataclass(frozen=True)
class Parity(RandomTask):
    """The parity of k random bits: whether the number of ones is odd (paper, section 4.1).

    Attributes:
      bits: Number of bits, k.
    """

    bits: int
    classes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_positive("bits", self.bits)

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Returns bits as -1 and 1, `[size, bits]`, with labels `[size]`; see `Task.draw`."""
        bits = tf.random.stateless_uniform([size, self.bits], seed, 0, 2, tf.int32)
        return Examples(tf.cast(2 * bits - 1, tf.float32), tf.reduce_sum(bits, axis=1) % 2)


@dataclasses.dataclass(frozen=True)
class Addition(RandomTask):
    """The sum of two numbers, read and written a digit per step (paper, section 4.2).

        reads   - 1 2 3 - 8 9 9 - - - - -
        writes  - - - - - - - - 1 0 2 2 -

    Numbers have exactly n digits; a sum has n or n + 1, and a blank ends it. The net does not read
    its own output.

    Attributes:
      digits: Number of digits of each number, n.
    """

    digits: int
    classes: ClassVar[int] = 11
    blank: ClassVar[int] = 10

    def __post_init__(self) -> None:
        _require_positive("digits", self.digits)
        if self.digits > 17:
            raise InputError(f"digits is {self.digits}; sums beyond 17 digits overflow 64 bits")

    @property
    def steps(self) -> int:
        """Number of steps: two numbers, a blank before each and one after, the sum and its end."""
        return 3 * self.digits + 4

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Returns one-hot symbols `[size, steps, 11]` with labels `[size, steps]` of the sum."""
        n = self.digits
        least = 10 ** (n - 1) if n > 1 else 0
        terms = tf.random.stateless_uniform([size, 2], seed, least, 10**n, tf.int64)
        total = tf.reduce_sum(terms, axis=1)
        blank = tf.fill([size, 1], tf.constant(self.blank))
        read = tf.concat(
            [blank, _digits(terms[:, 0], n), blank, _digits(terms[:, 1], n)]
            + [blank] * (self.steps - 2 * n - 2),
            axis=1,
        )
        short = tf.concat([_digits(total, n), blank, blank], axis=1)
        long = tf.concat([_digits(total, n + 1), blank], axis=1)
        written = tf.where((total >= 10**n)[:, None], long, short)
        silent = tf.fill([size, self.steps - n - 2], UNCOUNTED)
        return Examples(tf.one_hot(read, self.classes), tf.concat([silent, written], axis=1))


@dataclasses.dataclass(frozen=True)
class Memorisation(RandomTask):
    """The repetition of a random sequence of symbols after its end (paper, section 4.3).

        reads   - a b c - - - -
        writes  - - - - a b c -

    Attributes:
      length: Number of symbols of a sequence.
      symbols: Number of distinct symbols. Default 64.
    """

    length: int
    symbols: int = 64

    def __post_init__(self) -> None:
        _require_positive("length", self.length)
        _require_positive("symbols", self.symbols)

    @property
    def classes(self) -> int:
        """Number of classes: the symbols and the blank."""
        return self.symbols + 1

    @property
    def steps(self) -> int:
        """Number of steps: a blank, the sequence, the sequence again, a blank."""
        return 2 * self.length + 2

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Returns one-hot symbols `[size, steps, symbols + 1]` with labels `[size, steps]`."""
        sequence = tf.random.stateless_uniform([size, self.length], seed, 0, self.symbols, tf.int32)
        blank = tf.fill([size, 1], self.symbols)
        read = tf.concat([blank, sequence] + [blank] * (self.length + 1), axis=1)
        silent = tf.fill([size, self.length + 1], UNCOUNTED)
        labels = tf.concat([silent, sequence, blank], axis=1)
        return Examples(tf.one_hot(read, self.classes), labels)


def _digits(numbers: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the decimal digits `[size, count]`, int32, the highest first."""
    powers = tf.constant([10**place for place in reversed(range(count))], tf.int64)
    return tf.cast(numbers[:, None] // powers % 10, tf.int32)


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be at least 1")
