"""The Beam transforms that write shards of records and the indexes of these."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from common import files
from pipeline.data import runners
from pipeline.data.layout import ShardPlan
from pipeline.data.records import (
    Record,
    RecordWriter,
    Shard,
    index_text,
    shard_name,
    split_directory,
)


class ShardWriter:
    """A writer of shards that counts their content in Beam's counters of a stage."""

    def __init__(self, stage: str, examples: str):
        """Creates the counters.

        Args:
          stage: Name of the stage, the namespace of the counters.
          examples: Directory of the examples.
        """
        self._examples = examples
        self._bytes = runners.Counter(stage, "bytes")
        self._records = runners.Counter(stage, "records")
        self._code_points = runners.Counter(stage, "code_points")
        self._invalid = runners.Counter(stage, "invalid_sequences")

    def write(self, split: str, name: str, records: Iterable[Record]) -> Shard:
        """Writes one shard.

        Several workers may write the same shard at once, as all of them write the same bytes.

        Args:
          split: Name of the split.
          name: File name of the shard.
          records: Records of the shard, in order.

        Returns:
          The entry of the shard in the index.
        """
        path = os.path.join(split_directory(self._examples, split), name)
        count = total = code_points = invalid = 0
        first = last = None
        with files.replacing(path, "wb") as file, RecordWriter(file) as writer:
            for record in records:
                writer.write(record.serialize())
                starts, malformed = _code_points(record.text)
                count += 1
                total += len(record.text)
                code_points += starts
                invalid += malformed
                first = first or (record.source, record.offset)
                last = record.source, record.end
                self._bytes.inc(len(record.text))
        # The bar follows the bytes; to count the others with each record would take longer.
        self._records.inc(count)
        self._code_points.inc(code_points)
        self._invalid.inc(invalid)
        return Shard(
            name=name,
            records=count,
            bytes=total,
            code_points=code_points,
            invalid=invalid,
            first=first,
            last=last,
            checksum=writer.checksum,
        )


def _code_points(text: bytes) -> tuple[int, int]:
    """Returns the number of code points, and the number of sequences that are not UTF-8."""
    if text.isascii():
        return len(text), 0
    try:
        return len(text.decode("utf-8")), 0
    except UnicodeDecodeError:
        starts = np.count_nonzero(np.frombuffer(text, np.uint8) & 0xC0 != 0x80)
        replaced = text.decode("utf-8", "replace").count("\ufffd")
        return int(starts), replaced - text.count("\ufffd".encode())


class WriteShard(beam.DoFn):
    """Reads the segments of one shard and writes them."""

    def __init__(self, stage: str, examples: str):
        self._writer = ShardWriter(stage, examples)

    def process(self, plan: ShardPlan) -> Iterator[tuple[str, Shard]]:
        """Yields the name of the split and the entry of the shard in its index."""
        name = shard_name(plan.index, plan.count)
        yield plan.split, self._writer.write(plan.split, name, plan.records())


class WriteIndex(beam.DoFn):
    """Writes the index of one split."""

    def __init__(self, examples: str):
        self._examples = examples

    def process(self, shards_of_split: tuple[str, Iterable[Shard]]) -> Iterator[None]:
        """Writes the file; yields nothing."""
        split, shards = shards_of_split
        path = os.path.join(split_directory(self._examples, split), "index.json")
        files.write_text(path, index_text([Shard(*shard) for shard in shards]))
        return iter(())


def write_shards(
    pipeline: beam.Pipeline, examples: str, shards: Sequence[Any], write: beam.DoFn
) -> None:
    """Adds the writing of shards and of their indexes to a pipeline.

    Args:
      pipeline: Pipeline without transforms.
      examples: Directory of the examples.
      shards: Elements that describe the shards, one each.
      write: DoFn that writes a shard from its element, and yields the split and a `Shard`.
    """
    (
        pipeline
        | "ListShards" >> beam.Create(shards)
        | "WriteShards" >> beam.ParDo(write)
        | "GatherShards" >> beam.GroupByKey()
        | "WriteIndexes" >> beam.ParDo(WriteIndex(examples))
    )
