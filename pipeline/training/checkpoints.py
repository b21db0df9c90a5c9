"""Checkpoints: everything that a training resumes from.

    architecture.json          the architecture and vocabulary of the weights
    checkpoints/latest/        weights, optimizer, step, carried state, validation history
    checkpoints/best/          the same, at the step with the lowest validation loss, where averages
                               of the weights are exchanged with them
    checkpoints/*/*.checksums  the checksums of the files of a checkpoint

Input position, learning rate and random numbers are functions of the step and the configuration, so
the step stands for them.
"""

import dataclasses
import json
import os
from collections.abc import Callable

import tensorflow as tf

from common.files import write_text
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState, batch_axis
from model.text.code_points import TextVocabulary
from pipeline.training.best_and_latest import BestAndLatest
from pipeline.training.learner import Learner
from pipeline.training.workers import this_worker

ARCHITECTURE = "architecture.json"


class Checkpoints(BestAndLatest):
    """The checkpoints of one training, and the part of its state that no other object holds."""

    def __init__(self, directory: str, learner: Learner, write_dir: str = ""):
        """Finds earlier checkpoints.

        Args:
          directory: Directory of the training, whose checkpoints are read.
          learner: Model and optimizer.
          write_dir: Directory of the training to write to; empty (the default) for the same. Every
            worker has to write its checkpoints, but only those of the chief are used.
        """
        self._learner = learner
        self._carried = tf.nest.map_structure(
            lambda part: tf.Variable(part, trainable=False),
            learner.model.initial_state(learner.config.batch_size),
        )
        super().__init__(
            directory,
            write_dir or directory,
            learner,
            model=learner.model,
            carried=tf.nest.flatten(self._carried),
        )

    def restore(self, warn: Callable[[str], None] = lambda _: None) -> CharacterState | None:
        """Restores the latest checkpoint that is whole.

        Args:
          warn: Function that is called with a sentence about each damaged one.

        Returns:
          The carried state; None if there is no checkpoint.
        """
        return self._distribute() if self._restore_latest(warn) else None

    def save(self, state: CharacterState, step: int, validation_loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          state: Recurrent state that the next window continues from, per replica.
          step: Number of steps done.
          validation_loss: Validation loss, in nats per character.
        """
        self._gather(state)
        self._save(step, validation_loss)

    def _gather(self, state: CharacterState) -> None:
        """Concatenates the states of the replicas, in the order of their streams."""
        strategy = self._learner.strategy
        parts = tf.nest.flatten(state)
        for variable, part in zip(tf.nest.flatten(self._carried), parts, strict=True):
            axis = batch_axis(variable)
            if this_worker().count > 1:
                variable.assign(strategy.gather(part, axis))
            else:  # logical devices of one processor cannot gather
                variable.assign(tf.concat(strategy.experimental_local_results(part), axis))

    def _distribute(self) -> CharacterState:
        """Splits the state among the replicas, the inverse of `_gather`."""
        size = self._learner.replica_batch

        def rows(variable: tf.Variable, context: tf.distribute.ReplicaContext) -> tf.Tensor:
            first = context.replica_id_in_sync_group * size
            return tf.gather(variable, tf.range(first, first + size), axis=batch_axis(variable))

        spread = self._learner.strategy.experimental_distribute_values_from_function
        return tf.nest.map_structure(
            lambda variable: spread(lambda context: rows(variable, context)), self._carried
        )


def write_architecture(directory: str, config: ModelConfig, vocabulary: TextVocabulary) -> None:
    """Writes the architecture of the weights in a directory's checkpoints.

    Args:
      directory: Directory of the training.
      config: Architecture of the model.
      vocabulary: Vocabulary of the model.
    """
    architecture = {
        "model": dataclasses.asdict(config),
        "vocabulary": {"unit": vocabulary.unit, "code_points": list(vocabulary.code_points)},
    }
    write_text(os.path.join(directory, ARCHITECTURE), json.dumps(architecture, indent=1) + "\n")
