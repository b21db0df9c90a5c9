"""Counts of characters, of pairs of neighbours and of lines, which texts in a row add up to."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEWLINE = ord("\n")
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
            return cls._of_dense(np.bincount(values))
        return cls(*_int64(*np.unique(values, return_counts=True)))

    @classmethod
    def _of_dense(cls, occurrences):
        values = np.flatnonzero(occurrences)
        return cls(*_int64(values, occurrences[values]))

    @classmethod
    def sum(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All of them together."""
        values = np.concatenate([tally.values for tally in tallies])
        occurrences = np.concatenate([tally.occurrences for tally in tallies])
        distinct, places = np.unique(values, return_inverse=True)
        together = np.zeros(len(distinct), np.int64)
        np.add.at(together, places, occurrences)
        return cls(distinct, together)

    @property
    def total(self) -> int:
        """The number of values, each as often as it occurs."""
        return int(self.occurrences.sum())

    def __contains__(self, value: int) -> bool:
        place = np.searchsorted(self.values, value)
        return bool(place < len(self.values) and self.values[place] == value)


def _int64(*arrays):
    return (array.astype(np.int64, copy=False) for array in arrays)


NOTHING = Tally(np.zeros(0, np.int64), np.zeros(0, np.int64))


class Counts(NamedTuple):
    """What is counted in consecutive text, so that counts of neighbours can be joined.

    Attributes:
      characters: of the codes.
      pairs: of neighbours, as `first << 32 | second`.
      lines: of the lengths of the lines that begin and end here.
      head: characters before the first line feed, or of the whole text if it has none.
      tail: characters after the last line feed.
      first: the first code; -1 where the text is empty.
      last: the last code; likewise.
      records: number of records.
      invalid: the first place that is not UTF-8, as "source, byte n"; empty where there is none.
    """

    characters: Tally = NOTHING
    pairs: Tally = NOTHING
    lines: Tally = NOTHING
    head: int = 0
    tail: int = 0
    first: int = -1
    last: int = -1
    records: int = 0
    invalid: str = ""

    @property
    def total(self) -> int:
        """The number of characters."""
        return self.characters.total


def count(codes: np.ndarray, records: int = 1) -> Counts:
    """The counts of a text, given as uint8 bytes or uint32 code points, in so many records."""
    if not len(codes):
        return Counts(records=records)
    breaks = np.flatnonzero(codes == NEWLINE)
    head, tail = (breaks[0], len(codes) - 1 - breaks[-1]) if len(breaks) else [len(codes)] * 2
    tallies = _tallies_of_bytes if codes.dtype == np.uint8 else _tallies_of_code_points
    return Counts(
        *tallies(codes),
        Tally.of(np.diff(breaks) - 1),
        int(head),
        int(tail),
        int(codes[0]),
        int(codes[-1]),
        records,
    )


def _tallies_of_bytes(codes):
    """Characters and pairs. Those at even and at odd places are read as numbers of two bytes."""
    occurrences = np.zeros(1 << 16, np.int64)
    for start in (0, 1):
        aligned = codes[start : len(codes) - (len(codes) - start) % 2]
        occurrences += np.bincount(aligned.view("<u2"), minlength=1 << 16)
    firsts_by_second = occurrences.reshape(256, 256)
    characters = firsts_by_second.sum(0)
    characters[codes[-1]] += 1  # every other one is the first of a pair
    pairs = Tally._of_dense(firsts_by_second.T.ravel())
    values = pairs.values >> 8 << 32 | pairs.values & 255
    return Tally._of_dense(characters), pairs._replace(values=values)


def _tallies_of_code_points(codes):
    """Characters and pairs. These are counted by the characters' ranks, which are small."""
    characters = Tally.of(codes)
    distinct = characters.values
    ranks = np.zeros(int(distinct[-1]) + 1, np.int64)
    ranks[distinct] = np.arange(len(distinct))
    ids = ranks[codes]
    pairs = Tally.of(ids[:-1] * len(distinct) + ids[1:])
    first, second = np.divmod(pairs.values, len(distinct))
    return characters, pairs._replace(values=distinct[first] << 32 | distinct[second])


def join(parts: Sequence[Counts]) -> Counts:
    """The counts of texts, each right after the one before."""
    records = sum(part.records for part in parts)
    invalid = next((part.invalid for part in parts if part.invalid), "")
    parts = [part for part in parts if part.first >= 0]
    if not parts:
        return Counts(records=records, invalid=invalid)
    between, lengths, tail = [], [], 0
    head = None
    for number, part in enumerate(parts):
        if number:
            between.append(parts[number - 1].last << 32 | part.first)
        if NEWLINE not in part.characters:
            tail += part.tail
            continue
        if head is None:
            head = tail + part.head
        else:
            lengths.append(tail + part.head)
        tail = part.tail
    return Counts(
        Tally.sum([part.characters for part in parts]),
        Tally.sum([*(part.pairs for part in parts), Tally.of(np.array(between, np.int64))]),
        Tally.sum([*(part.lines for part in parts), Tally.of(np.array(lengths, np.int64))]),
        tail if head is None else head,
        tail,
        parts[0].first,
        parts[-1].last,
        records,
        invalid,
    )


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

    begun = np.unique(counts.pairs.values >> 32, return_inverse=True)[1]
    firsts = np.bincount(begun, weights=counts.pairs.occurrences)
    conditional = information(firsts) - information(counts.pairs.occurrences)
    return (
        entropy_sum(counts.characters.occurrences) / max(counts.total, 1),
        conditional / max(counts.pairs.total, 1),
    )
