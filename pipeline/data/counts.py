"""TextCounts of characters, pairs and line lengths, which can be joined over consecutive texts."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

from common.background import Background
from model.config import CharacterUnit

NEWLINE = ord("\n")
GATHERED = 1 << 20  # characters counted at once
DENSE = 1 << 22  # most values for which a counter each is kept


def codes_of(text: bytes, unit: CharacterUnit) -> np.ndarray:
    """Returns the bytes of a text, uint8, or its code points, uint32.

    Raises:
      UnicodeDecodeError: If these are code points, and the text is not UTF-8.
    """
    if unit == "bytes":
        return np.frombuffer(text, np.uint8)
    return np.frombuffer(text.decode("utf-8").encode("utf-32-le"), np.uint32)


class Histogram(NamedTuple):
    """A tally of values.

    Attributes:
      values: Distinct values, ascending, int64 `[n]`.
      occurrences: Number of occurrences of each, above 0, int64 `[n]`.
    """

    values: np.ndarray
    occurrences: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Histogram":
        """Returns the tally of integers of at least 0, in any order."""
        if len(values) and int(values.max()) < DENSE:
            return cls.of_dense(np.bincount(values))
        return cls(*_int64(*np.unique(values, return_counts=True)))

    @classmethod
    def of_dense(cls, occurrences: np.ndarray) -> "Histogram":
        """Returns the tally of the values 0, 1, 2, ... with these occurrences."""
        values = np.flatnonzero(occurrences)
        return cls(*_int64(values, occurrences[values]))

    @classmethod
    def of_counter(cls, counter: Counter[int]) -> "Histogram":
        """Returns the tally that a counter of integers is."""
        values = np.array(sorted(counter), np.int64)
        return cls(values, np.array([counter[int(value)] for value in values], np.int64))

    @classmethod
    def sum(cls, tallies: Sequence["Histogram"]) -> "Histogram":
        """Returns the sum of several tallies."""
        values = np.concatenate([tally.values for tally in tallies])
        occurrences = np.concatenate([tally.occurrences for tally in tallies])
        order = np.argsort(values, kind="stable")  # fast for a few ascending sequences in a row
        return cls.of_sorted(values[order], occurrences[order])

    @classmethod
    def of_sorted(cls, values: np.ndarray, occurrences: np.ndarray) -> "Histogram":
        """Returns the tally of ascending values; equal ones are merged."""
        if not len(values):
            return NOTHING
        starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
        return cls(values[starts], np.add.reduceat(occurrences, starts))

    @property
    def total(self) -> int:
        """The number of occurrences of all values."""
        return int(self.occurrences.sum())


def _int64(*arrays: np.ndarray) -> Iterator[np.ndarray]:
    return (array.astype(np.int64, copy=False) for array in arrays)


NOTHING = Histogram(np.zeros(0, np.int64), np.zeros(0, np.int64))


class TextHistograms(NamedTuple):
    """The tallies of a text that do not depend on its neighbours.

    Attributes:
      characters: Histogram of the codes.
      pairs: Histogram of pairs of neighbours, as `first << 32 | second`.
      lines: Histogram of the lengths of the lines that begin and end in the text.
    """

    characters: Histogram = NOTHING
    pairs: Histogram = NOTHING
    lines: Histogram = NOTHING

    @classmethod
    def sum(cls, several: Iterable["TextHistograms"]) -> "TextHistograms":
        """Returns the sums of several tallies."""
        return cls(*(Histogram.sum([NOTHING, *column]) for column in zip(*several, strict=True)))


class TextEdges(NamedTuple):
    """The facts about a text by which it is joined to its neighbours.

    Attributes:
      head: Number of characters before the first line feed, or of the whole text if it has none.
      tail: Number of characters after the last line feed, or of the whole text.
      broken: Whether it has a line feed.
      first: First code; -1 if the text is empty.
      last: Last code; -1 if the text is empty.
      records: Number of records.
      invalid: First place that is not UTF-8, as "source, byte n"; empty if there is none.
    """

    head: int = 0
    tail: int = 0
    broken: bool = False
    first: int = -1
    last: int = -1
    records: int = 0
    invalid: str = ""


class TextCounts(NamedTuple):
    """The counts of consecutive text.

    Attributes:
      tallies: TextHistograms within the text.
      edges: Facts by which it is joined to its neighbours.
    """

    tallies: TextHistograms
    edges: TextEdges

    @property
    def total(self) -> int:
        """The number of characters."""
        return self.tallies.characters.total


class TextCounter:
    """A count of a text that arrives in pieces, in a second thread."""

    def __init__(self, unit: CharacterUnit):
        """Begins to count.

        Args:
          unit: Unit of text that is one character.
        """
        self._pairs = _BytePairs() if unit == "bytes" else _CodePointPairs()
        # The overhead of a count is that of counting thousands of characters.
        dtype = np.uint8 if unit == "bytes" else np.uint32
        self._gathered, self._counted = np.empty(GATHERED, dtype), np.empty(GATHERED, dtype)
        self._counting = Background()
        self._size = self._total = 0
        self._lines: list[Histogram] = []
        self._first = self._last = self._first_break = self._last_break = -1

    def add(self, codes: np.ndarray) -> None:
        """Adds the next codes: uint8 bytes, or uint32 code points."""
        while len(codes):
            part = codes[: GATHERED - self._size]
            self._gathered[self._size : self._size + len(part)] = part
            self._size += len(part)
            codes = codes[len(part) :]
            if self._size == GATHERED:
                self._hand_over()

    def _hand_over(self) -> None:
        """Starts to count what was gathered; the other buffer gathers meanwhile."""
        self._counting.call(self._count, self._gathered[: self._size])
        self._gathered, self._counted = self._counted, self._gathered
        self._size = 0

    def _count(self, codes: np.ndarray) -> None:
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
            self._lines.append(Histogram.of(np.diff(breaks) - 1))
        self._total += len(codes)

    def counts(self, records: int, invalid: str = "") -> TextCounts:
        """Ends the count.

        Args:
          records: Number of records of the text.
          invalid: First place that is not UTF-8; empty (the default) if there is none.
        """
        self._hand_over()
        self._counting.end()
        if not self._total:
            return TextCounts(TextHistograms(), TextEdges(records=records, invalid=invalid))
        pairs = self._pairs.tally()
        last = Histogram.of(np.array([self._last]))  # every other one is the first of a pair
        lines = Histogram.sum([NOTHING, *self._lines])
        broken = self._first_break >= 0
        edges = TextEdges(
            head=self._first_break if broken else self._total,
            tail=self._total - 1 - self._last_break if broken else self._total,
            broken=broken,
            first=self._first,
            last=self._last,
            records=records,
            invalid=invalid,
        )
        return TextCounts(
            TextHistograms(Histogram.sum([_firsts(pairs), last]), pairs, lines), edges
        )


def _firsts(pairs: Histogram) -> Histogram:
    """Returns the tally of the first characters of pairs."""
    return Histogram.of_sorted(pairs.values >> 32, pairs.occurrences)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays, cached for later processes, that releases the lock."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no directory to cache it in
        return numba.njit(nogil=True)(function)


@compiled
def _scan(codes: np.ndarray, occurrences: np.ndarray, breaks: np.ndarray) -> int:
    """Adds pairs of neighbours to `[256, 256]` occurrences, and finds the line feeds.

    Their positions are written to `breaks`; returns their number.
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
    """The pairs of a text of bytes."""

    def __init__(self) -> None:
        self._occurrences = np.zeros((256, 256), np.int64)
        self._breaks = np.empty(GATHERED, np.int64)

    def add(self, codes: np.ndarray) -> np.ndarray:
        """TextCounts the pairs of a text, and returns the positions of its line feeds."""
        return self._breaks[: _scan(codes, self._occurrences, self._breaks)]

    def add_one(self, first: int, second: int) -> None:
        self._occurrences[first, second] += 1

    def tally(self) -> Histogram:
        found = Histogram.of_dense(self._occurrences.ravel())
        return found._replace(values=found.values >> 8 << 32 | found.values & 255)


class _CodePointPairs:
    """The pairs of a text of code points, which are counted by their ranks, as those are small."""

    def __init__(self) -> None:
        self._tallies = [NOTHING]

    def add(self, codes: np.ndarray) -> np.ndarray:
        """TextCounts the pairs of a text, and returns the positions of its line feeds."""
        distinct = Histogram.of(codes).values
        ranks = np.zeros(int(distinct[-1]) + 1, np.int64)
        ranks[distinct] = np.arange(len(distinct))
        ids = ranks[codes]
        found = Histogram.of(ids[:-1] * len(distinct) + ids[1:])
        first, second = np.divmod(found.values, len(distinct))
        self._tallies.append(found._replace(values=distinct[first] << 32 | distinct[second]))
        return np.flatnonzero(codes == NEWLINE)

    def add_one(self, first: int, second: int) -> None:
        self._tallies.append(Histogram(np.array([first << 32 | second]), np.array([1])))

    def tally(self) -> Histogram:
        return Histogram.sum(self._tallies)


def join(tallies: TextHistograms, parts: Sequence[TextEdges]) -> TextCounts:
    """Joins the counts of consecutive texts.

    Args:
      tallies: Sum of their tallies.
      parts: TextEdges of each text, in order.
    """
    records = sum(part.records for part in parts)
    invalid = next((part.invalid for part in parts if part.invalid), "")
    parts = [part for part in parts if part.first >= 0]
    if not parts:
        return TextCounts(tallies, TextEdges(records=records, invalid=invalid))
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
    added = TextHistograms(
        NOTHING, *(Histogram.of(np.array(v, np.int64)) for v in (between, lengths))
    )
    edges = TextEdges(
        head=tail if head < 0 else head,
        tail=tail,
        broken=head >= 0,
        first=parts[0].first,
        last=parts[-1].last,
        records=records,
        invalid=invalid,
    )
    return TextCounts(TextHistograms.sum([tallies, added]), edges)


def entropies(counts: TextCounts) -> tuple[float, float]:
    """Computes the entropy of a character, and that given the one before, in bits.

    H_0 = -sum_a p(a) log2 p(a);  H_1 = -sum_ab p(ab) log2(p(ab) / p(a .)), empirical frequencies.
    """

    def information(occurrences: np.ndarray) -> float:
        values = occurrences.astype(np.float64)
        return float(np.sum(values * np.log2(values)))

    def entropy_sum(occurrences: np.ndarray) -> float:
        total = float(occurrences.sum())
        return (total * math.log2(total) if total else 0.0) - information(occurrences)

    characters, pairs, _ = counts.tallies
    conditional = information(_firsts(pairs).occurrences) - information(pairs.occurrences)
    return (
        entropy_sum(characters.occurrences) / max(counts.total, 1),
        conditional / max(pairs.total, 1),
    )
