"""One trial of the search space odyssey: a recurrent net with settings drawn at random.

Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber, "LSTM: A Search Space Odyssey"
(arXiv 1503.04069), section 4.
"""

import dataclasses
import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.experiment import Measurement
from experiments.odyssey import sequence_data
from experiments.odyssey.sequence_data import SequenceData, Sequences, SequenceSource
from experiments.tasks.random_search import log_uniform
from model.layers import GridLSTM, StackedLSTM
from pipeline.store.artifacts import Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "OdysseyTrial"
GRID = "grid"
"""The name of the variant that is a Grid LSTM of two layers."""


class Budget(NamedTuple):
    """How long a trial trains.

    Attributes:
      epochs: Largest number of epochs.
      patience: Number of epochs without a lower validation loss after which it ends.
      batch_size: Number of sequences of a step. Default 16.
    """

    epochs: int
    patience: int
    batch_size: int = 16


class Settings(NamedTuple):
    """The settings of a trial, drawn as in the paper, section 4.3.

    Attributes:
      units: Width of the layer, log-uniform from 20 to 200.
      learning_rate: Learning rate of SGD with Nesterov's momentum, log-uniform from 1e-6 to 1e-2.
      momentum: Momentum; 1 - momentum is log-uniform from 0.01 to 1.
      input_noise: Standard deviation of the Gaussian noise on the inputs, uniform from 0 to 1.
    """

    units: int
    learning_rate: float
    momentum: float
    input_noise: float


@dataclasses.dataclass(frozen=True)
class TrialProperties(Properties):
    """The outcome of a trial.

    Attributes:
      loss: Test loss of the epoch with the lowest validation loss, in nats per step.
      valid_loss: That validation loss.
      epochs: Number of epochs trained.
      parameters: Number of trainable parameters.
    """

    loss: float
    valid_loss: float
    epochs: int
    parameters: int


def draw(seed: int, trial: int) -> Settings:
    """Returns the settings of a trial, the same for all variants.

    Args:
      seed: Seed of the search.
      trial: Number of the trial, from 0.
    """
    random = np.random.default_rng([seed, trial])
    return Settings(
        units=round(log_uniform(random, 20, 200)),
        learning_rate=float(f"{log_uniform(random, 1e-6, 1e-2):.3g}"),
        momentum=round(1 - log_uniform(random, 0.01, 1), 4),
        input_noise=round(float(random.uniform(0, 1)), 3),
    )


def measure(
    store: Store,
    variant: str,
    settings: Settings,
    budget: Budget,
    seed: int,
    source: SequenceSource,
) -> Measurement:
    """Trains a net, or finds the artifact of the same trial, and returns its outcome.

    Args:
      store: Store of the artifact, held by this process.
      variant: Name of a cell, or `GRID`.
      settings: Settings of the trial.
      budget: How long it trains.
      seed: Seed of the initial weights, of the order of the sequences and of the noise.
      source: The sequences.

    Returns:
      The table `trials` with one row.
    """
    parameters = {
        "variant": variant,
        "settings": settings._asdict(),
        "budget": budget._asdict(),
        "seed": seed,
        "source": source.description(store),
    }

    def write(_: str) -> Outcome:
        properties = train(source.load(store), variant, settings, budget, seed)
        return Outcome(properties, f"{properties.loss:.4f} nats per step")

    # Other processes write trials at the same time, which a stage that resumes leaves alone.
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    artifact = store.produce(key, write, resumable=True)
    properties = TrialProperties.read(artifact)
    row = {**settings._asdict(), **dataclasses.asdict(properties)}
    return Measurement({"trials": [row]}, artifact.manifest.seconds)


def train(
    data: SequenceData, variant: str, settings: Settings, budget: Budget, seed: int
) -> TrialProperties:
    """Trains a net with early stopping, and measures it at its best epoch.

    Args:
      data: The sequences.
      variant: Name of a cell, or `GRID`.
      settings: Settings of the trial.
      budget: How long it trains.
      seed: Seed of the trial.
    """
    keras.utils.set_random_seed(seed)
    model = build(data, variant, settings)
    inputs, targets, weights = _arrays(data.train)
    history = model.fit(
        inputs,
        targets,
        sample_weight=weights,
        validation_data=_arrays(data.valid),
        batch_size=budget.batch_size,
        epochs=budget.epochs,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=budget.patience, restore_best_weights=True),
            keras.callbacks.TerminateOnNaN(),
        ],
        verbose=0,
    )
    valid_loss, loss = (_nats(model, data, part) for part in (data.valid, data.test))
    return TrialProperties(
        loss=loss,
        valid_loss=valid_loss,
        epochs=len(history.epoch),
        parameters=model.count_params(),
    )


def build(data: SequenceData, variant: str, settings: Settings) -> keras.Model:
    """Returns a net with its initial weights, compiled for training.

    A projection of the noisy inputs, one layer of the variant (of a grid two, of half the units and
    as many weights), in both directions where a target may be told from what follows, and a
    projection of its outputs.

    Args:
      data: The sequences, whose shapes the net takes.
      variant: Name of a cell, or `GRID`.
      settings: Settings of the trial.
    """
    features = data.train.inputs.shape[-1]
    units = settings.units
    if variant == GRID:
        # Two layers of two dimensions and half the units have as many weights as one layer. The
        # projection of the inputs is the net's: its halves enter as hidden and memory vector.
        units = 2 * (units // 2)
        layer = GridLSTM(units // 2, 2, project_inputs=False, return_sequences=True)
    else:
        layer = StackedLSTM(units, cell=variant, return_sequences=True)
    if data.reads_ahead:
        layer = keras.layers.Bidirectional(layer)
    model = keras.Sequential(
        [
            keras.Input((sequence_data.STEPS, features)),
            keras.layers.GaussianNoise(settings.input_noise),
            keras.layers.Dense(units),
            layer,
            keras.layers.Dense(data.outputs),
        ]
    )
    model.compile(
        keras.optimizers.SGD(settings.learning_rate, settings.momentum, nesterov=True),
        loss=notes_loss if data.are_notes else classes_loss,
    )
    return model


def notes_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Computes -ln p of the notes of each step, all of which are independent given the past.

    Args:
      targets: Whether each note sounds, `[batch, steps, notes]`, 0 or 1.
      logits: Logits of their probabilities, of the same shape.

    Returns:
      The losses, `[batch, steps]`, in nats.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, logits.dtype), logits)
    return tf.reduce_sum(losses, axis=-1)


def classes_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Computes -ln p of the class of each step.

    Args:
      targets: Classes, `[batch, steps]`.
      logits: Logits, `[batch, steps, classes]`.

    Returns:
      The losses, `[batch, steps]`, in nats.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(targets, tf.int32), logits)


def _arrays(part: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns inputs, targets and weights as Keras takes them.

    Keras takes the mean over steps; with these weights it is the sum over the steps of a sequence,
    as the learning rates of the paper would hardly move a net by the mean.
    """
    weights = sequence_data.STEPS * part.counted.astype(np.float32)
    return part.inputs.astype(np.float32), part.targets, weights


def _nats(model: keras.Model, data: SequenceData, part: Sequences) -> float:
    """Returns the mean loss of the steps that count; that of a guess if the net does worse.

    So a net that diverged counts as one that knows nothing.
    """
    inputs, targets, weights = _arrays(part)
    logits = tf.constant(model.predict(inputs, batch_size=256, verbose=0))
    losses = (notes_loss if data.are_notes else classes_loss)(targets, logits).numpy()
    mean = float(np.sum(losses * weights) / np.sum(weights))
    guess = data.outputs * math.log(2) if data.are_notes else math.log(data.outputs)
    return min(mean, guess) if math.isfinite(mean) else guess
