"""TranslationTrainer: trains a model that translates, and exports the best of its checkpoints.

checkpoints/        see `pipeline.training.shuffled_checkpoints`
logs/               events for TensorBoard
Format-Serving/     the SavedModel; see `serving.graph.export_translator`
"""

import dataclasses
from collections.abc import Sequence

from pipeline.data import pair_statistics
from pipeline.settings import Settings
from pipeline.stages import trainer, unused_settings, word_schema_gen
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.workers import expected_replicas

NAME = "TranslationTrainer"
OF_CHARACTERS = ("layers", *unused_settings.OF_CHARACTERS)
"""Settings of the section [model] that a model that translates does not have."""


def plan(
    context: RunContext, examples: Fingerprinted, schema: Fingerprinted, statistics: Fingerprinted
) -> CacheKey:
    """Returns the cache key that `execute` will use, with the number of replicas predicted."""
    return _cache_key(
        examples, schema, statistics, context.settings, expected_replicas(context.devices)
    )


def execute(
    context: RunContext, examples: Artifact, schema: Artifact, statistics: Artifact
) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, examples, schema, statistics, context.settings, context.devices)


def check_options(context: RunContext) -> None:
    """Checks the settings before any stage runs.

    Raises:
      InputError: If there is no such device, or a setting has no effect on a translation.
    """
    unused_settings.require_defaults(context, OF_CHARACTERS)
    trainer.require_devices(context.devices)


def _cache_key(
    examples: Fingerprinted,
    schema: Fingerprinted,
    statistics: Fingerprinted,
    settings: Settings,
    replicas: int,
) -> CacheKey:
    search = dataclasses.asdict(settings.translation)
    parameters = {
        "units": settings.model.units,
        "dropout": settings.model.dropout,
        "training": dataclasses.asdict(settings.training),
        "translation": {name: search[name] for name in search if name != "evaluated_pairs"},
        "replicas": replicas,
    }
    inputs: dict[str, Fingerprinted | str] = {
        "examples": examples,
        "schema": schema,
        "statistics": statistics,
    }
    return CacheKey.of(NAME, __name__, inputs, parameters)


def run(
    store: Store,
    examples: Artifact,
    schema: Artifact,
    statistics: Artifact,
    settings: Settings,
    devices: Sequence[str] = (),
) -> Artifact:
    """Trains a model; resumes a training that was interrupted from its last checkpoint.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen, of records of whole lines.
      schema: Artifact of WordSchemaGen.
      statistics: Artifact of PairStatisticsGen.
      settings: Settings of the model and of the training.
      devices: TensorFlow's names of the devices to train on; empty for all GPUs, or the CPU.

    Returns:
      The artifact with the checkpoints and the SavedModel.

    Raises:
      InputError: If no pair is short enough, or the loss explodes.
    """
    from pipeline.data.pair_batches import Vocabularies, require_pairs
    from pipeline.training.translation_run import TranslationRun

    lengths = {
        split: pair_statistics.read(statistics.path, split).lengths for split in ("train", "eval")
    }
    for split, found in lengths.items():
        require_pairs(found, settings.translation.max_words, split)
    vocabularies = Vocabularies(*word_schema_gen.read_vocabularies(schema.path))
    strategy = trainer.make_strategy(devices)

    def write(directory: str) -> Outcome:
        with trainer.as_worker(directory) as write_dir:
            training = TranslationRun(
                directory, write_dir, examples, vocabularies, lengths["train"], settings, strategy
            )
            return training.run()

    key = _cache_key(examples, schema, statistics, settings, strategy.num_replicas_in_sync)
    return store.produce(key, write, resumable=True)
