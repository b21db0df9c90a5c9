"""Fitting: a net learns a task by Keras's `fit`.

history.csv      a row per test: examples seen, loss, shares right, seconds of training
logs/            for TensorBoard
"""

import csv
import dataclasses
import os
import time

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from common import code_version, files
from common.progress import progress_bar
from experiments import nets
from experiments.experiment import Measured, Tables
from experiments.nets import Net
from experiments.task import UNCOUNTED, Task
from model.config import require_range
from pipeline.data.windows import untuned
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "Fitting"
HISTORY = "history.csv"
LEARNED = 0.99
"""Share of held-out examples, right in every label, at which a task is learned."""
STEPS_PER_CALL = 20
"""Steps that Keras takes before it looks up from TensorFlow."""
WORTH_COMPILING = 1000
"""Steps that save more time compiled by XLA than it takes to compile them."""


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How a net is fitted.

    Attributes:
      examples: seen in all, unless a fit ends earlier.
      test_every: examples between two tests.
      batch_size: examples of a step.
      learning_rate: of Adam, constant but for the cooldown.
      clip_norm: largest global norm of the gradient; 0 for no limit.
      cooldown: share of the examples, the last ones, over which the learning rate falls to 0.
      seed: of the initial weights and the examples.
      until_learned: whether a fit ends at the first test with 99% of the examples right. Where the
        examples are finite that test would choose the weights that it judges.
    """

    examples: int
    test_every: int
    batch_size: int = 32
    learning_rate: float = 0.001
    clip_norm: float = 1.0
    cooldown: float = 0.0
    seed: int = 0
    until_learned: bool = True

    def __post_init__(self):
        require_range("batch_size", self.batch_size, 1, 1 << 20)
        require_range("test_every", self.test_every, self.batch_size, self.examples + 1)
        require_range("cooldown", self.cooldown, 0, 1)

    @property
    def steps_per_test(self) -> int:
        """Steps between two tests, a multiple of `STEPS_PER_CALL` where there are that many."""
        steps = self.test_every // self.batch_size
        return steps - steps % STEPS_PER_CALL if steps > STEPS_PER_CALL else steps

    @property
    def tests(self) -> int:
        """Tests at most."""
        return self.examples // (self.steps_per_test * self.batch_size)

    @property
    def steps(self) -> int:
        """Steps at most."""
        return self.tests * self.steps_per_test


@dataclasses.dataclass(frozen=True)
class FittingProperties(Properties):
    """The properties of a fit: its last test, and the size of the net.

    Attributes:
      examples: Number of examples seen.
      seconds: Seconds of training.
      training_loss: Loss on the examples since the test before.
      loss: Loss on the held-out examples.
      exact: Share of the held-out examples that are right in every label.
      labels: Share of their labels that are right.
      parameters: Number of trainable parameters of the net.
    """

    examples: float
    seconds: float
    training_loss: float
    loss: float
    exact: float
    labels: float
    parameters: int


def run(store: Store, task: Task, net: Net, config: FitConfig) -> Artifact:
    """Fits a net to a task; a fit that was interrupted goes on after its last test."""

    def write(directory: str) -> Outcome:
        return _fit(directory, task, net, config)

    parameters = {
        "task": {
            "name": type(task).__name__,
            "code": code_version.source_digest(type(task).__module__),
            **dataclasses.asdict(task),
        },
        "net": dataclasses.asdict(net),
        "fit": dataclasses.asdict(config),
    }
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    return store.produce(key, write, resumable=True)


def measure(store: Store, task: Task, net: Net, config: FitConfig) -> Measured:
    """Fits a net; the table `tests` has a row per test, `nets` one of what came of it."""
    artifact = run(store, task, net, config)
    properties = FittingProperties.read(artifact)
    rows = history(artifact)
    # The manifest has the time of the last attempt, the history that of all training.
    seconds = max(artifact.manifest.seconds, rows[-1]["seconds"])
    return Measured({"tests": rows, "nets": [dataclasses.asdict(properties)]}, seconds)


def has_failed(measured: Tables) -> bool:
    """Whether a fit ended with fewer than 99% of the held-out examples right."""
    return measured["nets"][-1]["exact"] < LEARNED


def history(artifact: Artifact) -> list[dict[str, float]]:
    """The tests of a fit, in order."""
    return _read_history(artifact.file(HISTORY))


def _read_history(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    # A test whose weights were lost with a kill was made once more.
    return list({row["examples"]: row for row in rows}.values())


def compiled_model(task: Task, net: Net, config: FitConfig) -> keras.Model:
    """A net, initialised with the seed, and how it is trained: the start of every fit."""
    keras.utils.set_random_seed(config.seed)
    compiled = config.steps >= WORTH_COMPILING
    model = nets.build(net, task, config.batch_size, compiled)
    model.compile(
        optimizer=keras.optimizers.Adam(
            _learning_rate(config), global_clipnorm=config.clip_norm or None
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=UNCOUNTED),
        metrics=[ExamplesRight(), LabelsRight()],
        steps_per_execution=1 if config.steps_per_test % STEPS_PER_CALL else STEPS_PER_CALL,
        # Left to itself, Keras compiles nothing for a CPU.
        jit_compile=compiled and all(layer.supports_jit for layer in model.layers),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _fit(directory, task, net, config):
    model = compiled_model(task, net, config)
    steps = config.steps_per_test
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    folder = os.path.join(directory, "checkpoints")
    checkpoints = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)
    checkpoint.restore(checkpoints.latest_checkpoint)
    logs = os.path.join(directory, "logs")
    with progress_bar(f"{net.architecture} {net.layers}x{net.units}", "examples") as progress:
        tests = _Tests(os.path.join(directory, HISTORY), config, checkpoints, progress)
        if not tests.enough:
            held_out = task.held_out()
            model.fit(
                _batches(task, config, int(model.optimizer.iterations)),
                initial_epoch=int(model.optimizer.iterations) // steps,
                epochs=config.tests,
                steps_per_epoch=steps,
                validation_data=tuple(held_out),
                validation_batch_size=len(held_out.labels),
                callbacks=[
                    tests,
                    keras.callbacks.TensorBoard(logs, write_graph=False),
                    hparams.KerasCallback(logs, _hyperparameters(task, net, config)),
                ],
                shuffle=False,
                verbose=0,
            )
    files.rmtree(folder)
    last = tests.rows[-1]
    properties = FittingProperties(**last, parameters=model.count_params())
    return Outcome(properties, f"{last['exact']:.1%} right after {last['examples']:,.0f} examples")


def _hyperparameters(task, net, config):
    """What TensorBoard's HParams view tells fits apart by."""
    parts = (dataclasses.asdict(part) for part in (task, net, config))
    return {"task": type(task).__name__, **{k: v for part in parts for k, v in part.items()}}


def _learning_rate(config):
    if not config.cooldown:
        return config.learning_rate
    return Cooldown(config.learning_rate, config.steps, round(config.cooldown * config.steps))


@keras.saving.register_keras_serializable(package="grid_lstm")
class Cooldown(keras.optimizers.schedules.LearningRateSchedule):
    """A constant learning rate that falls linearly to 0 at the end.

    Args:
      rate: until then.
      steps: in all.
      cooldown: steps over which it falls.
    """

    def __init__(self, rate: float, steps: int, cooldown: int):
        self._config = {"rate": rate, "steps": steps, "cooldown": cooldown}

    def __call__(self, step):
        left = self._config["steps"] - tf.cast(step, tf.float32)
        return self._config["rate"] * tf.clip_by_value(left / self._config["cooldown"], 0.0, 1.0)

    def get_config(self) -> dict:
        return self._config


def _batches(task, config, first):
    """The batches of all steps from the given one on."""

    def draw(number):
        seed = tf.stack([config.seed, tf.cast(number, tf.int32)])
        return tuple(task.draw(seed, config.batch_size))

    return untuned(tf.data.Dataset.counter(first).map(draw).prefetch(2))


class LabelsRight(keras.metrics.Mean):
    """Share of the labels asked for that are the likeliest class."""

    def __init__(self, name: str = "labels", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, labels, logits, sample_weight=None):
        """Counts labels `[batch, ...]` and logits `[batch, ..., classes]`."""
        super().update_state(_right(labels, logits), labels != UNCOUNTED)


class ExamplesRight(keras.metrics.Mean):
    """Share of the examples that are right in every label asked for."""

    def __init__(self, name: str = "exact", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, labels, logits, sample_weight=None):
        """Counts labels `[batch, ...]` and logits `[batch, ..., classes]`."""
        right = _right(labels, logits) | (labels == UNCOUNTED)
        super().update_state(tf.reduce_all(right, axis=range(1, labels.shape.rank)))


def _right(labels, logits):
    return tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels


class _Tests(keras.callbacks.Callback):
    """Writes a row for each test, saves the weights after it, and ends a fit that has learned.

    Attributes:
      rows: all tests, those of earlier attempts among them.
    """

    def __init__(self, path, config, checkpoints, progress):
        super().__init__()
        self._path = path
        self._config = config
        self._checkpoints = checkpoints
        self._progress = progress
        self.rows = _read_history(path)
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0

    @property
    def enough(self):
        """Whether the last test was good enough, or there are no examples left."""
        if not self.rows:
            return False
        last = self.rows[-1]
        done = self._config.steps * self._config.batch_size
        learned = self._config.until_learned and last["exact"] >= LEARNED
        return learned or last["examples"] >= done

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()

    def on_test_begin(self, logs=None):
        self._seconds += time.monotonic() - self._began

    def on_epoch_end(self, epoch, logs=None):
        row = {
            "examples": (epoch + 1) * self._config.steps_per_test * self._config.batch_size,
            "seconds": round(self._seconds, 3),
            "training_loss": logs["loss"],
            "loss": logs["val_loss"],
            "exact": logs["val_exact"],
            "labels": logs["val_labels"],
        }
        self.rows.append(row)
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        self._checkpoints.save()
        note = f"loss {row['loss']:.3f}, {row['exact']:.1%} right"
        self._progress(row["examples"], self._config.examples, note)
        if self.enough:
            self.model.stop_training = True
