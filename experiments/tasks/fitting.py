"""Fitting: trains a net on a task by Keras's `fit`.

history.csv      a row per test: training examples, loss, shares correct, seconds of training
logs/            for TensorBoard
net.weights.h5   the weights at the end, where they are kept
"""

import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable
from typing import Any, Literal

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from common import code_version, files
from common.progress import progress_bar
from experiments.framework.experiment import Measurement, Tables
from experiments.tasks import nets
from experiments.tasks.metrics import ExampleAccuracy, LabelAccuracy
from experiments.tasks.nets import Net
from experiments.tasks.task import UNCOUNTED, Task
from model.config import require_one_of, require_range
from pipeline.data.windows import without_autotune
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "Fitting"
HISTORY = "history.csv"
WEIGHTS = "net.weights.h5"
LEARNED = 0.99
"""Share of held-out examples, correct in every label, at which a task counts as learned."""
STEPS_PER_CALL = 20
"""Steps per call of TensorFlow by Keras."""
WORTH_COMPILING = 1000
"""Number of steps from which on compilation by XLA saves time."""


Optimizer = Literal["adam", "sgd"]


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Configuration of a fit.

    Attributes:
      examples: Number of training examples, unless the fit ends earlier.
      test_every: Number of training examples between two tests.
      batch_size: Number of examples of a step. Default 32.
      learning_rate: Initial learning rate, constant until the cooldown. Default 0.001.
      clip_norm: Largest global norm of the gradient; 0 for no limit. Default 1.
      cooldown: Share of the examples at the end over which the learning rate falls to 0. Default 0.
      seed: Seed of the initial weights and of the examples. Default 0.
      until_learned: Whether the fit ends at the first test with 99% of the examples correct.
        Default True. With a finite data set such a test would select the weights that it measures.
      optimizer: "adam" (the default) or "sgd".
      momentum: Momentum of SGD. Default 0.
      decay: Factor to which the learning rate falls exponentially over the fit; in place of a
        cooldown. Default 1, for none.
      keep_weights: Whether the artifact has the weights at the end. Default False.
    """

    examples: int
    test_every: int
    batch_size: int = 32
    learning_rate: float = 0.001
    clip_norm: float = 1.0
    cooldown: float = 0.0
    seed: int = 0
    until_learned: bool = True
    optimizer: Optimizer = "adam"
    momentum: float = 0.0
    decay: float = 1.0
    keep_weights: bool = False

    def __post_init__(self) -> None:
        require_one_of("optimizer", self.optimizer, Optimizer)
        require_range("momentum", self.momentum, 0, 1)
        require_range("batch_size", self.batch_size, 1, 1 << 20)
        require_range("test_every", self.test_every, self.batch_size, self.examples + 1)
        require_range("cooldown", self.cooldown, 0, 1)

    @property
    def steps_per_test(self) -> int:
        """Number of steps between two tests, a multiple of `STEPS_PER_CALL` if larger than that."""
        steps = self.test_every // self.batch_size
        return steps - steps % STEPS_PER_CALL if steps > STEPS_PER_CALL else steps

    @property
    def tests(self) -> int:
        """Largest number of tests."""
        return self.examples // (self.steps_per_test * self.batch_size)

    @property
    def steps(self) -> int:
        """Largest number of steps."""
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
    """Fits a net to a task; an interrupted fit resumes after its last test.

    Args:
      store: Store of the artifact, held by this process.
      task: Task to learn.
      net: Net to train.
      config: Configuration of the fit.

    Returns:
      The artifact with the history of the fit.
    """

    def write(directory: str) -> Outcome:
        return _fit(directory, task, net, config)

    parameters = {
        "task": {
            "name": type(task).__name__,
            "code": code_version.source_digest(type(task).__module__),
            **_parameters(task),
        },
        "net": dataclasses.asdict(net),
        "fit": dataclasses.asdict(config),
    }
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    return store.produce(key, write, resumable=True)


def measure(store: Store, task: Task, net: Net, config: FitConfig) -> Measurement:
    """Fits a net as `run` does, and returns its measurements; see `measurement`."""
    return measurement(run(store, task, net, config))


def measurement(artifact: Artifact) -> Measurement:
    """Returns the measurements of a fit.

    The table `tests` has a row per test, and the table `nets` a row for the outcome.

    Args:
      artifact: Artifact of the fit.
    """
    properties = FittingProperties.read(artifact)
    rows = history(artifact)
    # The manifest has the time of the last attempt, the history that of all training.
    seconds = max(artifact.manifest.seconds, rows[-1]["seconds"])
    return Measurement({"tests": rows, "nets": [dataclasses.asdict(properties)]}, seconds)


def has_failed(measured: Tables) -> bool:
    """Returns whether a fit ended with fewer than 99% of the held-out examples correct."""
    return measured["nets"][-1]["exact"] < LEARNED


def trained_model(artifact: Artifact, task: Task, net: Net, config: FitConfig) -> keras.Model:
    """Returns the net of a fit that kept its weights, from a task's inputs to logits.

    Args:
      artifact: Artifact of the fit.
      task: Task that was learned.
      net: Net that was trained.
      config: Configuration of the fit.
    """
    model = nets.build(net, task, config.batch_size, compiled=False)
    model.load_weights(artifact.file(WEIGHTS))
    return model


def history(artifact: Artifact) -> list[dict[str, float]]:
    """Returns the tests of a fit, in order, as rows of history.csv."""
    return _read_history(artifact.file(HISTORY))


def _read_history(path: str) -> list[dict[str, float]]:
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    # A test whose checkpoint was lost in a kill was repeated.
    return list({row["examples"]: row for row in rows}.values())


def compiled_model(task: Task, net: Net, config: FitConfig) -> keras.Model:
    """Returns a net with its initial weights, compiled for training.

    Args:
      task: Task to learn.
      net: Net to train.
      config: Configuration of the fit.
    """
    keras.utils.set_random_seed(config.seed)
    compiled = config.steps >= WORTH_COMPILING
    model = nets.build(net, task, config.batch_size, compiled)
    model.compile(
        optimizer=_optimizer(config),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=UNCOUNTED),
        metrics=[ExampleAccuracy(), LabelAccuracy()],
        steps_per_execution=1 if config.steps_per_test % STEPS_PER_CALL else STEPS_PER_CALL,
        # By default, Keras compiles nothing for a CPU.
        jit_compile=compiled and all(layer.supports_jit for layer in model.layers),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _fit(directory: str, task: Task, net: Net, config: FitConfig) -> Outcome:
    model = compiled_model(task, net, config)
    steps = config.steps_per_test
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    folder = os.path.join(directory, "checkpoints")
    checkpoints = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)
    checkpoint.restore(checkpoints.latest_checkpoint)
    logs = os.path.join(directory, "logs")
    with progress_bar(f"{net.architecture} {net.layers}x{net.units}", "examples") as progress:
        tests = _Tests(os.path.join(directory, HISTORY), config, checkpoints, progress)
        if not tests.done:
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
    if config.keep_weights:
        model.save_weights(os.path.join(directory, WEIGHTS))
    last = tests.rows[-1]
    properties = FittingProperties(**last, parameters=model.count_params())
    return Outcome(
        properties, f"{last['exact']:.1%} correct after {last['examples']:,.0f} examples"
    )


def _hyperparameters(task: Task, net: Net, config: FitConfig) -> dict[str, Any]:
    """Returns the hyperparameters for TensorBoard's HParams view."""
    parts = (_parameters(task), dataclasses.asdict(net), dataclasses.asdict(config))
    return {"task": type(task).__name__, **{k: v for part in parts for k, v in part.items()}}


def _parameters(task: Task) -> dict[str, Any]:
    """Returns the fields of a task that decide its examples: those that are compared."""
    fields = dataclasses.fields(task)
    return {field.name: getattr(task, field.name) for field in fields if field.compare}


def _optimizer(config: FitConfig) -> keras.optimizers.Optimizer:
    clip_norm = config.clip_norm or None
    if config.optimizer == "adam":
        return keras.optimizers.Adam(_learning_rate(config), global_clipnorm=clip_norm)
    return keras.optimizers.SGD(_learning_rate(config), config.momentum, global_clipnorm=clip_norm)


def _learning_rate(config: FitConfig) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if config.decay != 1:
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, config.steps, config.decay
        )
    if not config.cooldown:
        return config.learning_rate
    return Cooldown(config.learning_rate, config.steps, round(config.cooldown * config.steps))


@keras.saving.register_keras_serializable(package="grid_lstm")
class Cooldown(keras.optimizers.schedules.LearningRateSchedule):
    """A constant learning rate that falls linearly to 0 at the end.

        lr(step) = rate * min(1, (steps - step) / cooldown)

    Args:
      rate: Learning rate before the cooldown.
      steps: Number of all steps.
      cooldown: Number of steps over which the learning rate falls.
    """

    def __init__(self, rate: float, steps: int, cooldown: int):
        self._config = {"rate": rate, "steps": steps, "cooldown": cooldown}

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        left = self._config["steps"] - tf.cast(step, tf.float32)
        return self._config["rate"] * tf.clip_by_value(left / self._config["cooldown"], 0.0, 1.0)

    def get_config(self) -> dict:
        return self._config


def _batches(task: Task, config: FitConfig, first: int) -> tf.data.Dataset:
    """Returns the batches of all steps from a first one on."""

    def draw(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([config.seed, tf.cast(number, tf.int32)])
        return tuple(task.draw(seed, config.batch_size))

    return without_autotune(tf.data.Dataset.counter(first).map(draw).prefetch(2))


class _Tests(keras.callbacks.Callback):
    """A callback that records each test, saves a checkpoint, and ends a fit that has learned.

    Attributes:
      rows: Rows of all tests, those of earlier attempts included.
    """

    def __init__(
        self,
        path: str,
        config: FitConfig,
        checkpoints: tf.train.CheckpointManager,
        progress: Callable[..., None],
    ):
        super().__init__()
        self._path = path
        self._config = config
        self._checkpoints = checkpoints
        self._progress = progress
        self.rows = _read_history(path)
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0

    @property
    def done(self) -> bool:
        """True if the task was learned at the last test, no examples are left, or it diverged."""
        if not self.rows:
            return False
        last = self.rows[-1]
        examples = self._config.steps * self._config.batch_size
        learned = self._config.until_learned and last["exact"] >= LEARNED
        diverged = not math.isfinite(last["training_loss"])
        return learned or diverged or last["examples"] >= examples

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch_start = time.monotonic()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._seconds += time.monotonic() - self._epoch_start

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None  # `fit` always has metrics to pass
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
        note = f"loss {row['loss']:.3f}, {row['exact']:.1%} correct"
        self._progress(row["examples"], self._config.examples, note)
        if self.done:
            self.model.stop_training = True
