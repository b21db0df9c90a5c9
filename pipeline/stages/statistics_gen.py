"""StatisticsGen: counts the characters, pairs and lines of examples.

Split-train/FeatureStats.pb     see `pipeline.data.statistics`
"""

import dataclasses
from collections.abc import Sequence

from model.config import CharacterUnit
from model.errors import InputError
from pipeline.data import statistics
from pipeline.data.records import SPLITS, read_index
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "StatisticsGen"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a StatisticsGen artifact.

    Attributes:
      train_characters: Number of characters in the training split.
      eval_characters: Number of characters in the eval split.
      distinct: Number of distinct characters in the training split.
      entropy_order_0_bits: Entropy of a character of the training split, in bits.
      entropy_order_1_bits: Entropy of a character given the one before, in bits.
    """

    train_characters: int
    eval_characters: int
    distinct: int
    entropy_order_0_bits: float
    entropy_order_1_bits: float


def plan(context: RunContext, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(examples, context.settings.data.character_unit)


def execute(context: RunContext, examples: Artifact) -> Artifact:
    """Runs the stage in a context."""
    unit = context.settings.data.character_unit
    return run(context.store, examples, unit, context.beam_options)


def _cache_key(examples: Fingerprinted, character_unit: CharacterUnit) -> CacheKey:
    return CacheKey.of(NAME, __name__, {"examples": examples}, {"character_unit": character_unit})


def run(
    store: Store,
    examples: Artifact,
    character_unit: CharacterUnit = "bytes",
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Counts the characters of examples.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen or Transform.
      character_unit: Unit of text that is one character. Default "bytes".
      beam_options: Options for Beam, as on its own command lines.

    Returns:
      The artifact with a `FeatureStats.pb` per split.

    Raises:
      InputError: If characters are code points and the text is not UTF-8.
    """
    from pipeline.data import runners
    from pipeline.data.split_statistics import write_statistics
    from pipeline.data.statistics_pipeline import CountShard, JoinCounts, WriteStatistics

    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])

    def write(directory: str) -> Outcome:
        place = write_statistics(
            NAME,
            examples.path,
            directory,
            options,
            CountShard(NAME, character_unit),
            JoinCounts(),
            WriteStatistics(directory, character_unit),
        )
        if place:
            raise InputError(
                f"invalid UTF-8 in {place}; fix the text, or use bytes with --character_unit bytes"
            )
        train, evaluation = (statistics.read(directory, split) for split in SPLITS)
        properties = Properties(
            train_characters=train.total,
            eval_characters=evaluation.total,
            distinct=train.distinct,
            entropy_order_0_bits=round(train.entropies[0], 4),
            entropy_order_1_bits=round(train.entropies[1], 4),
        )
        summary = (
            f"{train.distinct} distinct characters, {train.entropies[0]:.3f} bits each, "
            f"{train.entropies[1]:.3f} given the one before"
        )
        return Outcome(properties, summary)

    for split in SPLITS:
        read_index(examples.path, split)  # a damaged index ends here, also if counts are cached
    return store.produce(_cache_key(examples, character_unit), write)
