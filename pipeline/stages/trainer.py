"""Trainer: trains a character model and exports the best of its checkpoints.

checkpoints/, architecture.json     see `checkpoints`
logs/                               for TensorBoard
Format-Serving/                     the SavedModel; see `serving.export`
Format-Serving-bfloat16/, -int8/    with smaller kernels, where `quantize` is set
"""

import contextlib
import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import tensorflow as tf

from common import files
from common.progress import progress_bar
from model.decoding.packed_kernels import Precision, has_integer_products
from model.errors import InputError
from model.language_model import sampling
from model.text.code_points import NormalizedTextVocabulary, TextVocabulary
from pipeline.data.windows import Split
from pipeline.settings import Settings
from pipeline.stages import schema_gen, transform
from pipeline.stages.names import TRAINER
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.training import model_card
from pipeline.training.checkpoints import Checkpoints, InitialWeights, write_architecture
from pipeline.training.learner import Learner
from pipeline.training.training_log import LAYER_GRADIENT, LOSS, TrainingLog
from pipeline.training.workers import this_worker
from serving.graph.export import export

SAVED_MODELS: dict[Precision, str] = {
    "bfloat16": "Format-Serving-bfloat16",
    "int8": "Format-Serving-int8",
    "float32": "Format-Serving",
}
STEPS_PER_LOG = 10
CACHED = 1 << 24
"""Characters to validate on, at 4 bytes each, that are kept in memory."""

T = TypeVar("T")


def run(
    store: Store,
    examples: Artifact,
    schema: Artifact,
    settings: Settings,
    init_from: str = "",
    devices: Sequence[str] = (),
) -> Artifact:
    """Trains a model. A training that was interrupted goes on where its last checkpoint is.

    Args:
      store: where artifacts are.
      examples: from ExampleGen.
      schema: from SchemaGen.
      settings: the preset.
      init_from: a Trainer artifact whose weights to start from; empty for random ones.
      devices: TensorFlow's names of the devices to train on; empty for all GPUs, or the CPU.

    Returns:
      The artifact.

    Raises:
      InputError: if the text is too short for the batch, `init_from` does not fit, or the loss
        explodes.
    """
    vocabulary = read_text_vocabulary(schema)
    initial = InitialWeights(init_from) if init_from else None
    if initial:
        initial.check(settings.model, vocabulary)
    require_enough_text(examples, schema, settings)
    strategy = make_strategy(devices)
    if settings.training.batch_size % strategy.num_replicas_in_sync:
        raise InputError(
            f"batch_size {settings.training.batch_size} does not divide among "
            f"{strategy.num_replicas_in_sync} replicas; choose a multiple"
        )

    def write(directory: str) -> Outcome:
        with contextlib.ExitStack() as stack:
            own = directory
            if not this_worker().is_chief:
                own = stack.enter_context(tempfile.TemporaryDirectory())
            training = Training(directory, own, examples, vocabulary, settings, strategy)
            try:
                return training.run(initial)
            except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
                raise InputError(
                    "another worker of this training was lost; start all of them again, and it "
                    "goes on from its last checkpoint"
                ) from error

    parameters = {
        "model": dataclasses.asdict(settings.model),
        "training": dataclasses.asdict(settings.training),
        "replicas": strategy.num_replicas_in_sync,
    }
    inputs = {"examples": examples, "schema": schema}
    if initial:
        inputs["init_from"] = initial.fingerprint
    return store.produce(TRAINER, __name__, inputs, parameters, write, resumable=True)


def saved_models(model: Artifact) -> dict[Precision, str]:
    """The SavedModels of an artifact by the precision of their kernels; float32 comes last."""
    paths = {precision: model.file(name) for precision, name in SAVED_MODELS.items()}
    return {precision: path for precision, path in paths.items() if files.exists(path)}


def make_strategy(devices: Sequence[str]) -> tf.distribute.Strategy:
    """A strategy over the given devices, or over all GPUs where there are any, or the CPU.

    Where `TF_CONFIG` names other workers, it is one over the devices of all of them.

    Raises:
      InputError: if one of them does not exist.
    """
    if this_worker().count > 1:
        if devices:
            raise InputError("--devices is for one machine; leave it out, or unset TF_CONFIG")
        return tf.distribute.MultiWorkerMirroredStrategy()
    known = [
        device.name.lower().split("device:")[-1] for device in tf.config.list_logical_devices()
    ]
    for device in devices:
        if device.lower().lstrip("/") not in known:
            raise InputError(f"there is no device {device}; there are {', '.join(known)}")
    return tf.distribute.MirroredStrategy(list(devices) or None)


def read_text_vocabulary(schema: Artifact) -> TextVocabulary:
    """The vocabulary of a SchemaGen artifact."""
    return TextVocabulary(*dataclasses.astuple(schema_gen.read_vocabulary(schema.path)))


def require_enough_text(examples: Artifact, schema: Artifact, settings: Settings) -> None:
    """Checks that the training split fills a window in every stream.

    Raises:
      InputError: if it does not.
    """
    total = Split.open(examples.path, "train", read_text_vocabulary(schema)).total
    needed = settings.training.batch_size * settings.training.window
    if total < needed:
        raise InputError(
            f"the training split has {total:,} characters, one batch of windows takes {needed:,} "
            "(batch_size x window); give a longer corpus or a smaller --batch_size or --window"
        )


class Training:
    """One training, from its checkpoint or from the beginning to the export."""

    def __init__(
        self,
        directory: str,
        own: str,
        examples: Artifact,
        vocabulary: TextVocabulary,
        settings: Settings,
        strategy: tf.distribute.Strategy,
    ):
        """Takes what is to be trained.

        Args:
          directory: where an earlier attempt may have left a checkpoint.
          own: where this worker writes; the directory, for the first.
          examples: from ExampleGen or Transform.
          vocabulary: the characters.
          settings: the preset.
          strategy: where to train.
        """
        self._directory = own
        self._vocabulary = vocabulary
        self._settings = settings
        self._config = config = settings.training
        self._corpus = examples.manifest.counters["corpus"]
        self._transform = transform.load(examples.path)
        self._train_split = Split.open(examples.path, "train", vocabulary)
        self._epoch_steps = self._train_split.windows_per_epoch(config.batch_size, config.window)
        self._steps = config.steps or config.epochs * self._epoch_steps
        self._learner = Learner(
            strategy, settings.model, vocabulary.size, config, self._epoch_steps, self._steps
        )
        self._checkpoints = Checkpoints(directory, self._learner, own)
        # Traced once, as that takes as long as a validation of a small model; and so does reading.
        self._validation, count = Split.open(examples.path, "eval", vocabulary).evaluation_windows(
            config.batch_size, config.window, config.validation_characters, self._learner.rows
        )
        if count * config.batch_size * config.window <= CACHED:
            self._validation = self._validation.cache()

    def run(self, initial: InitialWeights | None) -> Outcome:
        """Trains, restores the best checkpoint and exports it."""
        write_architecture(self._directory, self._settings.model, self._vocabulary)
        if initial:
            initial.load(self._learner.model)
        state = self._checkpoints.restore()
        first = int(self._checkpoints.step)
        self._log = TrainingLog(self._directory, self._settings)
        self._waiting = _Waiting()
        with progress_bar("Training", unit="characters") as progress:
            done = self._loop(state, first, progress)
        if not this_worker().is_chief:
            return Outcome({}, "")
        self._checkpoints.restore_best()
        best = float(self._checkpoints.best_loss)
        counters = {
            "steps": done,
            "characters": done * self._config.batch_size * self._config.window,
            "epochs": round(done / self._epoch_steps, 3),
            "parameters": self._learner.model.count_params(),
            "checkpoint": f"checkpoints/best/ckpt-{int(self._checkpoints.step)}",
            "validation_nats": round(best, 5),
        }
        card = model_card.documents(self._settings.model, self._vocabulary, self._corpus, counters)
        vocabulary = self._vocabulary
        if self._transform is not None:
            fields = dataclasses.astuple(vocabulary)
            vocabulary = NormalizedTextVocabulary(*fields, self._transform)
        for precision, name in SAVED_MODELS.items():
            path = os.path.join(self._directory, name)
            if files.exists(path):
                files.rmtree(path)
            if precision in self._precisions():
                export(self._learner.model, vocabulary, path, card, precision)
        return Outcome(counters, f"{best:.4f} nats per character in validation, {done:,} steps")

    def _loop(self, state, first, progress):
        """Trains from step `first` to the end; returns the number of steps done."""
        config, learner = self._config, self._learner
        per_step = config.batch_size * config.window
        profiler = _Profiler(os.path.join(self._directory, "logs"), first, config.profile_steps)
        pending, note = [], ""
        for step, ids in self._batches(first):
            if self._stale():  # after the last step, or when the checkpoint was written
                break
            if state is None or (step % self._epoch_steps == 0):
                state = learner.initial_state()
            number = tf.constant(step, tf.int64)
            result, state = learner.train(ids, state, number)
            pending.append(result)
            done = step + 1
            profiler.step(step)
            last = done == self._steps
            validate = last or done % (config.validate_every or self._epoch_steps) == 0
            if step == first:
                traced = learner.train.get_concrete_function(ids, state, number)
                self._log.graph(traced.graph)
            if validate or done % STEPS_PER_LOG == 0:
                loss = self._report(pending, done)
                progress(done * per_step, self._steps * per_step, f"loss {loss:.3f}{note}")
                pending = []
            if validate:
                validation_loss = self._validate(done)
                note = f", validation {validation_loss:.3f}"
                self._checkpoints.save(state, done, validation_loss)
        profiler.stop()
        return int(self._checkpoints.step)

    def _precisions(self):
        """Those to export the model in."""
        if not self._config.quantize:
            return ["float32"]
        return [one for one in SAVED_MODELS if one != "int8" or has_integer_products()]

    def _stale(self):
        """Whether so many validations have not been better that training stops."""
        patience = self._config.patience
        return bool(patience) and int(self._checkpoints.stale) >= patience

    def _batches(self, first: int) -> Iterator[tuple[int, tf.Tensor]]:
        """Step numbers from `first` on, each with the window of every stream."""
        config, step = self._config, first
        while step < self._steps:
            windows = self._train_split.training_windows(
                config.batch_size, config.window, step % self._epoch_steps, self._learner.rows
            )
            for ids in self._waiting.timed(self._learner.spread(windows)):
                if step == self._steps:
                    return
                yield step, ids
                step += 1

    def _report(self, results, done):
        """Logs the steps since the last report; returns their mean loss."""
        loss = sum(float(result.loss) for result in results) / len(results)
        norm = float(results[-1].gradient_norm)
        # A guess at random costs ln(vocabulary); far above that nothing is being learned.
        limit = 4 * math.log(self._vocabulary.size + 1) + 4
        if not math.isfinite(norm) or not loss < limit:
            raise InputError(
                f"the loss exploded to {loss:.3g} nats (gradient norm {norm:.3g}) at step {done}; "
                "try a lower --learning_rate, or --clip_norm 1"
            )
        values = {
            LOSS: loss,
            "rate/learning_rate": float(self._learner.learning_rate()),
            "norm/gradient": norm,
            **_by_layer(results[-1].layer_gradient_norms),
            "norm/weights": float(self._learner.weight_norm()),
            "speed/share_waiting_for_input": self._waiting.share(),
        }
        self._log.step(done, done * self._config.batch_size * self._config.window, values)
        return loss

    def _validate(self, done):
        loss = self._learner.validate(self._validation)
        self._log.validation(done, loss, self._sample())
        return loss

    def _sample(self):
        """A text the model writes from nothing."""
        text = self._sample_graph(tf.constant([self._config.sample_length]))
        return text.numpy()[0].decode("utf-8", "replace")

    @tf.function(autograph=False)
    def _sample_graph(self, length):
        choice = sampling.Choice(
            tf.constant([0.8]), tf.constant([0]), tf.constant([1.0]), tf.constant([0], tf.int64)
        )
        prompt = tf.zeros([1, 0], tf.int32)
        return self._vocabulary.decode(
            sampling.generate(self._learner.model, prompt, length, choice).ids
        )


def _by_layer(norms):
    """The norms of the layers' gradients by tag; none where all weights are shared."""
    if not tf.reduce_any(norms > 0):
        return {}
    return {f"{LAYER_GRADIENT}{n}": float(norm) for n, norm in enumerate(norms.numpy(), 1)}


class _Waiting:
    """How much of the time since it was last asked went by in waiting for input."""

    def __init__(self):
        self._since, self._waited = time.monotonic(), 0.0

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, with the time that each takes to come counted as waiting."""
        iterator = iter(items)
        while True:
            asked = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._waited += time.monotonic() - asked
            yield item

    def share(self) -> float:
        """From 0 to 1."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._since, self._waited = now, 0.0
        return share


class _Profiler:
    """Profiles a few steps for TensorBoard, after the first ones, which compile."""

    def __init__(self, directory, first, steps):
        self._directory = directory
        self._begin = first + 5
        self._end = self._begin + steps
        self._running = False

    def step(self, step):
        if self._begin <= step < self._end and not self._running:
            tf.profiler.experimental.start(self._directory)
            self._running = True
        elif step >= self._end:
            self.stop()

    def stop(self):
        if self._running:
            with contextlib.suppress(tf.errors.UnavailableError):
                tf.profiler.experimental.stop()
            self._running = False
