"""ExampleGen: a corpus into shards of TFRecords, split by position."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from model.errors import InputError
from pipeline import corpus as corpora
from pipeline import runners
from pipeline.artifacts import Artifact, Outcome, Store, write_text
from pipeline.progress import progress_bar
from pipeline.records import (
    SPLITS,
    Shard,
    index_text,
    serialize,
    shard_name,
    split_directory,
)

STAGE = "ExampleGen"
BLOCK = 1 << 16  # bytes of text per record
BYTES_PER_SHARD = 1 << 20
MAX_SHARDS = 64

gfile = tf.io.gfile


class Segment(NamedTuple):
    """A range of bytes of one plain file."""

    source: str
    path: str
    offset: int
    length: int


class ShardPlan(NamedTuple):
    """What one shard is to hold."""

    split: str
    index: int
    count: int
    segments: list[Segment]


class WriteShard(beam.DoFn):
    """Reads the byte ranges of one shard and writes it."""

    def __init__(self, examples: str):
        self._examples = examples
        self._characters = beam.metrics.Metrics.counter("ExampleGen", "bytes")
        self._records = beam.metrics.Metrics.counter("ExampleGen", "records")

    def process(self, plan: ShardPlan) -> Iterator[tuple[str, Shard]]:
        """Yields the split and what was written."""
        name = shard_name(plan.index, plan.count)
        records = total = code_points = 0
        path = os.path.join(split_directory(self._examples, plan.split), name)
        with tf.io.TFRecordWriter(path) as writer:
            for segment in plan.segments:
                for offset, text in _blocks(segment):
                    writer.write(serialize(text, segment.source, offset))
                    records += 1
                    total += len(text)
                    code_points += _code_points(text)
        self._characters.inc(total)
        self._records.inc(records)
        yield plan.split, Shard(name, records, total, code_points)


class WriteIndex(beam.DoFn):
    """Writes the index of one split."""

    def __init__(self, examples: str):
        self._examples = examples

    def process(self, shards_of_split: tuple[str, Iterable[Shard]]) -> None:
        """Writes the file."""
        split, shards = shards_of_split
        path = os.path.join(split_directory(self._examples, split), "index.json")
        write_text(path, index_text([Shard(*shard) for shard in shards]))


def run(
    store: Store,
    corpus: corpora.Corpus,
    train_fraction: float = 0.95,
    shards: int = 0,
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Shards a corpus.

    Args:
      store: where artifacts are.
      corpus: the corpus.
      train_fraction: share of the text, from its beginning, that is the training split; the rest
        is the eval split.
      shards: number of shards of the training split; 0 for one per MiB, at most 64.
      beam_options: options for Beam, as on its own command lines (`--runner=...`).

    Returns:
      The artifact with `Split-train` and `Split-eval`.

    Raises:
      InputError: for an unusable corpus or parameter.
    """
    if not 0 < train_fraction < 1:
        raise InputError(f"train_fraction is {train_fraction}; it must be between 0 and 1")
    if shards < 0:
        raise InputError(f"shards is {shards}; it must be at least 1, or 0 to choose by size")

    options = runners.beam_options(beam_options)

    def write(directory: str) -> Outcome:
        scratch = os.path.join(directory, "unpacked")
        sources = _plain_sources(corpus, scratch)
        total = sum(source.size for source in sources)
        if not total:
            raise InputError(f"the corpus {corpus.name} is empty; give one with text in it")
        plans = _plan(sources, total, train_fraction, shards)
        for split in SPLITS:
            gfile.makedirs(split_directory(directory, split))
        with beam.Pipeline(options=options) as pipeline:
            (
                pipeline
                | "ListShards" >> beam.Create(plans)
                | "SpreadShards" >> beam.Reshuffle()
                | "WriteShards" >> beam.ParDo(WriteShard(directory))
                | "GatherShards" >> beam.GroupByKey()
                | "WriteIndexes" >> beam.ParDo(WriteIndex(directory))
            )
        if gfile.exists(scratch):
            gfile.rmtree(scratch)
        counters = {"corpus": corpus.name, "bytes": total, "sources": len(sources)}
        for split in SPLITS:
            chosen = [plan for plan in plans if plan.split == split]
            counters[f"{split}_shards"] = len(chosen)
            counters[f"{split}_bytes"] = sum(s.length for plan in chosen for s in plan.segments)
        return Outcome(counters, f"{total:,} bytes of {corpus.name} in {len(plans)} shards")

    parameters = {"corpus": corpus.name, "train_fraction": train_fraction, "shards": shards}
    return store.produce(STAGE, __name__, {"corpus": corpus.fingerprint}, parameters, write)


def _plain_sources(corpus, scratch):
    """The sources as plain files, downloaded and unpacked into `scratch` where need be."""
    sources = list(corpus.sources)
    if corpus.url:
        gfile.makedirs(scratch)
        with progress_bar(f"Downloading {corpus.url}", unit="bytes") as progress:
            sources = [corpora.download(corpus, scratch, progress)]
    plain = []
    for number, source in enumerate(sources):
        if source.packing:
            gfile.makedirs(scratch)
            path = os.path.join(scratch, f"{number:05d}.txt")
            source = source._replace(path=path, size=corpora.unpack(source, path))
        plain.append(source)
    corpora.check_content(corpus, [source.path for source in plain])
    return [source for source in plain if source.size]


def _plan(sources, total, train_fraction, shards):
    """Which bytes go into which shard."""
    boundary = _align(sources, int(total * train_fraction))
    plans = []
    for split, start, end in zip(SPLITS, (0, boundary), (boundary, total), strict=True):
        count = shards if split == "train" else 0
        count = count or min(MAX_SHARDS, max(1, (end - start) // BYTES_PER_SHARD))
        cuts = [_align(sources, start + (end - start) * n // count) for n in range(count + 1)]
        plans.extend(
            ShardPlan(split, index, count, list(_segments(sources, *cuts[index : index + 2])))
            for index in range(count)
        )
    return plans


def _segments(sources, start, end):
    """The ranges of the sources that make up bytes start to end of the corpus."""
    position = 0
    for source in sources:
        first = max(start - position, 0)
        last = min(end - position, source.size)
        if first < last:
            yield Segment(source.name, source.path, first, last - first)
        position += source.size


def _align(sources, position):
    """The position, or up to three bytes later where a UTF-8 code point begins.

    The beginning stays the beginning, whatever the text starts with.
    """
    for moved in range(4 if position else 0):
        byte = b"".join(
            _read(segment) for segment in _segments(sources, position + moved, position + moved + 1)
        )
        if not byte or not _continues(byte[0]):
            return position + moved
    return position


def _read(segment):
    with gfile.GFile(segment.path, "rb") as file:
        file.seek(segment.offset)
        return file.read(segment.length)


def _blocks(segment):
    """Pieces of a segment of at most BLOCK bytes, cut between code points, with their offsets."""
    with gfile.GFile(segment.path, "rb") as file:
        file.seek(segment.offset)
        offset, end, rest = segment.offset, segment.offset + segment.length, b""
        while offset < end:
            text = rest + file.read(min(BLOCK - len(rest), end - offset - len(rest)))
            if len(text) == len(rest):
                raise OSError(f"{segment.path} became shorter while it was read")
            cut = len(text)
            if offset + cut < end:
                cut = _last_boundary(text)
            yield offset, text[:cut]
            rest = text[cut:]
            offset += cut


def _last_boundary(text):
    """Where the last code point of a block may be cut off: at its first byte."""
    for back in range(1, 4):
        byte = text[-back]
        if not _continues(byte):
            return len(text) - back if byte >= 0xC0 else len(text)
    return len(text)


def _continues(byte):
    return byte & 0xC0 == 0x80


def _code_points(text):
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) & 0xC0 != 0x80))
