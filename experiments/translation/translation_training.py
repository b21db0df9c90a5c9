"""Training of nets that translate, their perplexity, and their translations."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.epoch_history import perplexity_of
from experiments.framework.experiment import Row
from experiments.framework.passes import run_passes
from experiments.translation.translation_data import (
    EncodedPairs,
    groups_by_length,
    training_batches,
)
from model.layers.seeded import seeds_of
from model.translation.beam_search import Translations
from model.translation.losses import targets_before, word_losses

IDS = tf.TensorSpec([None, None], tf.int32)
EVALUATED = 100
"""Number of sentences that are evaluated, or translated, at once."""


class TrainConfig(NamedTuple):
    """Configuration of a training.

    Attributes:
      epochs: Number of passes over the pairs.
      batch_size: Largest number of pairs of a step. Default 128.
      learning_rate: Initial learning rate of Adam, which falls to 0 by half a cosine. Default
        0.003.
      clip_norm: Largest global norm of a gradient. Default 1.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.003
    clip_norm: float = 1.0


def train(
    directory: str,
    net: Any,
    train_pairs: EncodedPairs,
    dev_pairs: EncodedPairs,
    config: TrainConfig,
    seed: int,
) -> list[Row]:
    """Trains a net; a training that was killed resumes after its last pass.

    Args:
      directory: Directory of the history and of the checkpoints.
      net: The net, with its initial weights.
      train_pairs: Pairs to train on.
      dev_pairs: Pairs whose perplexity is measured after each pass.
      config: Configuration of the training.
      seed: Seed of the order of the pairs.

    Returns:
      A row per pass: its number, the seconds of training so far, and both perplexities.
    """
    steps = sum(1 for _ in training_batches(train_pairs, config.batch_size, [seed, 0]))
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.epochs * steps)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm)
    optimizer.build(net.trainable_variables)
    # Checkpoints leave out the states of Keras's seeds, from which the masks of dropout are drawn.
    seeds = [seed.value for seed in seeds_of(net)]
    step = training_step(net, optimizer)
    measure = loss_function(net)

    def one_pass(rows: list[Row]) -> Row:
        started = time.monotonic()
        nats = words = 0.0
        for batch in training_batches(train_pairs, config.batch_size, [seed, len(rows)]):
            loss, count = step(*batch)
            nats, words = nats + float(loss), words + float(count)
        seconds = time.monotonic() - started
        return {
            "seconds": seconds,
            "training_perplexity": perplexity_of(nats, words),
            "dev_perplexity": perplexity(measure, dev_pairs),
        }

    return run_passes(
        directory,
        net.name,
        tf.train.Checkpoint(net=net, optimizer=optimizer, seeds=seeds),
        config.epochs,
        one_pass,
        lambda row: f"perplexity {row['dev_perplexity']:.2f}",
    )


def summed_loss(logits: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes -ln p of the target words of a batch, summed, and the number of words.

    Args:
      logits: Logits `[batch, target, vocabulary]`.
      targets: Target ids `[batch, target]`, 0 for padding, which does not count.
    """
    losses, counted = word_losses(logits, targets)
    return tf.reduce_sum(losses), tf.reduce_sum(counted)


def training_step(net: Any, optimizer: keras.optimizers.Optimizer) -> Callable:
    """Returns the function of a batch that takes a step, and returns its `summed_loss`."""

    # One graph for all sizes: a graph for each takes longer to build than it gains.
    @tf.function(autograph=False, input_signature=[IDS, IDS])
    def step(sources: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = net([sources, targets_before(targets)], training=True)
            nats, words = summed_loss(logits, targets)
            loss = nats / words
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return nats, words

    return step


def loss_function(net: Any) -> Callable:
    """Returns the function of source and target ids of any size that computes `summed_loss`."""

    @tf.function(autograph=False, input_signature=[IDS, IDS])
    def measure(sources: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return summed_loss(net([sources, targets_before(targets)]), targets)

    return measure


def perplexity(measure: Callable, pairs: EncodedPairs) -> float:
    """Returns the perplexity of the target words, e^(mean of -ln p), the ends included.

    Args:
      measure: Function of `loss_function`.
      pairs: The pairs.
    """
    nats = words = 0.0
    for places in groups_by_length(pairs.sources, EVALUATED):
        loss, count = measure(*(_trimmed(part[places]) for part in pairs))
        nats, words = nats + float(loss), words + float(count)
    return perplexity_of(nats, words)


def _trimmed(ids: np.ndarray) -> tf.Tensor:
    """Returns ids `[batch, longest]` without the columns that are padding in all rows."""
    return tf.constant(ids[:, : max(1, np.count_nonzero(ids, axis=1).max())])


class Decoded(NamedTuple):
    """The best translations of sentences.

    Attributes:
      ids: Ids of the words of each translation.
      sentences_per_second: Number of sentences translated per second.
    """

    ids: list[list[int]]
    sentences_per_second: float


def decode(search: Callable[[tf.Tensor], Translations], sources: np.ndarray) -> Decoded:
    """Translates sentences, those of one length at once.

    Args:
      search: Function from source ids, without padding, to translations.
      sources: Source ids `[sentences, longest]`, 0 after the last word.
    """
    compiled = tf.function(search, autograph=False, input_signature=[IDS])
    groups = [
        (places, _trimmed(sources[places])) for places in groups_by_length(sources, EVALUATED)
    ]
    compiled(groups[0][1][:1])  # not to measure how long it takes to build the graph
    found: dict[int, list[int]] = {}
    started = time.monotonic()
    for places, group in groups:
        best = compiled(group).ids[:, 0].numpy()
        found.update(
            (int(place), row[row > 0].tolist()) for place, row in zip(places, best, strict=True)
        )
    seconds = time.monotonic() - started
    return Decoded([found[place] for place in range(len(sources))], len(sources) / seconds)
