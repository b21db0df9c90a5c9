"""The checkpoints that each training keeps: the latest ones, and the best one."""

import math
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipeline.training import checkpoint_files
from pipeline.training.learner import Learner
from pipeline.training.weight_updates import WeightUpdates


class BestAndLatest:
    """Checkpoints of the weights, the optimizer, the progress, and what else a training has.

    Attributes:
      step: Number of steps done, an int64 variable.
      best_loss: Lowest validation loss so far, in nats, a float64 variable.
      validations_since_best: Number of validations since then, an int64 variable.
    """

    def __init__(
        self, directory: str, write_dir: str, updates: Learner | WeightUpdates, **saved: Any
    ):
        """Begins without a checkpoint, at step 0.

        Args:
          directory: Directory of the training, whose checkpoints are read.
          write_dir: Directory that this worker writes to; for the chief the same. Every worker has
            to write its checkpoints, but only those of the chief are used.
          updates: Optimizer of the weights, and their averages.
          **saved: What else is saved, by its name in the checkpoints.
        """
        self._updates = updates
        self._read_from = os.path.join(directory, "checkpoints")
        self._written = os.path.join(write_dir, "checkpoints")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_loss = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
        self.validations_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            optimizer=updates.optimizer,
            step=self.step,
            best_loss=self.best_loss,
            validations_since_best=self.validations_since_best,
            **({"averages": updates.averages} if updates.averages else {}),
            **saved,
        )
        self._managers = {
            # Two of the latest, as the older one is removed only after the newer is complete.
            name: tf.train.CheckpointManager(
                self._checkpoint, os.path.join(self._written, name), max_to_keep=keep
            )
            for name, keep in (("latest", 2), ("best", 1))
        }

    def is_stale(self, patience: int) -> bool:
        """Returns whether as many validations as training is to wait for had no lower loss.

        Args:
          patience: Number of validations; 0 for any.
        """
        return bool(patience) and int(self.validations_since_best) >= patience

    def restore_best(self) -> None:
        """Restores the best checkpoint, for the export.

        Raises:
          InputError: If it is damaged.
        """
        path = checkpoint_files.best_whole(self._written)
        self._checkpoint.restore(path).expect_partial()
        # The latest checkpoints hold the weights of the training, the best one their averages.
        if os.path.basename(os.path.dirname(path)) == "latest" and self._updates.averages:
            self._updates.averages.exchange()

    def _restore_latest(self, warn: Callable[[str], None]) -> bool:
        """Restores the latest checkpoint that is whole; returns whether there is one.

        Args:
          warn: Function that is called with a sentence about each damaged one.
        """
        path = checkpoint_files.newest_whole(os.path.join(self._read_from, "latest"), warn)
        if path is not None:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        return path is not None

    def _save(self, step: int, loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          step: Number of steps done.
          loss: Validation loss, in nats.
        """
        self.step.assign(step)
        improved = loss < float(self.best_loss)
        self.validations_since_best.assign(0 if improved else self.validations_since_best + 1)
        if improved:
            self.best_loss.assign(loss)
            with self._updates.evaluated():  # the weights that a later training begins with
                checkpoint_files.save(self._managers["best"], step)
        checkpoint_files.save(self._managers["latest"], step)
