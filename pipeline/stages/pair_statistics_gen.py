"""PairStatisticsGen: counts the words of pairs of sentences, of both sides.

Split-train/FeatureStats.pb     see `pipeline.data.pair_statistics`
"""

import dataclasses
from collections.abc import Sequence

from model.errors import InputError
from pipeline.data import pair_statistics
from pipeline.data.records import SPLITS
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "PairStatisticsGen"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a PairStatisticsGen artifact.

    Attributes:
      train_pairs: Number of pairs in the training split.
      eval_pairs: Number of pairs in the eval split.
      source_words: Number of distinct words of the sentences of the training split.
      target_words: Number of distinct words of their translations.
    """

    train_pairs: int
    eval_pairs: int
    source_words: int
    target_words: int


def plan(context: RunContext, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(examples)


def execute(context: RunContext, examples: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, examples, context.beam_options)


def _cache_key(examples: Fingerprinted) -> CacheKey:
    return CacheKey.of(NAME, __name__, {"examples": examples}, {})


def run(store: Store, examples: Artifact, beam_options: Sequence[str] = ()) -> Artifact:
    """Counts the words of pairs.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen, of records of whole lines.
      beam_options: Options for Beam, as on its own command lines.

    Returns:
      The artifact with the statistics of each split.

    Raises:
      InputError: If a line is no pair, or a split has none.
    """
    from pipeline.data import runners
    from pipeline.data.pair_statistics_pipeline import (
        CountPairs,
        JoinPairCounts,
        WritePairStatistics,
    )
    from pipeline.data.split_statistics import write_statistics

    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])

    def write(directory: str) -> Outcome:
        problem = write_statistics(
            NAME,
            examples.path,
            directory,
            options,
            CountPairs(NAME),
            JoinPairCounts(),
            WritePairStatistics(directory),
        )
        if problem:
            raise InputError(problem)
        train, evaluation = (pair_statistics.read(directory, split) for split in SPLITS)
        for name, statistics in (("training", train), ("eval", evaluation)):
            if not statistics.pairs:
                raise InputError(f"the {name} split has no pair of sentences; give more of them")
        properties = Properties(
            train_pairs=train.pairs,
            eval_pairs=evaluation.pairs,
            source_words=len(train.words[0]),
            target_words=len(train.words[1]),
        )
        summary = (
            f"{train.pairs:,} and {evaluation.pairs:,} pairs; {properties.source_words:,} distinct "
            f"words to {properties.target_words:,}"
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(examples), write)
