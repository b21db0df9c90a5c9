"""Trainer: trains a character model and exports the best of its checkpoints.

checkpoints/, architecture.json     see `pipeline.training.checkpoints`
logs/                               events for TensorBoard
Format-Serving/                     the SavedModel; see `serving.graph.export`
Format-Serving-bfloat16/, -int8/    SavedModels with smaller kernels, if `quantize` is set
Format-Serving-xla/                 the SavedModel compiled by XLA, if `xla` is set
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from model.contexts import registry
from model.errors import InputError
from pipeline.settings import Settings
from pipeline.stages import schema_gen, unused_settings
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.properties import TrainerProperties as Properties
from pipeline.training.workers import expected_replicas, this_worker

if TYPE_CHECKING:
    import tensorflow as tf

    from model.text.code_points import TextVocabulary

__all__ = [
    "NAME",
    "Properties",
    "check_inputs",
    "check_options",
    "execute",
    "make_strategy",
    "plan",
    "read_text_vocabulary",
    "require_enough_text",
    "run",
]

NAME = "Trainer"
_KEYS_PER_STRATEGY = 100_000


def plan(context: RunContext, examples: Fingerprinted, schema: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use, with the number of replicas predicted."""
    replicas = expected_replicas(context.devices)
    return _cache_key(examples, schema, context.settings, context.init_from, replicas)


def execute(context: RunContext, examples: Artifact, schema: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(
        context.store, examples, schema, context.settings, context.init_from, context.devices
    )


def check_options(context: RunContext) -> None:
    """Checks the devices and the checkpoint to start from, before any stage runs.

    Raises:
      InputError: If there is no such device or checkpoint, or it does not fit.
    """
    unused_settings.require_no_other_task(context)
    require_devices(context.devices)
    _require_divisible(context.settings, expected_replicas(context.devices))
    if context.init_from:
        from pipeline.training.initial_weights import InitialWeights

        InitialWeights(context.init_from).require_architecture(context.settings.model)


def check_inputs(context: RunContext, examples: Artifact, schema: Artifact) -> None:
    """Checks that the text suits the model, and that the weights to start from know its characters.

    Raises:
      InputError: If it is not, or they do not.
    """
    registry.check_vocabulary(
        context.settings.model.contexts, schema_gen.read_vocabulary(schema.path)
    )
    require_enough_text(examples, schema, context.settings)
    if context.init_from:
        from pipeline.training.initial_weights import InitialWeights

        InitialWeights(context.init_from).require_unit(read_text_vocabulary(schema))


def _cache_key(
    examples: Fingerprinted,
    schema: Fingerprinted,
    settings: Settings,
    init_from: str,
    replicas: int,
) -> CacheKey:
    inputs: dict[str, Fingerprinted | str] = {"examples": examples, "schema": schema}
    if init_from:
        from pipeline.training.initial_weights import InitialWeights

        inputs["init_from"] = InitialWeights(init_from).fingerprint
    parameters = {
        "model": dataclasses.asdict(settings.model),
        "training": dataclasses.asdict(settings.training),
        "replicas": replicas,
    }
    return CacheKey.of(NAME, __name__, inputs, parameters)


def run(
    store: Store,
    examples: Artifact,
    schema: Artifact,
    settings: Settings,
    init_from: str = "",
    devices: Sequence[str] = (),
) -> Artifact:
    """Trains a model; resumes a training that was interrupted from its last checkpoint.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen or Transform.
      schema: Artifact of SchemaGen.
      settings: Settings of the model and of the training.
      init_from: Path of a Trainer artifact whose weights to start from; empty for random ones.
      devices: TensorFlow's names of the devices to train on; empty for all GPUs, or the CPU.

    Returns:
      The artifact with the checkpoints and the SavedModels.

    Raises:
      InputError: If the text is too short for the batch, `init_from` does not fit, or the loss
        explodes.
    """
    from pipeline.training.initial_weights import InitialWeights
    from pipeline.training.training_run import TrainingRun

    vocabulary = read_text_vocabulary(schema)
    initial = InitialWeights(init_from) if init_from else None
    if initial:
        initial.require_architecture(settings.model)
        initial.require_unit(vocabulary)
    registry.check_vocabulary(settings.model.contexts, vocabulary)
    require_enough_text(examples, schema, settings)
    strategy = make_strategy(devices)
    replicas = strategy.num_replicas_in_sync
    _require_divisible(settings, replicas)

    def write(directory: str) -> Outcome:
        with as_worker(directory) as write_dir:
            training = TrainingRun(directory, write_dir, examples, vocabulary, settings, strategy)
            return training.run(initial, key.fingerprint)

    key = _cache_key(examples, schema, settings, init_from, replicas)
    return store.produce(key, write, resumable=True)


@contextlib.contextmanager
def as_worker(directory: str) -> Iterator[str]:
    """Yields the directory that this worker of a training writes to.

    Args:
      directory: Directory of the artifact, which the chief alone writes.

    Raises:
      InputError: If another worker is lost.
    """
    import tensorflow as tf

    with contextlib.ExitStack() as stack:
        write_dir = directory
        if not this_worker().is_chief:
            write_dir = stack.enter_context(tempfile.TemporaryDirectory())
        try:
            yield write_dir
        except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
            raise InputError(
                "another worker of this training was lost; start all of them again, and it resumes "
                "from its last checkpoint"
            ) from error


def make_strategy(devices: Sequence[str]) -> "tf.distribute.Strategy":
    """Creates a strategy over the given devices, or over all GPUs if there are any, or the CPU.

    If `TF_CONFIG` names other workers, the strategy is over the devices of all of them.

    Args:
      devices: TensorFlow's names of the devices.

    Raises:
      InputError: If one of them does not exist.
    """
    import tensorflow as tf

    if this_worker().count > 1:
        if devices:
            raise InputError("--devices is for one machine; leave it out, or unset TF_CONFIG")
        return tf.distribute.MultiWorkerMirroredStrategy()
    require_devices(devices)
    # Every strategy counts the keys of its collective operations from the same number, and the
    # runtime at times takes those of a second strategy for the first one's, with "Shape mismatch in
    # the collective instance" (TensorFlow issue 62790). TensorFlow's own tests do this, too.
    tf.distribute.MirroredStrategy._collective_key_base += _KEYS_PER_STRATEGY
    return tf.distribute.MirroredStrategy(list(devices) or None)


def require_devices(devices: Sequence[str]) -> None:
    """Checks that this machine has all devices, and that none is named twice.

    Args:
      devices: TensorFlow's names of the devices.

    Raises:
      InputError: If it has not, or one is.
    """
    if not devices:
        return
    import tensorflow as tf

    known = [
        device.name.lower().split("device:")[-1] for device in tf.config.list_logical_devices()
    ]
    named = [device.lower().lstrip("/") for device in devices]
    for device, name in zip(devices, named, strict=True):
        if name not in known:
            raise InputError(f"there is no device {device}; there are {', '.join(known)}")
        if named.count(name) > 1:
            raise InputError(f"--devices names {device} twice; name each device once")


def _require_divisible(settings: Settings, replicas: int) -> None:
    """Checks that each replica has the same number of streams."""
    if settings.training.batch_size % replicas:
        raise InputError(
            f"batch_size {settings.training.batch_size} does not divide among {replicas} replicas; "
            "choose a multiple"
        )


def read_text_vocabulary(schema: Artifact) -> "TextVocabulary":
    """Reads the vocabulary of a SchemaGen artifact."""
    from model.text.code_points import TextVocabulary

    return TextVocabulary(*dataclasses.astuple(schema_gen.read_vocabulary(schema.path)))


def require_enough_text(examples: Artifact, schema: Artifact, settings: Settings) -> None:
    """Checks that the training split fills a window in every stream.

    Raises:
      InputError: If it does not.
    """
    from pipeline.data.windows import StreamedSplit

    total = StreamedSplit.open(examples.path, "train", read_text_vocabulary(schema)).total
    needed = settings.training.batch_size * settings.training.window
    if total < needed:
        raise InputError(
            f"the training split has {total:,} characters, one batch of windows takes {needed:,} "
            "(batch_size x window); give a longer corpus or a smaller --batch_size or --window"
        )
