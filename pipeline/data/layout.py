"""The layout of a corpus: the bytes that go into each split and shard.

It is computed in nominal positions, without reading a byte, so that a terabyte is laid out as fast
as a megabyte. The reader of a segment moves both its ends to where a code point, or a line, begins.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import IO, Literal, NamedTuple

from common import files
from model.errors import InputError
from pipeline.corpora.discovery import Source
from pipeline.data.records import Record
from pipeline.settings import MixUntil, SplitBy

Cut = Literal["code_point", "line"]
"""What a record never has a part of."""

BLOCK = 1 << 16  # bytes of text per record
MIXED = 1 << 20  # bytes of one corpus before the next one's turn
SMALL_SHARD, LARGE_SHARD = 1 << 23, 1 << 27  # bytes
USUAL_SHARDS = 64
MAX_REPETITIONS = 10_000
"""Largest number of times that a corpus of a mixture is read."""
EMPTY_LINE = b"\n\n"
"""What ends a document for contexts that know of documents."""


class Segment(NamedTuple):
    """A range of bytes of one plain file, both ends nominal.

    Attributes:
      source: Name of the file in the records.
      path: Path of the file.
      start: Begin of the range.
      end: End of the range.
      size: Size of the file, in bytes.
    """

    source: str
    path: str
    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """The nominal number of bytes."""
        return self.end - self.start

    def records(self, cut_between: Cut = "code_point") -> Iterator[Record]:
        """Yields its text in records of at most BLOCK bytes.

        Args:
          cut_between: What no record has a part of. Default: code points.

        Raises:
          InputError: If the file has become shorter, or a line does not fit into a record.
        """
        aligned, boundary = _CUTS[cut_between]
        with files.open_file(self.path, "rb") as file:
            offset = aligned(file, self.start, self.size)
            end = aligned(file, self.end, self.size)
            file.seek(offset)
            rest = b""
            while offset < end:
                text = rest + file.read(min(BLOCK - len(rest), end - offset - len(rest)))
                if len(text) == len(rest):
                    raise InputError(
                        f"{self.path} became shorter while it was read; run again when it is whole"
                    )
                cut = len(text)
                if offset + cut < end:
                    cut = boundary(text)
                if not cut:
                    raise _long_line(self.path, offset)
                yield Record(text[:cut], self.source, offset)
                rest = text[cut:]
                offset += cut

    def empty_line(self) -> Record | None:
        """Returns the newlines with which the file ends in an empty line, after its last byte.

        Returns:
          A record of one or two newlines; None if the file has them, or goes on after the segment.
        """
        if self.end < self.size:
            return None
        with files.open_file(self.path, "rb") as file:
            file.seek(max(self.size - len(EMPTY_LINE), 0))
            tail = file.read(len(EMPTY_LINE))
        missing = len(EMPTY_LINE) - (len(tail) - len(tail.rstrip(b"\n")))
        return Record(EMPTY_LINE[:missing], self.source, self.size) if missing else None


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """The plan of one shard.

    Attributes:
      split: Name of the split.
      index: Index of the shard, counted from 0.
      count: Number of shards of the split.
      segments: Segments whose text it holds, in order.
      cut_between: What no record has a part of. Default: code points.
      separates_documents: Whether each file ends with an empty line. Default False.
    """

    split: str
    index: int
    count: int
    segments: list[Segment]
    cut_between: Cut = "code_point"
    separates_documents: bool = False

    def records(self) -> Iterator[Record]:
        """Yields the text of the segments in records; see `Segment.records`."""
        for segment in self.segments:
            yield from segment.records(self.cut_between)
            if self.separates_documents:
                end = segment.empty_line()
                if end is not None:
                    yield end


def whole(source: Source) -> Segment:
    """Returns the segment that is a whole file."""
    return Segment(source=source.name, path=source.path, start=0, end=source.size, size=source.size)


def split(
    sources: Sequence[Source], by: SplitBy, train_fraction: float, prefix: str = ""
) -> tuple[list[Segment], list[Segment]]:
    """Returns the segments of the training split, and of the eval split.

    Args:
      sources: Plain files, none of them empty.
      by: Rule: "position" trains on the first bytes, "document" on the first files, "hash" on files
        that their names select, so that they stay in their split when others come and go.
      train_fraction: Share of the bytes that are trained on; by hash the expected share of the
        files.
      prefix: Beginning of the names of the files in the records. Default: none.

    Raises:
      InputError: If whole files cannot fill both splits.
    """
    segments = [whole(source)._replace(source=prefix + source.name) for source in sources]
    if by == "position":
        total = sum(source.size for source in sources)
        train, evaluation = _cut(segments, [0, int(total * train_fraction), total])
        return train, evaluation
    if by == "hash":
        train, evaluation = list[Segment](), list[Segment]()
        for source, segment in zip(sources, segments, strict=True):
            # Without the prefix, which depends on the other corpora of a mixture.
            trained = unit_hash(source.name) < train_fraction
            (train if trained else evaluation).append(segment)
    else:
        ends = list(itertools.accumulate(segment.length for segment in segments))
        wanted = ends[-1] * train_fraction
        first = min(range(1, len(ends)), key=lambda n: abs(ends[n - 1] - wanted), default=0)
        train, evaluation = segments[:first], segments[first:]
    if not train or not evaluation:
        raise InputError(
            f"splitting by {by} keeps files whole, and the {len(segments)} of this corpus leave "
            "one of the splits empty; use --split_by position, or another --train_fraction"
        )
    return train, evaluation


def unit_hash(name: str) -> float:
    """Returns a hash of a name, from 0 to below 1.

    Args:
      name: The name.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def mix(
    corpora: Sequence[list[Segment]], weights: Sequence[float], until: MixUntil
) -> list[Segment]:
    """Returns segments of several corpora in turns, by their weights.

    After any number of turns each corpus has had its share of the bytes, give or take one turn, as
    the next turn is always that of the corpus with the fewest bytes for its weight.

    Args:
      corpora: Segments of each corpus.
      weights: Share of each corpus, in any unit.
      until: End of the text: with the first corpus that ends, or with the last, where those that
        end earlier begin again.

    Raises:
      InputError: If a corpus would be repeated without end, or very often.
    """
    if until == "all_exhausted":
        _require_few_repetitions(corpora, weights)
    turns = [list(_turns(segments)) for segments in corpora]
    taken, position = [0] * len(corpora), [0] * len(corpora)
    mixed: list[Segment] = []
    exhausted: set[int] = set()
    while True:
        chosen = min(range(len(corpora)), key=lambda n: (taken[n] / weights[n], n))
        if position[chosen] == len(turns[chosen]):
            exhausted.add(chosen)
            if until == "first_exhausted" or len(exhausted) == len(corpora):
                return mixed
            position[chosen] = 0
        turn = turns[chosen][position[chosen]]
        mixed.extend(turn)
        taken[chosen] += sum(segment.length for segment in turn)
        position[chosen] += 1


def _require_few_repetitions(corpora: Sequence[list[Segment]], weights: Sequence[float]) -> None:
    """Checks that the longest corpus, for its weight, leaves the others to few repetitions."""
    lengths = [sum(segment.length for segment in segments) for segments in corpora]
    rounds = max(length / weight for length, weight in zip(lengths, weights, strict=True))
    for number, (length, weight) in enumerate(zip(lengths, weights, strict=True), 1):
        if rounds * weight > MAX_REPETITIONS * length:
            raise InputError(
                f"corpus {number} of the mixture has {length:,} bytes in a split, and would be "
                f"repeated more than {MAX_REPETITIONS:,} times until the others end; give it a "
                "smaller weight, or use --mix_until first_exhausted"
            )


def _turns(segments: list[Segment]) -> Iterator[list[Segment]]:
    """Yields the segments of a corpus in turns of MIXED bytes."""
    total = sum(segment.length for segment in segments)
    return _cut(segments, [*range(0, total, MIXED), total])


def usual_shards(total: int) -> int:
    """Returns the number of shards of as many bytes: one per 8 MiB, with bounds.

    >>> usual_shards(10_000), usual_shards(1 << 30), usual_shards(1 << 40)
    (1, 64, 8192)

    Args:
      total: Number of bytes of all shards; these are at most 64 unless they would exceed 128 MiB.
    """
    return max(1, min(USUAL_SHARDS, total // SMALL_SHARD), -(-total // LARGE_SHARD))


def shards(
    split_name: str,
    segments: list[Segment],
    count: int,
    cut_between: Cut = "code_point",
    separates_documents: bool = False,
) -> list[ShardPlan]:
    """Distributes segments among shards of about equal size.

    Args:
      split_name: Name of the split.
      segments: Text of the split, in order.
      count: Number of shards; 0 for one per 8 MiB, at most 64 unless these exceed 128 MiB.
      cut_between: What no record has a part of. Default: code points.
      separates_documents: Whether each file ends with an empty line. Default False.
    """
    total = sum(segment.length for segment in segments)
    count = count or usual_shards(total)
    cuts = [total * number // count for number in range(count + 1)]
    return [
        ShardPlan(split_name, index, count, part, cut_between, separates_documents)
        for index, part in enumerate(_cut(segments, cuts))
    ]


def _cut(segments: list[Segment], cuts: list[int]) -> Iterator[list[Segment]]:
    """Yields the segments between each of these ascending positions and the next."""
    remaining = iter(segments)
    segment, position = next(remaining, None), cuts[0]
    for end in cuts[1:]:
        part = []
        while segment and position < end:
            taken = min(segment.length, end - position)
            part.append(segment._replace(end=segment.start + taken))
            position += taken
            segment = segment._replace(start=segment.start + taken)
            if not segment.length:
                segment = next(remaining, None)
        yield part


def _aligned(file: IO[bytes], position: int, size: int) -> int:
    """Returns the position, or up to three bytes later, where a UTF-8 code point begins."""
    if 0 < position < size:
        file.seek(position)
        found = file.read(4)
        for moved, byte in enumerate(found):
            if not _continues(byte):
                return position + moved
        return position if len(found) == 4 else size
    return position


def _last_boundary(text: bytes) -> int:
    """Returns the position of the last code point of a block that may be incomplete."""
    for back in range(1, 4):
        byte = text[-back]
        if not _continues(byte):
            return len(text) - back if byte >= 0xC0 else len(text)
    return len(text)


def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _next_line(file: IO[bytes], position: int, size: int) -> int:
    """Returns the position, or the first one after it, where a line begins."""
    if not 0 < position < size:
        return position
    file.seek(position - 1)
    found = file.read(BLOCK)
    end = found.find(b"\n")
    if end >= 0:
        return position + end
    if position - 1 + len(found) < size:
        raise _long_line(getattr(file, "name", "the corpus"), position)
    return size


def _last_line_end(text: bytes) -> int:
    """Returns the position after the last line of a block that is whole; 0 if none is."""
    return text.rfind(b"\n") + 1


def _long_line(path: str, offset: int) -> InputError:
    return InputError(
        f"{path}, byte {offset:,}: a line is longer than {BLOCK:,} bytes, which no sentence is; "
        "give a sentence, a tab and its translation in each line"
    )


_CUTS = {"code_point": (_aligned, _last_boundary), "line": (_next_line, _last_line_end)}
"""For each cut the function that moves a position, and the one that finds the last in a block."""
