"""One training over shuffled examples, from its last checkpoint to the export.

checkpoints/            see `pipeline.training.shuffled_checkpoints`
logs/                   events for TensorBoard
Format-Serving/         the SavedModel

What is learned of an example is the subclass's: pairs of sentences, or recordings. Texts are read
as streams instead, whose windows continue each other; see `pipeline.training.training_run`.
"""

import abc
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from common import files
from common.progress import progress_bar
from model.layers.seeded import seeds_of
from pipeline.settings import TrainingConfig
from pipeline.store.artifacts import Outcome
from pipeline.store.manifest import Properties
from pipeline.training.explosions import require_finite
from pipeline.training.exports import directory_name
from pipeline.training.shuffled_checkpoints import ShuffledCheckpoints
from pipeline.training.weight_updates import WeightUpdates
from pipeline.training.workers import this_worker

STEPS_PER_LOG = 10


@dataclasses.dataclass(frozen=True)
class ShuffledProperties(Properties):
    """The properties of the artifact of a training over shuffled examples.

    Attributes:
      steps: Number of steps done.
      epochs: Number of passes over the training split, with three decimals.
      parameters: Number of trainable parameters of the model.
      best_step: Step of the weights that were exported.
      validation_nats: Their loss on the eval split, in nats per word or character.
    """

    steps: int
    epochs: float
    parameters: int
    best_step: int
    validation_nats: float


class ShuffledRun(abc.ABC):
    """A training in passes over examples in another order each.

    A batch is a tuple of tensors whose rows are examples; its loss is the sum of those of its
    examples divided by their number of units, words or characters. Every worker reads all batches,
    and each replica takes rows of its own.

    Attributes:
      UNIT: What a loss is given per, as in "word".
      model: The model, with its variables on the replicas.
    """

    UNIT: ClassVar[str]

    def __init__(
        self,
        directory: str,
        write_dir: str,
        config: TrainingConfig,
        epoch_steps: int,
        signature: Sequence[tf.TensorSpec],
        strategy: tf.distribute.Strategy,
    ):
        """Builds the model.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          config: Configuration of the training.
          epoch_steps: Number of batches of a pass over the training split.
          signature: Shapes and dtypes of a batch.
          strategy: Strategy that places the replicas on devices.
        """
        self._directory = write_dir
        self._config = config
        self._strategy = strategy
        self._epoch_steps = epoch_steps
        self._steps = config.steps or config.epochs * epoch_steps
        self._train = tf.function(self._step, autograph=False, input_signature=signature)
        self._sums = tf.function(self._summed, autograph=False, input_signature=signature)
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = self.make_model()
        self._updates = WeightUpdates(
            strategy, self.model.trainable_variables, config, epoch_steps, self._steps
        )
        self._checkpoints = ShuffledCheckpoints(directory, write_dir, self.model, self._updates)

    @abc.abstractmethod
    def make_model(self) -> keras.Model:
        """Returns a model with random weights."""

    @abc.abstractmethod
    def training_batches(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches of a pass, as many as `epoch_steps`, in an order of its own."""

    @abc.abstractmethod
    def evaluation_batches(self) -> tf.data.Dataset:
        """Returns all examples of the eval split once."""

    @abc.abstractmethod
    def losses(self, *batch: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns -ln p of what is predicted of each example, float32 `[batch]`.

        Args:
          batch: Tensors of the batch.
          training: Whether noise and dropout apply.
        """

    @abc.abstractmethod
    def units_of(self, *batch: tf.Tensor) -> tf.Tensor:
        """Returns the number of units that are predicted of a batch, float32."""

    @abc.abstractmethod
    def export(self, model: keras.Model, path: str) -> None:
        """Writes the SavedModel.

        Args:
          model: Model whose variables are on no strategy.
          path: Directory to write.
        """

    def log_examples(self) -> None:  # noqa: B027  most have nothing to show
        """Logs what is to be seen at a validation besides its loss, to the default writer."""

    def run(self) -> Outcome:
        """Trains, restores the best checkpoint and exports it.

        Returns:
          The outcome. Workers other than the chief export nothing; theirs is of no use.

        Raises:
          InputError: If the loss explodes.
        """
        first = self._checkpoints.restore()
        self._spread_seeds()
        logs = {
            name: tf.summary.create_file_writer(os.path.join(self._directory, "logs", name))
            for name in ("train", "validation")
        }
        with progress_bar("Training", unit="steps") as progress:
            pending, note = [], ""
            for step, batch in self._batches(first):
                if self._checkpoints.is_stale(self._config.patience):
                    break
                pending.append(self._train(*batch))
                done = step + 1
                validate = done == self._steps or (
                    done % (self._config.validate_every or self._epoch_steps) == 0
                )
                if validate or done % STEPS_PER_LOG == 0:
                    loss = self._report(logs["train"], pending, done)
                    progress(done, self._steps, f"loss {loss:.3f}{note}")
                    pending = []
                if validate:
                    validation = self._validate(logs["validation"], done)
                    note = f", validation {validation:.3f}"
                    self._checkpoints.save(done, validation)
        if not this_worker().is_chief:
            return Outcome(Properties(), "")
        done = int(self._checkpoints.step)
        self._checkpoints.restore_best()
        return self._export(done)

    def _spread_seeds(self) -> None:
        """Gives each replica noise and dropout masks of its own.

        A checkpoint holds the seeds of the first replica, whose number is 0.
        """
        seeds = seeds_of(self.model)

        def spread() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for seed in seeds:
                number = tf.cast(replica, seed.value.dtype)
                seed.assign(seed.value + tf.stack([number, tf.zeros_like(number)]))

        if self._strategy.num_replicas_in_sync > 1:
            tf.function(lambda: self._strategy.run(spread), autograph=False)()

    def _batches(self, first: int) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
        """Yields the steps from `first` on, each with its batch."""
        step = first
        while step < self._steps:
            epoch, place = divmod(step, self._epoch_steps)
            for batch in self.training_batches(epoch).skip(place).as_numpy_iterator():
                if step == self._steps:
                    return
                yield step, batch
                step += 1

    def _step(self, *batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes a step; returns the mean loss per unit, and the norm of the gradient."""
        rows = tf.shape(batch[0])[0]
        more = -rows % self._strategy.num_replicas_in_sync
        units = self.units_of(*batch)
        # Copies of the first example, which do not count, fill up what does not divide among the
        # replicas.
        filled = [tf.concat([part, tf.repeat(part[:1], more, axis=0)], axis=0) for part in batch]
        counts = tf.range(rows + more) < rows
        results = self._strategy.run(self._replica_step, (counts, units, *filled))
        first = self._strategy.experimental_local_results
        loss, norm = (first(result)[0] for result in results)
        return loss, norm

    def _replica_step(
        self, counts: tf.Tensor, units: tf.Tensor, *batch: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        first, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
        counts, *own = (part[first::replicas] for part in (counts, *batch))
        with tf.GradientTape() as tape:
            losses = self.losses(*own, training=True)
            loss = tf.reduce_sum(tf.where(counts, losses, 0.0)) / units
        found = tape.gradient(loss, [v.value for v in self.model.trainable_variables])
        gradients = [tf.convert_to_tensor(gradient) for gradient in found]
        loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])
        norm = tf.linalg.global_norm(gradients)
        self._updates.apply(self._updates.clip(gradients, norm))
        return loss, norm

    def _report(
        self,
        log: tf.summary.SummaryWriter,
        results: list[tuple[tf.Tensor, tf.Tensor]],
        done: int,
    ) -> float:
        """Logs the steps since the last report; returns their mean loss."""
        losses, norms = zip(*results, strict=True)
        loss, norm = float(np.mean(losses)), float(norms[-1])
        require_finite(loss, done, norm)
        with log.as_default(step=done):
            tf.summary.scalar(f"loss/nats_per_{self.UNIT}", loss)
            tf.summary.scalar("norm/gradient", norm)
            tf.summary.scalar("rate/learning_rate", float(self._updates.learning_rate()))
        log.flush()
        return loss

    def _validate(self, log: tf.summary.SummaryWriter, done: int) -> float:
        """Logs and returns the loss of the eval split, in nats per unit."""
        with self._updates.evaluated(), log.as_default(step=done):
            loss = require_finite(self._agreed(self.nats_per_unit()), done)
            tf.summary.scalar(f"loss/nats_per_{self.UNIT}", loss)
            if this_worker().is_chief:
                self.log_examples()
        log.flush()
        return loss

    def _agreed(self, loss: float) -> float:
        """Returns the mean of what all workers have computed, by which all decide alike."""
        if this_worker().count == 1:
            return loss

        @tf.function(autograph=False)
        def mean(value: tf.Tensor) -> tf.Tensor:
            values = self._strategy.run(tf.identity, (value,))
            return self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)

        return float(mean(tf.constant(loss, tf.float64)))

    def nats_per_unit(self) -> float:
        """Returns the mean of -ln p of all units of the eval split."""
        nats = units = 0.0
        for batch in self.evaluation_batches():
            loss, count = self._sums(*batch)
            nats, units = nats + float(loss), units + float(count)
        return nats / max(units, 1.0)

    def _summed(self, *batch: tf.Tensor) -> tuple[Any, Any]:
        """Returns the sum of the losses of a batch, and the number of its units."""
        return tf.reduce_sum(self.losses(*batch, training=False)), self.units_of(*batch)

    def _export(self, done: int) -> Outcome:
        """Exports the best weights of a training of as many steps."""
        path = os.path.join(self._directory, directory_name("float32"))
        if files.exists(path):
            files.rmtree(path)
        # Variables of a strategy are mirrored; those of a plain model are not.
        plain = self.make_model()
        plain.set_weights(self.model.get_weights())
        self.export(plain, path)
        best = float(self._checkpoints.best_loss)
        properties = ShuffledProperties(
            steps=done,
            epochs=round(done / self._epoch_steps, 3),
            parameters=self.model.count_params(),
            best_step=int(self._checkpoints.step),
            validation_nats=round(best, 5),
        )
        return Outcome(properties, f"{best:.4f} nats per {self.UNIT} in validation, {done:,} steps")
