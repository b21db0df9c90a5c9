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
from pipeline.training import checkpoint_files
from pipeline.training.learner import Learner
from pipeline.training.workers import this_worker

ARCHITECTURE = "architecture.json"


class Checkpoints:
    """The checkpoints of one training, and the part of its state that no other object holds.

    Attributes:
      step: Number of steps done, an int64 variable.
      best_loss: Lowest validation loss so far, in nats, a float64 variable.
      validations_since_best: Number of validations since then, an int64 variable.
    """

    def __init__(self, directory: str, learner: Learner, write_dir: str = ""):
        """Finds earlier checkpoints.

        Args:
          directory: Directory of the training, whose checkpoints are read.
          learner: Model and optimizer.
          write_dir: Directory of the training to write to; empty (the default) for the same. Every
            worker has to write its checkpoints, but only those of the chief are used.
        """
        self._learner = learner
        self._read_from = os.path.join(directory, "checkpoints")
        self._written = os.path.join(write_dir or directory, "checkpoints")
        self._carried = tf.nest.map_structure(
            lambda part: tf.Variable(part, trainable=False),
            learner.model.initial_state(learner.config.batch_size),
        )
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_loss = tf.Variable(float("inf"), dtype=tf.float64, trainable=False)
        self.validations_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=learner.model,
            optimizer=learner.optimizer,
            carried=tf.nest.flatten(self._carried),
            step=self.step,
            best_loss=self.best_loss,
            validations_since_best=self.validations_since_best,
            **({"averages": learner.averages} if learner.averages else {}),
        )
        self._managers = {
            # Two of the latest, as the older one is removed only after the newer is complete.
            name: tf.train.CheckpointManager(
                self._checkpoint,
                os.path.join(self._written, name),
                max_to_keep=keep,
            )
            for name, keep in (("latest", 2), ("best", 1))
        }

    def restore(self, warn: Callable[[str], None] = lambda _: None) -> CharacterState | None:
        """Restores the latest checkpoint that is whole.

        Args:
          warn: Function that is called with a sentence about each damaged one.

        Returns:
          The carried state; None if there is no checkpoint.
        """
        path = checkpoint_files.newest_whole(os.path.join(self._read_from, "latest"), warn)
        if path is None:
            return None
        self._checkpoint.restore(path).assert_existing_objects_matched()
        return self._distribute()

    def restore_best(self) -> None:
        """Restores the best checkpoint, for the export.

        Raises:
          InputError: If it is damaged.
        """
        path = checkpoint_files.best_whole(self._written)
        self._checkpoint.restore(path).expect_partial()
        # The latest checkpoints hold the weights of the training, the best one their averages.
        if os.path.basename(os.path.dirname(path)) == "latest" and self._learner.averages:
            self._learner.averages.exchange()

    def save(self, state: CharacterState, step: int, validation_loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          state: Recurrent state that the next window continues from, per replica.
          step: Number of steps done.
          validation_loss: Validation loss, in nats per character.
        """
        self.step.assign(step)
        self._gather(state)
        improved = validation_loss < float(self.best_loss)
        self.validations_since_best.assign(0 if improved else self.validations_since_best + 1)
        if improved:
            self.best_loss.assign(validation_loss)
            with self._learner.evaluated():  # the weights that a later training begins with
                checkpoint_files.save(self._managers["best"], step)
        checkpoint_files.save(self._managers["latest"], step)

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
