"""Pairs of a sentence and its translation, as lines of text with a tab between both sides.

This module does not import TensorFlow, so that Beam's workers need not either.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from model.errors import InputError
from pipeline.data.records import Record

SIDES = ("source", "target")
"""Names of the sides of a pair, in their order in a line."""


class SentencePair(NamedTuple):
    """A sentence and its translation.

    Attributes:
      source: The sentence, of words between white space.
      target: Its translation.
    """

    source: str
    target: str

    @property
    def lengths(self) -> tuple[int, int]:
        """The numbers of words of both sides."""
        return len(self.source.split()), len(self.target.split())


class PairCounts(NamedTuple):
    """What was counted of some pairs.

    Attributes:
      words: Number of occurrences of each word, of each side.
      lengths: Number of pairs by the numbers of words of both sides.
      incomplete: Number of pairs of which a side has no word.
    """

    words: tuple[Counter[str], Counter[str]]
    lengths: Counter[tuple[int, int]]
    incomplete: int = 0

    @classmethod
    def none(cls) -> "PairCounts":
        """Returns the counts of no pairs."""
        return cls((Counter(), Counter()), Counter())

    @property
    def pairs(self) -> int:
        """The number of pairs, without those that are incomplete."""
        return self.lengths.total()

    @classmethod
    def sum(cls, counts: Sequence["PairCounts"]) -> "PairCounts":
        """Returns the counts of all."""
        total = cls.none()
        for one in counts:
            for words, more in zip(total.words, one.words, strict=True):
                words.update(more)
            total.lengths.update(one.lengths)
        return total._replace(incomplete=sum(one.incomplete for one in counts))


def pairs_of(record: Record) -> Iterator[SentencePair]:
    """Yields the pairs of a record, also those of which a side has no word.

    >>> list(pairs_of(Record(b"oui\\tyes\\n", "fr-en.tsv", 0)))
    [SentencePair(source='oui', target='yes')]

    Args:
      record: Record of whole lines.

    Raises:
      InputError: If a line is no pair in UTF-8, naming its place.
    """
    offset = record.offset
    for line in _lines(record.text):
        yield _parse(line, record.source, offset)
        offset += len(line)


def _lines(text: bytes) -> Iterator[bytes]:
    """Yields lines with their ends, which are line feeds."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _parse(line: bytes, name: str, offset: int) -> SentencePair:
    """Returns the pair of a line."""
    try:
        sides = line.decode("utf-8").rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}, byte {offset + error.start:,} is not UTF-8 ({error.reason}); convert the file"
        ) from error
    if not any(side.strip() for side in sides):
        return SentencePair("", "")
    if len(sides) != len(SIDES):
        raise InputError(
            f"{name}, byte {offset:,}: a line has {len(sides) - 1} tabs; give a sentence, a tab "
            "and its translation in each line, or a file of the translations with --translations"
        )
    return SentencePair(*sides)


def count(pairs: Iterator[SentencePair]) -> PairCounts:
    """Counts pairs, and the words of those that are complete."""
    counts, incomplete = PairCounts.none(), 0
    for pair in pairs:
        sides = [side.split() for side in pair]
        if not all(sides):
            incomplete += 1
            continue
        for words, side in zip(counts.words, sides, strict=True):
            words.update(side)
        counts.lengths[len(sides[0]), len(sides[1])] += 1
    return counts._replace(incomplete=incomplete)
