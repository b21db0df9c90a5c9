"""Training of autoencoders of sentences, and what tells whether their latent vectors are used.

history.csv    a row per pass
logs/          the same for TensorBoard
checkpoints/   the weights after the last pass, from which a training that was killed resumes
"""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import keras
import numpy as np
import tensorflow as tf

from experiments.framework.experiment import Row
from experiments.framework.passes import run_passes
from experiments.sentences import sentence_text
from experiments.sentences.sentence_text import Sentences
from model.config import require_integer, require_range
from model.errors import InputError
from model.sentences import diagnostics, objective
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import PADDING

LOGS = "logs"
KEEP_RATES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the words that a decoder is told; with the last one it is "inputless"."""

SCALARS = {
    "loss": "loss/nats",
    "divergence": "latent/kl",
    "information": "latent/mutual_information",
    "active_units": "latent/active_units",
    "weight": "latent/weight_of_kl",
}
"""Tags of TensorBoard, by the columns of the history."""


@dataclasses.dataclass(frozen=True)
class SentenceTrainConfig:
    """Configuration of a training by Adam, whose learning rate falls to 0 by half a cosine.

    Attributes:
      epochs: Number of passes over the training part.
      batch_size: Number of sentences of a step. Default 32.
      learning_rate: Initial learning rate. Default 0.003.
      clip_norm: Largest global norm of the gradient. Default 1.
      keep_rate: Share of the words that the decoder is told in training. Default 1. With 0 it is
        told none in validation and test either.
      annealing: Share of the steps over which the weight of the divergence rises to 1; 0 for a
        weight of 1 from the beginning. Default 0.5.
      free_bits: Nats of divergence of each component of the latent vector that cost nothing in
        training. Default 0.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.003
    clip_norm: float = 1.0
    keep_rate: float = 1.0
    annealing: float = 0.5
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            require_integer(name, getattr(self, name), 1)
        for name in ("keep_rate", "annealing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")
        require_range("free_bits", self.free_bits, 0, math.inf)
        for name in ("learning_rate", "clip_norm"):
            require_range(name, getattr(self, name), 1e-9, math.inf)

    @property
    def is_inputless(self) -> bool:
        """Whether the decoder is told no word at all."""
        return self.keep_rate == 0


class Validation(NamedTuple):
    """The measurements of some sentences, with one latent vector of each.

    Attributes:
      loss: Mean of -ln p(x|z) + KL, in nats per sentence, which bounds -ln p(x) from above.
      latent: What the latent vectors say; zeros for a language model, which has none.
    """

    loss: float
    latent: diagnostics.Diagnostics


def train(
    directory: str,
    net: SentenceModel,
    text: Sentences,
    config: SentenceTrainConfig,
    seed: int,
) -> list[Row]:
    """Trains a net; a training that was killed resumes after its last pass.

    Where the posterior has collapsed to the prior although the divergence has its full weight, a
    line says so, once.

    Args:
      directory: Directory of the history, of the logs and of the checkpoints.
      net: The net, with its initial weights.
      text: The sentences.
      config: Configuration of the training.
      seed: Seed of the order of the sentences, the latent vectors and the dropout.

    Returns:
      A row per pass: its number, the seconds of training so far, the weight of the divergence at
      its end, the losses of the training and of the validation part in nats per sentence, and the
      diagnostics of the validation part.
    """
    steps = sum(1 for _ in sentence_text.batches(text.train, config.batch_size))
    total = steps * config.epochs
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, total)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm)
    optimizer.build(net.trainable_variables)
    step = training_step(net, optimizer, config)
    measure = measuring_function(net, config.is_inputless)
    weight_of = functools.partial(objective.annealing_weight, steps=round(config.annealing * total))
    writer = tf.summary.create_file_writer(os.path.join(directory, LOGS, "validation"))

    def one_pass(rows: list[Row]) -> Row:
        epoch = len(rows)
        started = time.monotonic()
        nats = _one_pass(step, text, config, weight_of, [seed, epoch], epoch * steps)
        seconds = time.monotonic() - started
        found = validate(measure, text.validation, config.batch_size, seed)
        row = {
            "seconds": seconds,
            "weight": float(weight_of((epoch + 1) * steps)),
            "training_loss": nats,
            "loss": found.loss,
            **found.latent._asdict(),
        }
        if net.encoder is not None:
            _warn_of_collapse(rows, row, found.latent)
        _write_scalars(writer, epoch + 1, row)
        return row

    return run_passes(
        directory,
        net.name,
        tf.train.Checkpoint(net=net, optimizer=optimizer),
        config.epochs,
        one_pass,
        lambda row: f"{row['loss']:.2f} nats, KL {row['divergence']:.2f}",
    )


def _warn_of_collapse(rows: list[Row], row: Row, latent: diagnostics.Diagnostics) -> None:
    """Says in a line that a posterior has collapsed, where no pass before has found the same."""
    is_told = any(one["weight"] >= 1 and one["information"] < diagnostics.COLLAPSED for one in rows)
    if row["weight"] >= 1 and latent.has_collapsed and not is_told:
        click.echo(
            f"warning: the posterior has collapsed after pass {len(rows) + 1}: the latent vector "
            f"has {latent.information:.2f} nats of information on a sentence (KL "
            f"{latent.divergence:.2f}, {latent.active_units} active units); anneal for longer, "
            "lower the keep rate, or give free bits",
            err=True,
        )


def _write_scalars(writer: Any, epoch: int, row: Row) -> None:
    with writer.as_default(step=epoch):
        for column, tag in SCALARS.items():
            tf.summary.scalar(tag, row[column])
    writer.flush()


def _one_pass(
    step: Callable,
    text: Sentences,
    config: SentenceTrainConfig,
    weight_of: Callable,
    seed: list[int],
    done: int,
) -> float:
    """Trains on all sentences once, and returns the mean bound of -ln p(x) as they were met."""
    nats, count = tf.constant(0.0), 0
    random = np.random.default_rng(seed)
    for places in sentence_text.batches(text.train, config.batch_size, random):
        ids = tf.constant(sentence_text.trimmed(text.train, places))
        own = tf.constant(random.integers(1 << 31, size=2), tf.int32)
        nats += step(ids, own, weight_of(done + count))
        count += 1
    return float(nats) / (count * config.batch_size)


def training_step(
    net: SentenceModel, optimizer: keras.optimizers.Optimizer, config: SentenceTrainConfig
) -> Callable:
    """Returns the function of sentences, a seed and the weight of the divergence that takes a step.

    It minimises -ln p(x|z) + weight * KL, per word, and returns the sum of -ln p(x|z) + KL.
    """
    has_dropout = net.config.decoder.dropout > 0

    @tf.function(autograph=False)
    def step(ids: tf.Tensor, seed: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        of_words, of_noise, of_encoder, of_decoder = (
            tf.random.experimental.stateless_fold_in(seed, at) for at in range(4)
        )
        seen = objective.seen_tokens(ids, config.keep_rate, of_words)
        words = tf.math.count_nonzero(ids != PADDING, dtype=tf.float32)
        with tf.GradientTape() as tape:
            latent, divergence, counted = None, tf.zeros([]), tf.zeros([])
            if net.encoder is not None:
                posterior = net.encode(ids, training=True, seed=of_encoder if has_dropout else None)
                noise = tf.random.stateless_normal(posterior.mean.shape, of_noise, alg="philox")
                latent = posterior.sample(noise)
                of_components = objective.kl_divergence(posterior)
                divergence = tf.reduce_sum(of_components)
                counted = objective.with_free_bits(of_components, config.free_bits)
            losses = objective.reconstruction_losses(
                net, ids, latent, seen, training=True, seed=of_decoder if has_dropout else None
            )
            nats = tf.reduce_sum(losses)
            loss = (nats + weight * counted * ids.shape[0]) / words
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return nats + divergence

    return step


def measuring_function(net: SentenceModel, is_inputless: bool) -> Callable:
    """Returns the function of sentences and a seed that measures them with one vector z of each.

    It returns -ln p(x|z), `[batch]`, and of a net with an encoder mu and log sigma^2.
    """

    @tf.function(autograph=False)
    def measure(ids: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        seen = tf.zeros(ids.shape, tf.bool) if is_inputless else None
        if net.encoder is None:
            return (objective.reconstruction_losses(net, ids, None, seen),)
        posterior = net.encode(ids)
        noise = tf.random.stateless_normal(posterior.mean.shape, seed, alg="philox")
        losses = objective.reconstruction_losses(net, ids, posterior.sample(noise), seen)
        return losses, *posterior

    return measure


def validate(measure: Callable, ids: np.ndarray, batch_size: int, seed: int) -> Validation:
    """Measures some sentences.

    Args:
      measure: Function of `measuring_function`.
      ids: The sentences, `[sentences, longest]`.
      batch_size: Number of sentences of a batch.
      seed: Seed of the latent vectors.
    """
    losses, *posterior = by_batches(measure, ids, batch_size, seed)
    latent = diagnostics.Diagnostics(0.0, 0.0, 0)
    if posterior:
        noise = np.random.default_rng(seed).normal(size=posterior[0].shape)
        means, log_variances = posterior
        latent = diagnostics.diagnose(means, log_variances, noise)
    return Validation(float(np.mean(losses)) + latent.divergence, latent)


def by_batches(function: Callable, ids: np.ndarray, batch_size: int, seed: int) -> list[np.ndarray]:
    """Returns what a function of a batch and a seed returns for each sentence, in their order.

    Args:
      function: Function of ids, `[batch, width]`, and a seed, `[2]`, that returns tensors of a row
        per sentence.
      ids: The sentences, `[sentences, longest]`.
      batch_size: Number of sentences of a batch.
      seed: Seed of all.
    """
    found: list[np.ndarray] = []
    for number, places in enumerate(sentence_text.batches(ids, batch_size)):
        outputs = function(
            tf.constant(sentence_text.trimmed(ids, places)), tf.constant([seed, number], tf.int32)
        )
        if not found:
            found = [
                np.zeros([len(ids), *one.shape[1:]], one.dtype.as_numpy_dtype) for one in outputs
            ]
        for one, array in zip(outputs, found, strict=True):
            array[places] = one.numpy()
    return found
