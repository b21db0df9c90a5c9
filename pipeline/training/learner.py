"""The training step and the evaluation step, on every replica of a distribution strategy."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from model.config import Device
from model.execution.batch_shards import BatchShards
from model.execution.plan import Plan
from model.execution.planner import choose
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState, batch_axis
from model.language_model.losses import character_losses
from pipeline.data.windows import read_ahead
from pipeline.settings import TrainingConfig
from pipeline.training.weight_updates import WeightUpdates
from pipeline.training.workers import this_worker


class StepResult(NamedTuple):
    """The result of one training step, over all replicas.

    Attributes:
      loss: Mean loss in nats per character, a scalar.
      gradient_norm: Global norm of the gradient before clipping, a scalar.
      layer_gradient_norms: The same for the weights of each layer, `[layers]`; zeros if the layers
        share all weights.
    """

    loss: tf.Tensor
    gradient_norm: tf.Tensor
    layer_gradient_norms: tf.Tensor


class Sums(NamedTuple):
    """The sums of one evaluation window, scalars over all replicas.

    Attributes:
      nats: Sum of -ln p.
      correct: Number of characters whose most likely prediction is right.
      characters: Number of characters that count.
    """

    nats: tf.Tensor
    correct: tf.Tensor
    characters: tf.Tensor


class Learner:
    """A model and its optimizer, mirrored on the replicas of a strategy.

    Forward and backward pass are compiled per replica as the plan says: on accelerators as one XLA
    program, on a CPU possibly as one per batch shard. Gradients are then summed over the
    replicas, clipped as a whole, and applied outside of XLA, which cannot write variables of
    several devices; so n replicas take the same step as one with the whole batch.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model_config: ModelConfig,
        vocabulary_size: int,
        config: TrainingConfig,
        steps_per_epoch: int,
        steps: int,
        plan: Plan | None = None,
    ):
        """Builds the model on every replica.

        Args:
          strategy: Strategy that places the replicas on devices.
          model_config: Architecture of the model.
          vocabulary_size: Number of distinct characters.
          config: Configuration of the training.
          steps_per_epoch: Steps of an epoch, for schedules that count epochs.
          steps: Steps of the training, for schedules that end.
          plan: Plan of the execution; None (the default) for the fastest on this device.
        """
        self.strategy = strategy
        self.config = config
        plan = plan or choose(
            model_config.units,
            model_config.layers,
            self.replica_batch,
            config.execution,
            config.dtype,
            device=_device(strategy),
            architecture=model_config.architecture,
        )
        self.plan = plan._replace(remat_steps=config.remat_steps)
        compilation = self.plan.compilation
        jits_step = compilation.jits_step
        # Shards of an XLA program are programs, which this class runs; others are up to the core.
        count = compilation.batch_shards if jits_step else 1
        self._shards = BatchShards.create(self.replica_batch, count)
        if jits_step:
            compilation = compilation._replace(batch_shards=1)
        self._forward_backward = tf.function(  # type: ignore[method-assign]
            self._forward_backward, autograph=False, jit_compile=jits_step
        )
        self._forward = tf.function(  # type: ignore[method-assign]
            self._forward, autograph=False, jit_compile=jits_step
        )
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            net_plan = self.plan._replace(compilation=compilation)
            self.model = CharacterModel(model_config, vocabulary_size, net_plan)
        self._updates = WeightUpdates(
            strategy, self.model.trainable_variables, config, steps_per_epoch, steps
        )
        self.optimizer = self._updates.optimizer
        self.averages = self._updates.averages

    @property
    def replica_batch(self) -> int:
        """Streams per replica."""
        return self.config.batch_size // self.strategy.num_replicas_in_sync

    @property
    def rows(self) -> range:
        """The streams of this worker's replicas."""
        first = self._first_replica * self.replica_batch
        return range(first, first + self._local_replicas * self.replica_batch)

    @property
    def _local_replicas(self) -> int:
        return len(self.strategy.extended.worker_devices)

    @property
    def _first_replica(self) -> int:
        return this_worker().index * self._local_replicas

    @tf.function(autograph=False)
    def initial_state(self) -> CharacterState:
        """Returns the zero state of all streams, each replica's on its device."""
        return self.strategy.run(lambda: self.model.initial_state(self.replica_batch))

    @tf.function(autograph=False)
    def train(
        self, ids: tf.Tensor, state: CharacterState, step: tf.Tensor
    ) -> tuple[StepResult, CharacterState]:
        """Performs one step on the next window of every stream.

        Args:
          ids: Character ids per replica, `[replica_batch, window]`, int32.
          state: State after the window before, per replica.
          step: Number of the step, int64, which decides the dropout masks.

        Returns:
          The result, and the state after this window.
        """
        result, state = self.strategy.run(self._train_replica, (ids, state, step))
        first = self.strategy.experimental_local_results
        return StepResult(*(first(value)[0] for value in result)), state

    def _train_replica(
        self, ids: tf.Tensor, state: CharacterState, step: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], CharacterState]:
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in(
            tf.stack([self.config.seed, replica]), tf.cast(step, tf.int32)
        )
        (loss, *gradients), state = self._over_shards(self._forward_backward, ids, state, seed)
        loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])
        norm, layer_norms = self._norms(gradients)
        self._updates.apply(self._updates.clip(gradients, norm))
        return (loss, norm, layer_norms), state

    def _over_shards(
        self, program: Callable[..., Any], ids: tf.Tensor, state: CharacterState, *seed: tf.Tensor
    ) -> tuple[Any, CharacterState]:
        """Runs a program for each batch shard; returns the sums and the new state."""
        if self._shards.count == 1:
            return program(ids, state, *seed)
        fold_in = tf.random.experimental.stateless_fold_in
        numbers = iter(range(self._shards.count))

        def run(ids: tf.Tensor, *parts: tf.Tensor) -> tuple[Any, CharacterState]:
            number = next(numbers)
            shard_state = tf.nest.pack_sequence_as(state, parts)
            return program(ids, shard_state, *(fold_in(one, number) for one in seed))

        parts = [(part, batch_axis(part)) for part in tf.nest.flatten(state)]
        results = self._shards.map(run, (ids, 0), *parts)
        sums, states = zip(*results, strict=True)
        state = tf.nest.map_structure(
            lambda *shards: tf.concat(shards, batch_axis(shards[0])), *states
        )
        return tf.nest.map_structure(lambda *ones: tf.add_n(ones), *sums), state

    def _norms(self, gradients: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the global norm, and that of the weights of each layer."""
        layers = self.model.config.layers
        per_layer = {v.path for v in self.model.core.trainable_variables if v.shape[0] == layers}
        total, by_layer = tf.zeros([]), tf.zeros([layers])
        for variable, gradient in zip(self.model.trainable_variables, gradients, strict=True):
            squares = tf.reduce_sum(gradient**2, axis=range(1, gradient.shape.rank))
            total += tf.reduce_sum(squares)
            if variable.path in per_layer:
                by_layer += squares
        return tf.sqrt(total), tf.sqrt(by_layer)

    def _forward_backward(
        self, ids: tf.Tensor, state: CharacterState, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], CharacterState]:
        """Returns loss and gradients as this replica's share of the mean over the whole batch.

        What contexts add to the loss counts for the gradients alone.
        """
        count = self.config.batch_size * self.config.window
        with tf.GradientTape() as tape:
            logits, state = self.model(ids, state, training=True, seed=seed)
            losses, _ = character_losses(logits, ids)
            loss = objective = tf.reduce_sum(losses) / count
            if self.model.losses:
                objective += tf.add_n(self.model.losses) / count
        gradients = tape.gradient(objective, [v.value for v in self.model.trainable_variables])
        return [loss, *map(tf.convert_to_tensor, gradients)], state

    def evaluated(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which the model has the weights that are evaluated and exported.

        They are the averages of the weights, if the configuration has a decay for them.
        """
        return self._updates.evaluated()

    @tf.function(autograph=False)
    def evaluate(self, ids: tf.Tensor, state: CharacterState) -> tuple[Sums, CharacterState]:
        """Sums the losses of a window.

        Args:
          ids: Character ids per replica, `[replica_batch, window]`, int32; negative ones do not
            count.
          state: State after the window before, per replica.

        Returns:
          The sums, and the state after this window.
        """
        sums, state = self.strategy.run(self._evaluate_replica, (ids, state))
        reduce = self.strategy.reduce
        return Sums(*(reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in sums)), state

    def _evaluate_replica(
        self, ids: tf.Tensor, state: CharacterState
    ) -> tuple[Sums, CharacterState]:
        # Only a function that is called from within a replica is traced once per replica.
        return self._over_shards(self._forward, ids, state)

    def _forward(self, ids: tf.Tensor, state: CharacterState) -> tuple[Sums, CharacterState]:
        logits, state = self.model(tf.maximum(ids, 0), state)
        losses, counted = character_losses(logits, ids)
        hits = tf.cast(tf.argmax(logits, -1, tf.int32) == tf.transpose(ids), losses.dtype) * counted
        return Sums(tf.reduce_sum(losses), tf.reduce_sum(hits), tf.reduce_sum(counted)), state

    def distribute(self, windows: tf.data.Dataset) -> Iterator[tf.Tensor]:
        """Yields windows `[rows, window]`, each split among this worker's replicas, in order.

        `experimental_distribute_dataset` would do the same, but its iterator makes malloc return
        freed memory at once (a remedy for a leak of Python 3.11). XLA's buffers are then mapped
        again for every step, which takes as long as the step.
        """
        first, replicas = self._first_replica, self._local_replicas

        def replica_parts(ids: np.ndarray) -> tf.Tensor:
            parts = np.split(ids, replicas)
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(parts[context.replica_id_in_sync_group - first])
            )

        # Between steps the processor's caches lose Python's code: distributing one window takes a
        # few percent of a small net's step, and each further one a tenth of that.
        for several in read_ahead(windows):
            yield from [replica_parts(ids) for ids in several]

    def validate(self, windows: tf.data.Dataset) -> float:
        """Returns the mean loss over windows in nats per character; carries the state over."""
        state = self.initial_state()
        nats = characters = 0.0
        for ids in self.distribute(windows):
            sums, state = self.evaluate(ids, state)
            nats += float(sums.nats)
            characters += float(sums.characters)
        return nats / max(characters, 1.0)

    def learning_rate(self) -> tf.Tensor:
        """Returns the learning rate of the next step."""
        return self._updates.learning_rate()

    def weight_norm(self) -> tf.Tensor:
        """Returns the global norm of all weights."""
        return tf.linalg.global_norm([v.value for v in self.model.trainable_variables])


def _device(strategy: tf.distribute.Strategy) -> Device:
    devices = strategy.extended.worker_devices
    return "cpu" if all("CPU" in device.upper() for device in devices) else "accelerator"
