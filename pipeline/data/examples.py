"""The properties of examples, which ExampleGen and Transform report alike."""

import dataclasses

from common import files
from pipeline.data.records import SPLITS, read_index, split_directory
from pipeline.store.artifacts import Outcome
from pipeline.store.manifest import Properties


@dataclasses.dataclass(frozen=True)
class ExamplesProperties(Properties):
    """The properties of an ExampleGen or Transform artifact.

    Attributes:
      corpus: Name of the corpus, which a model of it has by default.
      sources: Number of files of the corpus, once they are unpacked.
      bytes: Bytes of text in both splits.
      train_shards: Number of shards of the training split.
      train_bytes: Bytes of text in the training split.
      train_code_points: Code points in the training split.
      train_records: Number of records of the training split.
      train_invalid: Number of sequences in the training split that are not UTF-8.
      eval_shards: Number of shards of the eval split.
      eval_bytes: Bytes of text in the eval split.
      eval_code_points: Code points in the eval split.
      eval_records: Number of records of the eval split.
      eval_invalid: Number of sequences in the eval split that are not UTF-8.
    """

    corpus: str
    sources: int
    bytes: int
    train_shards: int
    train_bytes: int
    train_code_points: int
    train_records: int
    train_invalid: int
    eval_shards: int
    eval_bytes: int
    eval_code_points: int
    eval_records: int
    eval_invalid: int


def outcome(directory: str, corpus: str, sources: int, note: str = "") -> Outcome:
    """Returns the outcome of writing examples, from their indexes.

    Args:
      directory: Directory of the examples.
      corpus: Name of the corpus.
      sources: Number of files of the corpus.
      note: What else `status` says of them. Default: nothing.
    """
    totals, checksums = {}, {}
    for split in SPLITS:
        shards = read_index(directory, split)
        for shard in shards:
            checksums[f"Split-{split}/{shard.name}"] = shard.checksum
        totals[f"{split}_shards"] = len(shards)
        for field in ("bytes", "code_points", "records", "invalid"):
            totals[f"{split}_{field}"] = sum(getattr(shard, field) for shard in shards)
    size = sum(totals[f"{split}_bytes"] for split in SPLITS)
    properties = ExamplesProperties(corpus=corpus, sources=sources, bytes=size, **totals)
    summary = f"{size:,} bytes of {corpus} in {len(checksums)} shards{note and '; '}{note}"
    return Outcome(properties, summary, checksums)


def remove_leftovers(directory: str) -> None:
    """Removes the unfinished shards of workers that died, or were thought to have died."""
    for split in SPLITS:
        for leftover in files.glob_in(split_directory(directory, split), "*.tmp"):
            files.remove(leftover)
