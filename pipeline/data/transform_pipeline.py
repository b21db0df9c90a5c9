"""The Beam transforms that normalise the text of shards.

A piece of text is transformed by itself only where that changes nothing: it begins a source, or
begins with a blank or a control character, which composes with nothing before it and ends words.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from model.errors import InputError
from pipeline.data import text_transform
from pipeline.data.records import SPLITS, Record, Shard, read_index, read_records, shard_path
from pipeline.data.sharding import ShardWriter

BLANK = re.compile(rb"[\x00-\x20]")

LONGEST_PIECE = 1 << 24
"""Largest number of bytes that are transformed at once."""


class TransformShard(beam.DoFn):
    """Transforms the pieces of text that begin in one shard, and writes them as a shard."""

    def __init__(self, stage: str, examples: str, directory: str):
        """Creates the counters.

        Args:
          stage: Name of the stage, the namespace of the counters.
          examples: Directory of the examples that are read.
          directory: Directory of the examples that are written.
        """
        self._examples = examples
        self._directory = directory
        self._writer = ShardWriter(stage, directory)

    def setup(self) -> None:
        """Loads the graph and the indexes, once per worker."""
        transform = text_transform.load(self._directory)
        assert transform is not None
        self._transform = transform
        self._indexes = {split: read_index(self._examples, split) for split in SPLITS}

    def process(self, shard: tuple[str, int]) -> Iterator[tuple[str, Shard]]:
        """Yields the name of the split and the entry of the shard in its index."""
        split, number = shard
        index = self._indexes[split]
        end: tuple[str, int] | None = None

        def transformed() -> Iterator[Record]:
            nonlocal end
            for piece in pieces_of_shard(self._examples, split, index, number):
                end = piece.source, piece.end
                yield self._transformed(piece)

        written = self._writer.write(split, index[number].name, transformed())
        # The end is that of the pieces read, as their text may have another length now.
        yield split, written._replace(last=end)

    def _transformed(self, piece: Record) -> Record:
        try:
            piece.text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"invalid UTF-8 in {piece.source}, byte {piece.offset + error.start}; fix the "
                "text, or leave out --normalize and --lowercase"
            ) from error
        return piece._replace(text=self._transform([piece.text]).numpy()[0])


def pieces_of_shard(
    examples: str, split: str, index: Sequence[Shard], number: int
) -> Iterator[Record]:
    """Yields the pieces of text that begin in a shard; the last may end in a later one.

    Args:
      examples: Directory of the examples.
      split: Name of the split.
      index: Shards of the split, in order.
      number: Number of the shard among them, counted from 0.
    """
    paths = [shard_path(examples, split, shard) for shard in index[number:]]
    before = next((shard.last for shard in reversed(index[:number]) if shard.last), None)
    records: Iterator[Record] = read_records(paths[0])
    if before is not None and index[number].first == before:
        records = _from_first_blank(records)
    pending: Record | None = None
    for record in records:
        if pending is not None and _follows(record, pending):
            record = pending._replace(text=pending.text + record.text)
            _require_short(record)
        elif pending is not None:
            yield pending
        cut = max(record.text.rfind(b" "), record.text.rfind(b"\n"), 0)
        if cut:
            yield record._replace(text=record.text[:cut])
        pending = _without(record, cut)
    if pending is not None:
        later = itertools.chain.from_iterable(map(read_records, paths[1:]))
        yield pending._replace(text=pending.text + b"".join(_to_first_blank(later, pending)))


def _from_first_blank(records: Iterator[Record]) -> Iterator[Record]:
    """Yields records without the end of a piece that began in an earlier shard."""
    before: Record | None = None
    for record in records:
        blank = BLANK.search(record.text)
        if before is not None and not _follows(record, before):
            yield record
            break
        if blank:
            yield _without(record, blank.start())
            break
        before = record
    yield from records


def _to_first_blank(records: Iterable[Record], pending: Record) -> Iterator[bytes]:
    """Yields the texts of records up to the first blank, which ends a piece.

    Args:
      records: Records, in order.
      pending: Record before them, where the piece begins.
    """
    length = len(pending.text)
    for record in records:
        if not _follows(record, pending):
            return
        blank = BLANK.search(record.text)
        yield record.text[: blank.start()] if blank else record.text
        if blank:
            return
        pending = record
        length += len(record.text)
        _require_short(pending, length)


def _require_short(record: Record, length: int = 0) -> None:
    """Checks that a piece without a blank has not become too long to transform as one.

    Args:
      record: Record that the piece ends in.
      length: Length of the piece. Default: that of the record.

    Raises:
      InputError: If it has.
    """
    if max(length, len(record.text)) > LONGEST_PIECE:
        raise InputError(
            f"{record.source} has no blank in {LONGEST_PIECE:,} bytes up to byte {record.end:,}; "
            "leave out --normalize and --lowercase, or break its lines"
        )


def _follows(record: Record, before: Record) -> bool:
    return (record.source, record.offset) == (before.source, before.end)


def _without(record: Record, size: int) -> Record:
    """Returns a record without its first `size` bytes."""
    return record._replace(text=record.text[size:], offset=record.offset + size)
