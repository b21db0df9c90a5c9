"""Counts of characters, of pairs of neighbours and of lines, which texts in a row add up to."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numba
import numpy as np

from common.background import Background
from model.config import CharacterUnit

NEWLINE = ord("\n")
GATHERED = 1 << 20  # characters that are counted at once
DENSE = 1 << 22  # most counters that are kept one for each value there could be


class Tally(NamedTuple):
    """How often each value occurs.

    Attributes:
      values: ascending, int64 `[n]`.
      occurrences: of each, above 0, int64 `[n]`.
    """

    values: np.ndarray
    occurrences: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Tally":
        """The tally of integers from 0 on, in any order."""
        if len(values) and int(values.max()) < DENSE:
            return cls.of_dense(np.bincount(values))
        return cls(*_int64(*np.unique(values, return_counts=True)))

    @classmethod
    def of_dense(cls, occurrences: np.ndarray) -> "Tally":
        """The tally of values from 0 on that occur so often."""
        values = np.flatnonzero(occurrences)
        return cls(*_int64(values, occurrences[values]))

    @classmethod
    def sum(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All of them together."""
        values = np.concatenate([tally.values for tally in tallies])
        occurrences = np.concatenate([tally.occurrences for tally in tallies])
        order = np.argsort(values, kind="stable")  # fast where few rising sequences follow
        return cls.of_sorted(values[order], occurrences[order])

    @classmethod
    def of_sorted(cls, values: np.ndarray, occurrences: np.ndarray) -> "Tally":
        """The tally of ascending values, those that are equal taken together."""
        if not len(values):
            return NOTHING
        starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
        return cls(values[starts], np.add.reduceat(occurrences, starts))

    @property
    def total(self) -> int:
        """The number of values, each as often as it occurs."""
        return int(self.occurrences.sum())


def _int64(*arrays):
    return (array.astype(np.int64, copy=False) for array in arrays)


NOTHING = Tally(np.zeros(0, np.int64), np.zeros(0, np.int64))


class Tallies(NamedTuple):
    """What is counted in a text wherever it stands.

    Attributes:
      characters: of the codes.
      pairs: of neighbours, as `first << 32 | second`.
      lines: of the lengths of the lines that begin and end here.
    """

    characters: Tally = NOTHING
    pairs: Tally = NOTHING
    lines: Tally = NOTHING

    @classmethod
    def sum(cls, several: Iterable["Tallies"]) -> "Tallies":
        """All of them together."""
        return cls(*(Tally.sum([NOTHING, *column]) for column in zip(*several, strict=True)))


class Edges(NamedTuple):
    """What there is to know of a text to join it to its neighbours.

    Attributes:
      head: characters before the first line feed, or of the whole text if it has none.
      tail: characters after the last line feed, or of the whole text.
      broken: whether it has a line feed.
      first: the first code; -1 where the text is empty.
      last: the last code; likewise.
      records: number of records.
      invalid: the first place that is not UTF-8, as "source, byte n"; empty where there is none.
    """

    head: int = 0
    tail: int = 0
    broken: bool = False
    first: int = -1
    last: int = -1
    records: int = 0
    invalid: str = ""


class Counts(NamedTuple):
    """What is counted in consecutive text."""

    tallies: Tallies
    edges: Edges

    @property
    def total(self) -> int:
        """The number of characters."""
        return self.tallies.characters.total


class Counting:
    """Counts a text that comes in pieces, one after the other, in a thread of its own."""

    def __init__(self, unit: CharacterUnit):
        self._pairs = _BytePairs() if unit == "bytes" else _CodePointPairs()
        # To begin counting costs as much as counting thousands of characters.
        dtype = np.uint8 if unit == "bytes" else np.uint32
        self._gathered, self._counted = np.empty(GATHERED, dtype), np.empty(GATHERED, dtype)
        self._counting = Background()
        self._size = self._total = 0
        self._lines: list[Tally] = []
        self._first = self._last = self._first_break = self._last_break = -1

    def add(self, codes: np.ndarray) -> None:
        """Takes the next codes: uint8 bytes, or uint32 code points."""
        while len(codes):
            part = codes[: GATHERED - self._size]
            self._gathered[self._size : self._size + len(part)] = part
            self._size += len(part)
            codes = codes[len(part) :]
            if self._size == GATHERED:
                self._hand_over()

    def _hand_over(self):
        """Has what was gathered counted, while more is gathered in place of what was before."""
        self._counting.call(self._count, self._gathered[: self._size])
        self._gathered, self._counted = self._counted, self._gathered
        self._size = 0

    def _count(self, codes):
        if not len(codes):
            return
        if self._total:
            self._pairs.add_one(self._last, int(codes[0]))
        else:
            self._first = int(codes[0])
        self._last = int(codes[-1])
        breaks = self._pairs.add(codes) + self._total
        if len(breaks):
            if self._first_break < 0:
                self._first_break = int(breaks[0])
            else:
                breaks = np.concatenate([[self._last_break], breaks])
            self._last_break = int(breaks[-1])
            self._lines.append(Tally.of(np.diff(breaks) - 1))
        self._total += len(codes)

    def counts(self, records: int, invalid: str = "") -> Counts:
        """What has been counted, of so many records; nothing can be added after it."""
        self._hand_over()
        self._counting.end()
        if not self._total:
            return Counts(Tallies(), Edges(records=records, invalid=invalid))
        pairs = self._pairs.tally()
        last = Tally.of(np.array([self._last]))  # every other one is the first of a pair
        lines = Tally.sum([NOTHING, *self._lines])
        broken = self._first_break >= 0
        edges = Edges(
            self._first_break if broken else self._total,
            self._total - 1 - self._last_break if broken else self._total,
            broken,
            self._first,
            self._last,
            records,
            invalid,
        )
        return Counts(Tallies(Tally.sum([_firsts(pairs), last]), pairs, lines), edges)


def _firsts(pairs):
    """How often each character is the first of a pair."""
    return Tally.of_sorted(pairs.values >> 32, pairs.occurrences)


def _compiled(function):
    """A function of arrays as machine code, kept for the next process, that holds no lock."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no directory to keep it in
        return numba.njit(nogil=True)(function)


@_compiled
def _scan(codes, occurrences, breaks):
    """Adds pairs of neighbours to `[256, 256]` occurrences, and finds the line feeds.

    Their places go into `breaks`; returns how many there are.
    """
    found = 0
    before = codes[0]
    if before == NEWLINE:
        breaks[found] = 0
        found += 1
    for place in range(1, len(codes)):
        code = codes[place]
        occurrences[before, code] += 1
        before = code
        if code == NEWLINE:
            breaks[found] = place
            found += 1
    return found


class _BytePairs:
    """Pairs of bytes."""

    def __init__(self):
        self._occurrences = np.zeros((256, 256), np.int64)
        self._breaks = np.empty(GATHERED, np.int64)

    def add(self, codes):
        """Counts the pairs in a text, and returns the places of its line feeds."""
        return self._breaks[: _scan(codes, self._occurrences, self._breaks)]

    def add_one(self, first, second):
        self._occurrences[first, second] += 1

    def tally(self):
        found = Tally.of_dense(self._occurrences.ravel())
        return found._replace(values=found.values >> 8 << 32 | found.values & 255)


class _CodePointPairs:
    """Pairs of code points, counted by their ranks, which are small."""

    def __init__(self):
        self._tallies = [NOTHING]

    def add(self, codes):
        """Counts the pairs in a text, and returns the places of its line feeds."""
        distinct = Tally.of(codes).values
        ranks = np.zeros(int(distinct[-1]) + 1, np.int64)
        ranks[distinct] = np.arange(len(distinct))
        ids = ranks[codes]
        found = Tally.of(ids[:-1] * len(distinct) + ids[1:])
        first, second = np.divmod(found.values, len(distinct))
        self._tallies.append(found._replace(values=distinct[first] << 32 | distinct[second]))
        return np.flatnonzero(codes == NEWLINE)

    def add_one(self, first, second):
        self._tallies.append(Tally(np.array([first << 32 | second]), np.array([1])))

    def tally(self):
        return Tally.sum(self._tallies)


def join(tallies: Tallies, parts: Sequence[Edges]) -> Counts:
    """The counts of texts, each right after the one before.

    Args:
      tallies: of all of them together.
      parts: the edges of each.
    """
    records = sum(part.records for part in parts)
    invalid = next((part.invalid for part in parts if part.invalid), "")
    parts = [part for part in parts if part.first >= 0]
    if not parts:
        return Counts(tallies, Edges(records=records, invalid=invalid))
    between = [left.last << 32 | right.first for left, right in itertools.pairwise(parts)]
    head, tail, lengths = -1, 0, []
    for part in parts:
        if not part.broken:
            tail += part.tail
            continue
        if head < 0:
            head = tail + part.head
        else:
            lengths.append(tail + part.head)
        tail = part.tail
    added = Tallies(NOTHING, *(Tally.of(np.array(v, np.int64)) for v in (between, lengths)))
    edges = Edges(
        tail if head < 0 else head,
        tail,
        head >= 0,
        parts[0].first,
        parts[-1].last,
        records,
        invalid,
    )
    return Counts(Tallies.sum([tallies, added]), edges)


def entropies(counts: Counts) -> tuple[float, float]:
    """Entropy of a character alone, and of one given the one before, in bits.

    H_0 = -sum_a p(a) log2 p(a);  H_1 = -sum_ab p(ab) log2(p(ab) / p(a .)), empirical frequencies.
    """

    def information(occurrences):
        values = occurrences.astype(np.float64)
        return float(np.sum(values * np.log2(values)))

    def entropy_sum(occurrences):
        total = float(occurrences.sum())
        return (total * math.log2(total) if total else 0.0) - information(occurrences)

    characters, pairs, _ = counts.tallies
    conditional = information(_firsts(pairs).occurrences) - information(pairs.occurrences)
    return (
        entropy_sum(characters.occurrences) / max(counts.total, 1),
        conditional / max(pairs.total, 1),
    )
