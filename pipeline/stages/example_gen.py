"""ExampleGen: writes a corpus, or a mixture of several, as shards of TFRecords in two splits."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from common import files
from pipeline.corpora import corpus as corpora
from pipeline.corpora import discovery
from pipeline.corpora.corpus import Corpus, Mixture
from pipeline.corpora.discovery import Skipped
from pipeline.corpora.plain_files import UNPACKED, plain_sources
from pipeline.data import examples
from pipeline.data.examples import ExamplesProperties as Properties
from pipeline.data.records import SPLITS, split_directory
from pipeline.settings import DataConfig
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey

if TYPE_CHECKING:
    from pipeline.data.layout import Cut

__all__ = ["NAME", "Properties", "check_options", "execute", "plan", "run"]

NAME = "ExampleGen"


def plan(context: RunContext) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(context.text, context.settings.data, _cut(context))


def execute(context: RunContext) -> Artifact:
    """Runs the stage in a context."""
    return run(
        context.store, context.text, context.settings.data, context.beam_options, _cut(context)
    )


def _cut(context: RunContext) -> "Cut":
    """Returns what records have no part of: of lines where each holds a pair of sentences."""
    return "line" if context.settings.run.task == "translation" else "code_point"


def check_options(context: RunContext) -> None:
    """Checks the options for Beam, before any stage runs.

    Raises:
      InputError: If one of them is wrong.
    """
    context.check_beam_options()


def _cache_key(mixture: Mixture, data: DataConfig, cut_between: "Cut") -> CacheKey:
    parameters = {
        "corpus": mixture.name,
        "split_by": data.split_by,
        "train_fraction": data.train_fraction,
        "shards": data.shards,
        "cut_between": cut_between,
        "separate_documents": data.separate_documents,
    }
    return CacheKey.of(NAME, __name__, {"corpus": mixture.fingerprint}, parameters)


def run(
    store: Store,
    text: Corpus | Mixture,
    data: DataConfig = DataConfig(),  # noqa: B008  it cannot be changed
    beam_options: Sequence[str] = (),
    cut_between: "Cut" = "code_point",
) -> Artifact:
    """Writes the shards of a corpus, or of a mixture of several.

    Args:
      store: Store of the artifacts.
      text: Corpus, or mixture of corpora.
      data: Rules by which the text is split and sharded.
      beam_options: Options for Beam, as on its own command lines (`--runner=...`).
      cut_between: What no record has a part of. Default: code points.

    Returns:
      The artifact with `Split-train` and `Split-eval`.

    Raises:
      InputError: If the corpus is unusable, or changes while it is read.
    """
    from pipeline.data import layout, runners
    from pipeline.data.sharding import WriteShard, write_shards

    options = runners.beam_options(beam_options)
    mixture = text if isinstance(text, Mixture) else Mixture.of(text)
    sources = [source.path for corpus in mixture.all_corpora for source in corpus.sources]
    runners.require_visible(options, [store.root, *sources])

    def write(directory: str) -> Outcome:
        scratch = os.path.join(directory, UNPACKED)
        skipped: list[Skipped] = []
        texts = list(plain_sources(mixture, scratch, skipped))
        parts = [
            layout.split(plain, data.split_by, data.train_fraction, prefix)
            for plain, prefix in zip(texts, mixture.prefixes, strict=True)
        ]
        plans = []
        for number, split in enumerate(SPLITS):
            segments = [part[number] for part in parts]
            mixed = (
                layout.mix(segments, mixture.weights, mixture.until)
                if len(segments) > 1
                else segments[0]
            )
            count = data.shards if split == "train" else 0
            plans.extend(layout.shards(split, mixed, count, cut_between, data.separate_documents))
            files.makedirs(split_directory(directory, split))
        total = sum(segment.length for plan in plans for segment in plan.segments)
        pipeline = runners.pipeline(options)
        write_shards(pipeline, directory, plans, WriteShard(NAME, directory))
        runners.run(pipeline, NAME, "Sharding", "bytes", total)
        examples.remove_leftovers(directory)
        for corpus in mixture.all_corpora:
            corpora.require_unchanged(corpus)
        if files.exists(scratch):
            files.rmtree(scratch)
        note = discovery.describe(skipped)
        return examples.outcome(directory, mixture.name, sum(map(len, texts)), note)

    return store.produce(_cache_key(mixture, data, cut_between), write)
