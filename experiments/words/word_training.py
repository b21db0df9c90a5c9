"""Training of language models over words as in the paper of the character-aware model.

history.csv    a row per pass
checkpoints/   the weights after the last pass, from which a training that was killed resumes
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.epoch_history import perplexity_of
from experiments.framework.experiment import Row
from experiments.framework.passes import run_passes
from experiments.words.word_text import Streams, WordText, streams_of
from model.config import require_integer, require_range
from model.core import State
from model.text.word_vocabulary import UNKNOWN
from model.words.word_model import WordModel


@dataclasses.dataclass(frozen=True)
class WordTrainConfig:
    """Configuration of a training by plain gradient descent.

    The defaults are those of Kim, Jernite, Sontag, Rush (arXiv 1508.06615) on Penn Treebank.

    Attributes:
      epochs: Number of passes over the training part.
      batch_size: Number of contiguous streams of text. Default 20.
      window: Words per stream and step, at whose beginning gradients are truncated; the state is
        carried over. Default 35.
      learning_rate: Initial learning rate. Default 1.
      decay: Factor of the learning rate after a pass that gained too little. Default 0.5.
      least_gain: Perplexity on the validation part by which a pass must gain on the one before.
        Default 1.
      clip_norm: Largest global norm of the gradient. Default 5.
      init_scale: Bound of the uniform initial weights. Default 0.05.
    """

    epochs: int
    batch_size: int = 20
    window: int = 35
    learning_rate: float = 1.0
    decay: float = 0.5
    least_gain: float = 1.0
    clip_norm: float = 5.0
    init_scale: float = 0.05

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "window"):
            require_integer(name, getattr(self, name), 1)
        require_range("decay", self.decay, 0, 1)
        for name in ("learning_rate", "clip_norm", "init_scale"):
            require_range(name, getattr(self, name), 1e-9, math.inf)


def next_learning_rate(rows: Sequence[Row], config: WordTrainConfig) -> float:
    """Returns the learning rate of the pass after some passes.

    Args:
      rows: The passes, with their `learning_rate` and `validation_perplexity`.
      config: Configuration of the training.
    """
    if not rows:
        return config.learning_rate
    rate = rows[-1]["learning_rate"]
    if len(rows) < 2:
        return rate
    gain = rows[-2]["validation_perplexity"] - rows[-1]["validation_perplexity"]
    return rate if gain >= config.least_gain else rate * config.decay


def train(
    directory: str, net: WordModel, text: WordText, config: WordTrainConfig, seed: int
) -> list[Row]:
    """Trains a net; a training that was killed resumes after its last pass.

    Args:
      directory: Directory of the history and of the checkpoints.
      net: The net, with its initial weights.
      text: The text.
      config: Configuration of the training.
      seed: Seed of the dropout.

    Returns:
      A row per pass: its number, the seconds of training so far, its learning rate, and the
      perplexity of the training and of the validation part.
    """
    optimizer = keras.optimizers.SGD(config.learning_rate, global_clipnorm=config.clip_norm)
    optimizer.build(net.trainable_variables)
    step = training_step(net, optimizer, text)
    losses = loss_function(net, text)
    streams = streams_of(text.train, config.batch_size, config.window)
    validation = streams_of(text.validation, config.batch_size, config.window)

    def one_pass(rows: list[Row]) -> Row:
        started = time.monotonic()
        rate = next_learning_rate(rows, config)
        optimizer.learning_rate.assign(rate)
        perplexity = _one_pass(step, net, streams, config, [seed, len(rows)])
        seconds = time.monotonic() - started
        found = part_losses(losses, net, validation, config.window)
        return {
            "seconds": seconds,
            "learning_rate": rate,
            "training_perplexity": perplexity,
            "validation_perplexity": perplexity_of(float(found.sum()), found.size),
        }

    return run_passes(
        directory,
        net.name,
        tf.train.Checkpoint(net=net, optimizer=optimizer),
        config.epochs,
        one_pass,
        lambda row: f"perplexity {row['validation_perplexity']:.2f}",
    )


def _one_pass(
    step: Callable, net: WordModel, streams: Streams, config: WordTrainConfig, seed: Sequence[int]
) -> float:
    """Trains on all windows in order, and returns the perplexity of the words as they were met."""
    state = net.initial_state(config.batch_size)
    nats = tf.constant(0.0)
    for number, window in enumerate(streams.windows(config.window)):
        mask_seed = np.random.default_rng([*seed, number]).integers(1 << 31, size=2)
        loss, state = step(*window, state, tf.constant(mask_seed, tf.int32))
        nats += loss
    return perplexity_of(float(nats), streams.targets.size)


def input_function(net: WordModel, text: WordText) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from ids of distinct words to the inputs of a net.

    Args:
      net: The net.
      text: The text.
    """
    if net.config.inputs == "words":
        return lambda ids: _known(ids, text.vocabulary.size)
    table = tf.constant(text.table())
    return lambda ids: tf.gather(table, ids)


def _known(ids: tf.Tensor, size: int) -> tf.Tensor:
    """Returns ids with `UNKNOWN` in place of words that the vocabulary lacks."""
    return tf.where(ids < size, ids, UNKNOWN)


def _losses(net: WordModel, text: WordText) -> Callable:
    """Returns the function of a window and a state that computes -ln p of the targets."""
    inputs_of = input_function(net, text)

    def losses(
        inputs: tf.Tensor,
        targets: tf.Tensor,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        logits, state = net(inputs_of(inputs), state, training=training, seed=seed)
        known = _known(targets, text.vocabulary.size)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits), state

    return losses


def training_step(
    net: WordModel, optimizer: keras.optimizers.Optimizer, text: WordText
) -> Callable:
    """Returns the function of a window, a state and a seed that takes a step.

    It returns the sum of -ln p of the targets, and the state after the window.
    """
    losses = _losses(net, text)
    has_dropout = net.config.core.dropout > 0

    @tf.function(autograph=False)
    def step(
        inputs: tf.Tensor, targets: tf.Tensor, state: State, seed: tf.Tensor
    ) -> tuple[tf.Tensor, State]:
        with tf.GradientTape() as tape:
            found, after = losses(inputs, targets, state, True, seed if has_dropout else None)
            loss = tf.reduce_mean(found)
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.reduce_sum(found), after

    return step


def loss_function(net: WordModel, text: WordText) -> Callable:
    """Returns the function of a window and a state that computes -ln p of the targets.

    It returns them as `[streams, steps]`, and the state after the window.
    """
    return tf.function(_losses(net, text), autograph=False)


def part_losses(losses: Callable, net: WordModel, streams: Streams, window: int) -> np.ndarray:
    """Returns -ln p of all words of a part, `[streams, steps]`, with states carried over.

    Args:
      losses: Function of `loss_function`.
      net: The net.
      streams: The part.
      window: Number of words at once.
    """
    state = net.initial_state(len(streams.targets))
    found = []
    for part in streams.windows(window):
        nats, state = losses(*part, state)
        found.append(nats.numpy())
    return np.concatenate(found, axis=1)
