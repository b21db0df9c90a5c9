"""Baselines: predicts the eval split without a neural network, for comparison with the model.

baselines.json     the bits per character of n-grams, PPMd, xz and zstd, and empirical entropies;
                   see `pipeline.baselines.measuring`

The evaluated characters are those that the Evaluator counts: all of the eval split that the
vocabulary of the training split has, bytes or code points as `character_unit` says. Of splits
beyond `baseline_characters` the nearest parts are read: the last characters of the training split
and the first of the eval split.
"""

import dataclasses
import json
import os
from collections.abc import Mapping

from common.files import write_text
from common.progress import progress_bar
from pipeline.stages import schema_gen
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "Baselines"
BASELINES = "baselines.json"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a Baselines artifact.

    Attributes:
      bits_per_character: Bits per character of each baseline, by its name.
      seconds: Seconds that each took, by its name.
      characters: Number of characters that are predicted.
      train_characters: Number of characters of the training text.
      characters_left_out: Number of characters of the eval split beyond the limit.
      train_characters_left_out: Number of characters of the training split beyond the limit.
    """

    bits_per_character: Mapping[str, float]
    seconds: Mapping[str, float]
    characters: int
    train_characters: int
    characters_left_out: int
    train_characters_left_out: int


def plan(context: RunContext, examples: Fingerprinted, schema: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(examples, schema, context.settings.run.baseline_characters)


def execute(context: RunContext, examples: Artifact, schema: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, examples, schema, context.settings.run.baseline_characters)


def _cache_key(examples: Fingerprinted, schema: Fingerprinted, limit: int) -> CacheKey:
    inputs = {"examples": examples, "schema": schema}
    return CacheKey.of(NAME, __name__, inputs, {"baseline_characters": limit})


def run(
    store: Store, examples: Artifact, schema: Artifact, baseline_characters: int = 20_000_000
) -> Artifact:
    """Measures the baselines of examples.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen or Transform.
      schema: Artifact of SchemaGen, with the vocabulary.
      baseline_characters: Most characters of each split to read. Default 20 million.

    Returns:
      The artifact with `baselines.json`.

    Raises:
      InputError: If a split is too short.
    """

    def write(directory: str) -> Outcome:
        from pipeline.baselines.measuring import Texts, measure
        from pipeline.baselines.texts import read_text

        vocabulary = schema_gen.read_vocabulary(schema.path)
        train = read_text(examples.path, "train", vocabulary, baseline_characters, from_end=True)
        evaluated = read_text(examples.path, "eval", vocabulary, baseline_characters)
        texts = Texts(train.ids, evaluated.ids, vocabulary)
        with progress_bar("Baselines", unit="baselines") as progress:
            measured = measure(texts, progress)
        content = {
            name: {"method": one.method, "bits_per_character": one.bits_per_character}
            for name, one in measured.items()
        }
        write_text(os.path.join(directory, BASELINES), json.dumps(content, indent=1) + "\n")
        properties = Properties(
            bits_per_character={name: one.bits_per_character for name, one in measured.items()},
            seconds={name: one.seconds for name, one in measured.items()},
            characters=len(evaluated.ids),
            train_characters=len(train.ids),
            characters_left_out=evaluated.left_out,
            train_characters_left_out=train.left_out,
        )
        return Outcome(properties, _summary(properties))

    return store.produce(_cache_key(examples, schema, baseline_characters), write)


def _summary(properties: Properties) -> str:
    """Returns the figures in words, and what of the splits they leave out."""
    figures = ", ".join(
        f"{name} {bits:.3f}" for name, bits in properties.bits_per_character.items()
    )
    summary = f"bits per character: {figures}"
    if properties.train_characters_left_out:
        summary += f"; after the last {properties.train_characters:,} training characters"
    if properties.characters_left_out:
        summary += f"; of the first {properties.characters:,} characters"
    return summary
