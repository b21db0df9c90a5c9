"""The checkpoints of a training over shuffled examples: the last ones, and the best one.

checkpoints/latest/     weights, optimizer, step, and the state of the dropout's seeds
checkpoints/best/       the same, at the step with the lowest loss on the eval split
"""

import keras

from common.progress import print_warning
from model.layers.seeded import seeds_of
from pipeline.training.best_and_latest import BestAndLatest
from pipeline.training.weight_updates import WeightUpdates


class ShuffledCheckpoints(BestAndLatest):
    """The checkpoints of a training; see `BestAndLatest`."""

    def __init__(self, directory: str, write_dir: str, model: keras.Model, updates: WeightUpdates):
        """Begins without a checkpoint, at step 0.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          model: Model whose variables are saved.
          updates: Optimizer of its weights, and their averages.
        """
        # Checkpoints of a model leave out its seeds, from which the dropout's masks are drawn.
        seeds = [seed.value for seed in seeds_of(model)]
        super().__init__(directory, write_dir, updates, model=model, seeds=seeds)

    def restore(self) -> int:
        """Restores the latest checkpoint that is whole; returns the number of steps done."""
        self._restore_latest(print_warning)
        return int(self.step)

    def save(self, step: int, loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          step: Number of steps done.
          loss: Loss on the eval split, in nats.
        """
        self._save(step, loss)
