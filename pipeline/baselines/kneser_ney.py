"""Character n-grams with interpolated modified Kneser-Ney smoothing.

Of a character w after the context h of k - 1 characters, with V characters in the vocabulary and
h' for h without its first character:

    P_k(w | h) = (c(hw) - D(c(hw))) / c(h .) + gamma(h) P_{k-1}(w | h'),    P_0(w) = 1 / V
    gamma(h)   = sum_w D(c(hw)) / c(h .),  1 where c(h .) = 0
    D(i)       = i - (i + 1) Y n_{i+1} / n_i,   Y = n_1 / (n_1 + 2 n_2),   for i = 1, 2, 3 or more

At the highest order c(hw) is the number of occurrences of hw in the training text, and at lower
orders that of the distinct characters that precede it there; n_i is the number of k-grams whose c
is i. Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling",
Computer Speech and Language 13 (1999), section 3.

An n-gram is stored as a number, its key: the id of its context times V, plus its last character.
Ids count the k-grams of the training text in the order of their keys, so that all tables are sorted
arrays, and no text but the training text has a part in them.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from model.errors import InputError
from pipeline.data.counts import compiled

FALLBACK = (0.5, 1.0, 1.5)
"""KenLM's `--discount_fallback`, for where an n_i is 0 or a discount not positive."""
PIECE = 1 << 20  # characters scored at once


class Level(NamedTuple):
    """The probabilities of one order, k.

    Attributes:
      keys: Keys of the k-grams of the training text, ascending, int64 `[k_grams]`.
      probabilities: P_k of each, float64 `[k_grams]`.
      backoffs: gamma of each context, float64 `[contexts]`; the contexts are the (k-1)-grams.
    """

    keys: np.ndarray
    probabilities: np.ndarray
    backoffs: np.ndarray


@dataclasses.dataclass(frozen=True)
class KneserNey:
    """A model of n-grams, fitted to a text.

    >>> text = np.array([0, 1, 0, 1, 2, 0, 1, 0])
    >>> model = KneserNey.fit(text, size=3, order=2)
    >>> model.probabilities(np.array([0, 1])).round(4).tolist()
    [0.4167, 0.6458]

    Attributes:
      levels: Probabilities of the orders 1, 2, ..., n.
      size: Number of characters in the vocabulary.
    """

    levels: tuple[Level, ...]
    size: int

    @classmethod
    def fit(cls, text: np.ndarray, size: int, order: int) -> "KneserNey":
        """Fits a model to a text.

        Args:
          text: Ids of the characters, from 0 to `size` - 1, integers `[characters]`.
          size: Number of characters in the vocabulary.
          order: Length n of the n-grams; contexts have n - 1 characters. At least 1.

        Raises:
          InputError: If the text is not longer than `order`.
        """
        levels: list[Level] = []
        for counted in _orders(text, size):
            if len(levels) == order - 1:
                return cls((*levels, counted.highest()), size)
            levels.append(counted.lower)
        raise InputError(
            f"{len(text):,} characters are too few for {order}-grams; give a longer text"
        )

    def probabilities(self, text: np.ndarray) -> np.ndarray:
        """Computes the probability of each character of a text, given those before it.

        The first characters have shorter contexts, the very first an empty one.

        Args:
          text: Ids of the characters, integers `[characters]`.

        Returns:
          P(text[i] | text[:i]), float64 `[characters]`.
        """
        reading = _Reading(text, self.size)
        for level in self.levels:
            reading.advance(level, reading.find(level.keys))
        return reading.probabilities

    def bits_per_character(self, text: np.ndarray) -> float:
        """Computes the mean of -log2 P over a text, a million characters at a time.

        Args:
          text: Ids of the characters, integers `[characters]`, at least one.
        """
        total, reach = 0.0, len(self.levels) - 1
        for start in range(0, len(text), PIECE):
            before = min(start, reach)
            scored = self.probabilities(text[start - before : start + PIECE])[before:]
            total -= float(np.log2(scored).sum())
        return total / len(text)


def held_out_bits(text: np.ndarray, held_out: np.ndarray, size: int) -> Iterator[float]:
    """Yields the bits per character of a held-out text, by models of the orders 1, 2, 3, ...

    All are fitted to the same text, in one pass: a model shares its lower orders with the next.

    Args:
      text: Ids of the characters to fit to, integers `[characters]`.
      held_out: Ids of the characters to predict, integers `[characters]`, at least one.
      size: Number of characters in the vocabulary.
    """
    reading = _Reading(held_out, size)
    for order in _orders(text, size):
        ids = reading.find(order.grams.keys)
        yield float(-np.log2(reading.interpolate(order.highest(), ids)).mean())
        reading.advance(order.lower, ids)


class _Reading:
    """A text that is read order by order.

    Attributes:
      probabilities: P_k of each character, float64 `[characters]`, after k orders.
    """

    def __init__(self, text: np.ndarray, size: int):
        self._text, self._size = text.astype(np.int64), size
        self._contexts = np.zeros(len(text), np.int64)  # ids; -1 of those that no k-gram begins
        self.probabilities = np.full(len(text), 1 / size)

    def find(self, all_keys: np.ndarray) -> np.ndarray:
        """Returns the id of the k-gram that ends at each character; -1 where the key is not there.

        A context of -1 makes a negative key, which no k-gram has.
        """
        keys = self._contexts * self._size + self._text
        ids = np.searchsorted(all_keys, keys)
        ids[ids == len(all_keys)] = 0
        return np.where(all_keys[ids] == keys, ids, -1)

    def interpolate(self, level: Level, ids: np.ndarray) -> np.ndarray:
        """Returns P_k of each character."""
        backoffs = np.where(self._contexts < 0, 1.0, level.backoffs[self._contexts])
        return np.where(ids < 0, backoffs * self.probabilities, level.probabilities[ids])

    def advance(self, level: Level, ids: np.ndarray) -> None:
        """Goes on to the next order, after the k-grams with these ids."""
        self.probabilities = self.interpolate(level, ids)
        self._contexts[1:] = ids[:-1]
        self._contexts[:1] = -1


class _Grams(NamedTuple):
    """The k-grams of a text.

    Attributes:
      keys: Their keys, ascending, int64 `[k_grams]`.
      contexts: The id of the context of each, int64 `[k_grams]`.
      suffixes: The id of the (k-1)-gram that each ends with, int32 `[k_grams]`.
      counts: The number of occurrences of each, int64 `[k_grams]`.
    """

    keys: np.ndarray
    contexts: np.ndarray
    suffixes: np.ndarray
    counts: np.ndarray


class _Order(NamedTuple):
    """One order of a text: its k-grams, and what their probabilities follow from.

    Attributes:
      grams: The k-grams.
      below: P_{k-1} of all (k-1)-grams, float64, by continuations.
      lower: Level of models of higher orders, by continuations.
    """

    grams: _Grams
    below: np.ndarray
    lower: Level

    def highest(self) -> Level:
        """Returns the level of a model of this order, by occurrences."""
        return _level(self.grams, self.grams.counts, self.below)


def _orders(text: np.ndarray, size: int) -> Iterator[_Order]:
    """Yields the orders 1, 2, ... of a text, up to its length less one."""
    below = np.array([1 / size])
    for grams, longer in pairwise(_grams(text, size)):
        # Each k+1-gram is one more character before the k-gram that it ends with.
        continuations = np.bincount(longer.suffixes, minlength=len(grams.keys))
        lower = _level(grams, continuations, below)
        yield _Order(grams, below, lower)
        below = lower.probabilities


def _grams(text: np.ndarray, size: int) -> Iterator[_Grams]:
    """Yields the 1-grams, 2-grams, ... of a text, up to its length.

    The k-grams are sorted by their contexts, whose ids are known, after their last characters: two
    passes of a radix sort, of which the one by characters is the same for all orders.
    """
    text = text.astype(np.int32)
    by_character = _sorted_by(text, np.arange(len(text), dtype=np.int32), 0, _starts(text))
    ids = np.zeros(len(text) + 1, np.int32)  # of the k-gram that begins at each character
    for last in range(len(text)):
        by_key = _sorted_by(ids, by_character, last, _starts(ids[:-1]))
        keys = ids[by_key].astype(np.int64) * size + text[by_key + last]
        firsts = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.diff(firsts, append=len(keys))
        keys = keys[firsts]
        yield _Grams(keys, keys // size, ids[by_key[firsts] + 1], counts)
        ids = np.empty(len(by_key), np.int32)
        ids[by_key] = np.repeat(np.arange(len(firsts), dtype=np.int32), counts)


def _starts(values: np.ndarray) -> np.ndarray:
    """Returns how many values are smaller than 0, 1, ..., int64 `[greatest + 1]`."""
    occurrences = np.bincount(values)
    return np.cumsum(occurrences) - occurrences


@compiled
def _sorted_by(values: np.ndarray, ends: np.ndarray, last: int, starts: np.ndarray) -> np.ndarray:
    """Sorts k-grams by values; those of equal values stay in the order that they are given in.

    Args:
      values: Value at the beginning of each k-gram, int32 `[characters]`.
      ends: Positions of the last characters, int32 `[characters]`; those where no k-gram ends are
        left out.
      last: k - 1.
      starts: Number of smaller values than each, int64; the function changes it.

    Returns:
      Positions of the first characters, int32 `[characters - last]`.
    """
    result = np.empty(len(ends) - last, np.int32)
    for end in ends:
        begin = end - last
        if begin >= 0:
            value = values[begin]
            result[starts[value]] = begin
            starts[value] += 1
    return result


def _level(grams: _Grams, counts: np.ndarray, below: np.ndarray) -> Level:
    """Returns the level of k-grams.

    Args:
      grams: The k-grams.
      counts: Their c, int64 `[k_grams]`.
      below: P_{k-1} of all (k-1)-grams, float64.
    """
    discounts = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(grams.contexts, counts, len(below))
    withheld = np.bincount(grams.contexts, discounts, len(below))
    backoffs = np.divide(withheld, totals, out=np.ones(len(below)), where=totals > 0)
    probabilities = (counts - discounts) / np.maximum(totals, 1)[grams.contexts]
    probabilities += backoffs[grams.contexts] * below[grams.suffixes]
    return Level(grams.keys, probabilities, backoffs)


def _discounts(counts: np.ndarray) -> tuple[float, ...]:
    """Returns D(1), D(2) and D(3 or more), or those to fall back to where one has no estimate."""
    n = [int(np.count_nonzero(counts == count)) for count in range(1, 5)]
    if not all(n):
        return FALLBACK
    y = Fraction(n[0], n[0] + 2 * n[1])
    found = [i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3)]
    # A discount of 0 would leave nothing for the characters that do not follow a context: P = 0.
    return FALLBACK if min(found) <= 0 else tuple(map(float, found))
