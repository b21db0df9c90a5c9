"""Training of language models over the words of documents.

history.csv    a row per pass
checkpoints/   the weights after the last pass, from which a training that was killed resumes
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.documents.document_nets import DocumentNet
from experiments.documents.document_text import Document, DocumentText
from experiments.framework.epoch_history import perplexity_of
from experiments.framework.experiment import Row
from experiments.framework.passes import run_passes
from model.config import require_integer, require_range
from model.text.word_vocabulary import PADDING


@dataclasses.dataclass(frozen=True)
class DocumentTrainConfig:
    """Configuration of a training by Adam.

    Attributes:
      epochs: Number of passes over the training part.
      learning_rate: Learning rate of the first pass. Default 0.005.
      decay: Factor of the learning rate after each pass. Default 0.6.
      clip_norm: Largest global norm of the gradient of the mean loss. Default 1.
    """

    epochs: int
    learning_rate: float = 0.005
    decay: float = 0.6
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        require_integer("epochs", self.epochs, 1)
        require_range("decay", self.decay, 0, 1)
        for name in ("learning_rate", "clip_norm"):
            require_range(name, getattr(self, name), 1e-9, math.inf)


def train(
    directory: str, net: DocumentNet, text: DocumentText, config: DocumentTrainConfig, seed: int
) -> list[Row]:
    """Trains a net; a training that was killed resumes after its last pass.

    Args:
      directory: Directory of the history and of the checkpoints.
      net: The net, with its initial weights.
      text: The text.
      config: Configuration of the training.
      seed: Seed of the order of the documents.

    Returns:
      A row per pass: its number, the seconds of training so far, and the perplexity of the training
      part as it was met and of the validation part.
    """
    optimizer = keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.clip_norm)
    optimizer.build(net.trainable_variables)
    step = training_step(net, optimizer)

    def one_pass(rows: list[Row]) -> Row:
        started = time.monotonic()
        optimizer.learning_rate.assign(config.learning_rate * config.decay ** len(rows))
        perplexity = _one_pass(step, net, text.train, [seed, len(rows)])
        seconds = time.monotonic() - started
        return {
            "seconds": seconds,
            "training_perplexity": perplexity,
            "validation_perplexity": perplexity_of_documents(net, text.validation),
        }

    return run_passes(
        directory,
        net.name,
        tf.train.Checkpoint(net=net, optimizer=optimizer),
        config.epochs,
        one_pass,
        lambda row: f"perplexity {row['validation_perplexity']:.1f}",
    )


def _one_pass(
    step: Callable, net: DocumentNet, documents: Sequence[Document], seed: Sequence[int]
) -> float:
    """Trains on all documents, and returns the perplexity of the words as they were met."""
    nats, words, state = tf.constant(0.0), 0, None
    for batch in net.batches(documents, seed):
        if batch.begins:
            state = net.initial_state(len(batch.inputs))
        loss, state = step(tf.constant(batch.inputs), tf.constant(batch.targets), state)
        nats += loss
        words += int(np.count_nonzero(batch.targets != PADDING))
    return perplexity_of(float(nats), words)


def training_step(net: DocumentNet, optimizer: keras.optimizers.Optimizer) -> Callable:
    """Returns the function of inputs, targets and a state that takes a step.

    It returns the sum of -ln p of the targets that count, and the state after them.

    Args:
      net: The net.
      optimizer: The optimizer, built.
    """

    @tf.function(autograph=False)
    def step(inputs: tf.Tensor, targets: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        with tf.GradientTape() as tape:
            losses, after = net.step_losses(inputs, targets, state)
            total = tf.reduce_sum(losses)
            counted = tf.reduce_sum(tf.cast(targets != PADDING, tf.float32))
            loss = total / tf.maximum(counted, 1.0)
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return total, after

    return step


def perplexity_of_documents(net: DocumentNet, documents: Sequence[Document]) -> float:
    """Returns the perplexity of words and ends of sentences, each document from its beginning.

    Args:
      net: The net.
      documents: The documents.
    """
    nats = sum(float(one.sum()) for one in net.sentence_losses(documents))
    return perplexity_of(nats, words_in(documents))


def words_in(documents: Sequence[Document]) -> int:
    """Returns the number of words and ends of sentences.

    Args:
      documents: The documents.
    """
    return sum(len(sentence) + 1 for document in documents for sentence in document)
