"""The checkpoints of a training over shuffled examples: the last ones, and the best one.

checkpoints/latest/     weights, optimizer, step, and the state of the dropout's seeds
checkpoints/best/       the same, at the step with the lowest loss on the eval split
"""

import math
import os

import keras
import tensorflow as tf

from common.progress import print_warning
from pipeline.training import checkpoint_files
from pipeline.training.weight_updates import WeightUpdates


class ShuffledCheckpoints:
    """The checkpoints of a training.

    Attributes:
      step: Number of steps done, an int64 variable.
      best_loss: Lowest validation loss so far, in nats, a float64 variable.
      validations_since_best: Number of validations since then, an int64 variable.
      last: Number of steps done at the end of the training.
    """

    def __init__(self, directory: str, write_dir: str, model: keras.Model, updates: WeightUpdates):
        """Begins without a checkpoint, at step 0.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          model: Model whose variables are saved.
          updates: Optimizer of its weights, and their averages.
        """
        self._updates = updates
        self._read_from = os.path.join(directory, "checkpoints")
        self._folder = os.path.join(write_dir, "checkpoints")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_loss = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
        self.validations_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.last = 0
        # Checkpoints of a model leave out its seeds, from which the dropout's masks are drawn.
        weights = {id(one) for one in model.weights}
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=updates.optimizer,
            seeds=[one.value for one in model.variables if id(one) not in weights],
            step=self.step,
            best_loss=self.best_loss,
            validations_since_best=self.validations_since_best,
            **({"averages": updates.averages} if updates.averages else {}),
        )
        self._managers = {
            name: tf.train.CheckpointManager(
                self._checkpoint, os.path.join(self._folder, name), max_to_keep=keep
            )
            for name, keep in (("latest", 2), ("best", 1))
        }

    def restore(self) -> int:
        """Restores the latest checkpoint that is whole; returns the number of steps done."""
        latest = os.path.join(self._read_from, "latest")
        path = checkpoint_files.newest_whole(latest, print_warning)
        if path is not None:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        self.last = int(self.step)
        return self.last

    def restore_best(self) -> None:
        """Restores the best checkpoint, for the export.

        Raises:
          InputError: If it is damaged.
        """
        path = checkpoint_files.best_whole(self._folder)
        self._checkpoint.restore(path).expect_partial()
        # The latest checkpoints hold the weights of the training, the best one their averages.
        if os.path.basename(os.path.dirname(path)) == "latest" and self._updates.averages:
            self._updates.averages.exchange()

    def save(self, step: int, loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          step: Number of steps done.
          loss: Loss on the eval split, in nats.
        """
        self.step.assign(step)
        self.last = step
        improved = loss < float(self.best_loss)
        self.validations_since_best.assign(0 if improved else self.validations_since_best + 1)
        if improved:
            self.best_loss.assign(loss)
            with self._updates.evaluated():
                checkpoint_files.save(self._managers["best"], step)
        checkpoint_files.save(self._managers["latest"], step)
