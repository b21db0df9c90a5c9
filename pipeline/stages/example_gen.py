"""ExampleGen: one corpus or a mixture of several into shards of TFRecords, split in two."""

import os
import uuid
from collections.abc import Iterator, Sequence

import apache_beam as beam

from common import files
from common.progress import progress_bar
from model.errors import InputError
from pipeline.data import corpus as corpora
from pipeline.data import layout, runners
from pipeline.data.corpus import Corpus, Mixture
from pipeline.data.layout import ShardPlan
from pipeline.data.records import SPLITS, Shard, shard_name, split_directory
from pipeline.data.sharding import ShardWriter, outcome, remove_leftovers, write_shards
from pipeline.settings import DataConfig
from pipeline.stages.names import EXAMPLE_GEN
from pipeline.store.artifacts import Artifact, Outcome, Store

UNPACKED = "unpacked"


class WriteShard(beam.DoFn):
    """Reads the segments of one shard and writes it."""

    def __init__(self, examples: str):
        self._writer = ShardWriter(EXAMPLE_GEN, examples)

    def process(self, plan: ShardPlan) -> Iterator[tuple[str, Shard]]:
        """Yields the split and what was written."""
        records = (record for segment in plan.segments for record in segment.records())
        yield (
            plan.split,
            self._writer.write(plan.split, shard_name(plan.index, plan.count), records),
        )


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
    sources = [source.path for corpus in mixture.corpora for source in corpus.sources]
    runners.require_visible(options, [store.root, *sources])

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
        total = sum(segment.length for plan in plans for segment in plan.segments)
        pipeline = runners.pipeline(options)
        write_shards(pipeline, directory, plans, WriteShard(directory))
        runners.run(pipeline, EXAMPLE_GEN, "Sharding", "bytes", total)
        remove_leftovers(directory)
        for corpus in mixture.corpora:
            corpora.require_unchanged(corpus)
        if files.exists(scratch):
            files.rmtree(scratch)
        return outcome(directory, mixture.name, {"sources": len(sources)})

    parameters = {
        "corpus": mixture.name,
        "split_by": data.split_by,
        "train_fraction": data.train_fraction,
        "shards": data.shards,
    }
    return store.produce(EXAMPLE_GEN, __name__, {"corpus": mixture.fingerprint}, parameters, write)


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
