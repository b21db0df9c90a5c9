"""RecognitionTrainer: trains a recognizer of speech, and exports the best of its checkpoints.

checkpoints/        see `pipeline.training.shuffled_checkpoints`
logs/               events for TensorBoard
Format-Serving/     the SavedModel; see `serving.graph.export_recognizer`
"""

import dataclasses
from collections.abc import Sequence

from model.errors import InputError
from pipeline.settings import Settings
from pipeline.stages import label_schema_gen, trainer, unused_settings
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.workers import expected_replicas

NAME = "RecognitionTrainer"


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
      InputError: If there is no such device, or a setting has no effect on a recognizer.
    """
    unused_settings.require_defaults(context, unused_settings.OF_CHARACTERS, ["execution"])
    trainer.require_devices(context.devices)


def _cache_key(
    examples: Fingerprinted,
    schema: Fingerprinted,
    statistics: Fingerprinted,
    settings: Settings,
    replicas: int,
) -> CacheKey:
    recognition = dataclasses.asdict(settings.recognition)
    parameters = {
        "units": settings.model.units,
        "layers": settings.model.layers,
        "dropout": settings.model.dropout,
        "training": dataclasses.asdict(settings.training),
        "recognition": {
            name: recognition[name] for name in recognition if name != "evaluated_recordings"
        },
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
      examples: Artifact of ExampleGen, of recordings.
      schema: Artifact of LabelSchemaGen.
      statistics: Artifact of RecordingStatisticsGen.
      settings: Settings of the model and of the training.
      devices: TensorFlow's names of the devices to train on; empty for all GPUs, or the CPU.

    Returns:
      The artifact with the checkpoints and the SavedModel.

    Raises:
      InputError: If the statistics are of other spectrograms, or the loss explodes.
    """
    from pipeline.data import recording_statistics
    from pipeline.training.recognition_run import RecognitionRun

    _require_same_spectrograms(statistics, settings)
    labels = label_schema_gen.read_labels(schema.path)
    train = recording_statistics.read(statistics.path, "train")
    strategy = trainer.make_strategy(devices)

    def write(directory: str) -> Outcome:
        with trainer.as_worker(directory) as write_dir:
            training = RecognitionRun(
                directory, write_dir, examples, labels, train, settings, strategy
            )
            return training.run()

    key = _cache_key(examples, schema, statistics, settings, strategy.num_replicas_in_sync)
    return store.produce(key, write, resumable=True)


def _require_same_spectrograms(statistics: Artifact, settings: Settings) -> None:
    """Checks that the statistics of bands and frames are those of the spectrograms to train on."""
    for name, measured in statistics.manifest.parameters.items():
        wanted = getattr(settings.recognition, name)
        if measured != wanted:
            raise InputError(
                f"{name} is {wanted}, and the newest statistics are of {measured}; run `python -m "
                "pipeline recording_statistics_gen` with the same settings first"
            )
