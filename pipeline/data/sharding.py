"""How shards of records are written, whichever stage does."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from common import files
from pipeline.data import runners
from pipeline.data.records import (
    SPLITS,
    Record,
    RecordWriter,
    Shard,
    index_text,
    read_index,
    split_directory,
)
from pipeline.store.artifacts import Outcome


class ShardWriter:
    """Writes shards and counts what is in them, in Beam's counters of a stage."""

    def __init__(self, stage: str, examples: str):
        self._examples = examples
        self._bytes = runners.Counter(stage, "bytes")
        self._records = runners.Counter(stage, "records")
        self._code_points = runners.Counter(stage, "code_points")
        self._invalid = runners.Counter(stage, "invalid_sequences")

    def write(self, split: str, name: str, records: Iterable[Record]) -> Shard:
        """Writes one shard, as any number of workers may at once: all of them write the same."""
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
        return Shard(name, count, total, code_points, invalid, first, last, writer.checksum)


def _code_points(text):
    """The number of code points, and of sequences that are not UTF-8."""
    if text.isascii():
        return len(text), 0
    try:
        return len(text.decode("utf-8")), 0
    except UnicodeDecodeError:
        starts = np.count_nonzero(np.frombuffer(text, np.uint8) & 0xC0 != 0x80)
        replaced = text.decode("utf-8", "replace").count("\ufffd")
        return int(starts), replaced - text.count("\ufffd".encode())


class WriteIndex(beam.DoFn):
    """Writes the index of one split."""

    def __init__(self, examples: str):
        self._examples = examples

    def process(self, shards_of_split: tuple[str, Iterable[Shard]]) -> Iterator[None]:
        """Writes the file."""
        split, shards = shards_of_split
        path = os.path.join(split_directory(self._examples, split), "index.json")
        files.write_text(path, index_text([Shard(*shard) for shard in shards]))
        return iter(())


def write_shards(
    pipeline: beam.Pipeline, examples: str, shards: Sequence[Any], write: beam.DoFn
) -> None:
    """Adds the writing of shards and of their indexes to a pipeline.

    Args:
      pipeline: without transforms.
      examples: the directory.
      shards: what each shard is to hold.
      write: writes one, and yields its split and `Shard`.
    """
    (
        pipeline
        | "ListShards" >> beam.Create(shards)
        | "WriteShards" >> beam.ParDo(write)
        | "GatherShards" >> beam.GroupByKey()
        | "WriteIndexes" >> beam.ParDo(WriteIndex(examples))
    )


def remove_leftovers(examples: str) -> None:
    """Removes what workers have left that died, or were thought to have."""
    for split in SPLITS:
        for leftover in files.glob(os.path.join(split_directory(examples, split), "*.tmp")):
            files.remove(leftover)


def outcome(examples: str, corpus: str, counters: Mapping[str, Any]) -> Outcome:
    """What has been written, from the indexes."""
    found, checksums, total, count = {"corpus": corpus, **counters}, {}, 0, 0
    for split in SPLITS:
        shards = read_index(examples, split)
        for shard in shards:
            checksums[f"Split-{split}/{shard.name}"] = shard.checksum
        found[f"{split}_shards"] = len(shards)
        for number in ("bytes", "code_points", "records", "invalid"):
            found[f"{split}_{number}"] = sum(getattr(shard, number) for shard in shards)
        total += found[f"{split}_bytes"]
        count += len(shards)
    found["bytes"] = total
    return Outcome(found, f"{total:,} bytes of {corpus} in {count} shards", checksums)
