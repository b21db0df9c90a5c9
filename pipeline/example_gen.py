"""ExampleGen: one corpus or a mixture of several into shards of TFRecords, split in two."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np

from model.errors import InputError
from pipeline import corpus as corpora
from pipeline import files, layout, runners
from pipeline.artifacts import Artifact, Outcome, Store
from pipeline.corpus import Corpus, Mixture
from pipeline.layout import ShardPlan
from pipeline.progress import progress_bar
from pipeline.records import (
    SPLITS,
    RecordWriter,
    Shard,
    index_text,
    read_index,
    shard_name,
    split_directory,
)
from pipeline.settings import DataConfig

STAGE = "ExampleGen"
UNPACKED = "unpacked"


class WriteShard(beam.DoFn):
    """Reads the segments of one shard and writes it.

    Any number of workers may do so at once: each writes a file of its own and renames it, and all
    of these have the same bytes.
    """

    def __init__(self, examples: str):
        self._examples = examples
        self._bytes = runners.Counter(STAGE, "bytes")
        self._records = runners.Counter(STAGE, "records")
        self._code_points = runners.Counter(STAGE, "code_points")
        self._invalid = runners.Counter(STAGE, "invalid_sequences")

    def process(self, plan: ShardPlan) -> Iterator[tuple[str, Shard]]:
        """Yields the split and what was written."""
        name = shard_name(plan.index, plan.count)
        path = os.path.join(split_directory(self._examples, plan.split), name)
        unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
        records = total = code_points = invalid = 0
        with files.open_file(unfinished, "wb") as file:
            writer = RecordWriter(file)
            for segment in plan.segments:
                for record in segment.records():
                    writer.write(record.serialize())
                    counts = _code_points(record.text)
                    records += 1
                    total += len(record.text)
                    code_points += counts[0]
                    invalid += counts[1]
                    self._bytes.inc(len(record.text))
                    self._code_points.inc(counts[0])
                    self._records.inc()
                    self._invalid.inc(counts[1])
        files.rename(unfinished, path)
        yield plan.split, Shard(name, records, total, code_points, invalid, writer.sha256)


class WriteIndex(beam.DoFn):
    """Writes the index of one split."""

    def __init__(self, examples: str):
        self._examples = examples

    def process(self, shards_of_split: tuple[str, Iterable[Shard]]) -> None:
        """Writes the file."""
        split, shards = shards_of_split
        path = os.path.join(split_directory(self._examples, split), "index.json")
        files.write_text(path, index_text([Shard(*shard) for shard in shards]))


def run(
    store: Store,
    text: Corpus | Mixture,
    data: DataConfig = DataConfig(),  # noqa: B008  it cannot be changed
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Shards a corpus, or a mixture of several.

    Args:
      store: where artifacts are.
      text: what to shard.
      data: how it is split and sharded.
      beam_options: options for Beam, as on its own command lines (`--runner=...`).

    Returns:
      The artifact with `Split-train` and `Split-eval`.

    Raises:
      InputError: for an unusable corpus, or one that changes while it is read.
    """
    options = runners.beam_options(beam_options)
    mixture = text if isinstance(text, Mixture) else Mixture.of(text)

    def write(directory: str) -> Outcome:
        scratch = os.path.join(directory, UNPACKED)
        parts = [
            layout.split(sources, data.split_by, data.train_fraction)
            for sources in _plain_sources(mixture, scratch)
        ]
        plans = []
        for number, split in enumerate(SPLITS):
            segments = [part[number] for part in parts]
            mixed = (
                layout.mix(segments, mixture.weights, mixture.until)
                if len(segments) > 1
                else segments[0]
            )
            plans.extend(layout.shards(split, mixed, data.shards if split == "train" else 0))
            files.makedirs(split_directory(directory, split))
        _write_shards(directory, plans, options)
        for corpus in mixture.corpora:
            corpora.require_unchanged(corpus)
        if files.exists(scratch):
            files.rmtree(scratch)
        return _outcome(directory, mixture)

    parameters = {
        "corpus": mixture.name,
        "split_by": data.split_by,
        "train_fraction": data.train_fraction,
        "shards": data.shards,
    }
    return store.produce(STAGE, __name__, {"corpus": mixture.fingerprint}, parameters, write)


def _plain_sources(mixture, scratch):
    """Each corpus as plain files, downloaded and unpacked into `scratch` where need be."""
    for corpus, prefix in zip(mixture.corpora, mixture.prefixes, strict=True):
        plain = _fetched(corpus, scratch)
        yield [source._replace(name=prefix + source.name) for source in plain if source.size]


def _fetched(corpus, scratch):
    sources = list(corpus.sources)
    if corpus.url:
        files.makedirs(scratch)
        with progress_bar(f"Downloading {corpus.url}", unit="bytes") as progress:
            sources = [corpora.download(corpus, scratch, progress)]
    plain = []
    for source in sources:
        if source.packing:
            files.makedirs(scratch)
            path = os.path.join(scratch, uuid.uuid4().hex)
            source = source._replace(path=path, size=corpora.unpack(source, path))
        plain.append(source)
    corpora.check_content(corpus, [source.path for source in plain])
    if not any(source.size for source in plain):
        raise InputError(f"the corpus {corpus.name} is empty; give one with text in it")
    return plain


def _write_shards(directory, plans, options):
    pipeline = runners.pipeline(options)
    (
        pipeline
        | "ListShards" >> beam.Create(plans)
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShards" >> beam.ParDo(WriteShard(directory))
        | "GatherShards" >> beam.GroupByKey()
        | "WriteIndexes" >> beam.ParDo(WriteIndex(directory))
    )
    total = sum(segment.length for plan in plans for segment in plan.segments)
    runners.run(pipeline, STAGE, "Sharding", "bytes", total)
    for split in SPLITS:
        # A worker that died has left its file, and one that was thought dead may still write it.
        for leftover in files.glob(os.path.join(split_directory(directory, split), "*.tmp")):
            files.remove(leftover)


def _outcome(directory, mixture):
    counters = {"corpus": mixture.name, "sources": sum(len(c.sources) for c in mixture.corpora)}
    checksums, total, count = {}, 0, 0
    for split in SPLITS:
        shards = read_index(directory, split)
        for shard in shards:
            checksums[f"Split-{split}/{shard.name}"] = f"sha256:{shard.sha256}"
        counters[f"{split}_shards"] = len(shards)
        for number in ("bytes", "code_points", "records", "invalid"):
            counters[f"{split}_{number}"] = sum(getattr(shard, number) for shard in shards)
        total += counters[f"{split}_bytes"]
        count += len(shards)
    counters["bytes"] = total
    figure = f"{total:,} bytes of {mixture.name} in {count} shards"
    return Outcome(counters, figure, checksums)


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
