"""One training step and one evaluation step, on every replica of a distribution strategy."""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from model.config import ModelConfig
from model.execution.compilation import Split
from model.execution.plan import Plan
from model.execution.planner import choose
from model.language_model.character_model import CharacterModel, CharacterState
from model.language_model.losses import character_losses
from pipeline.data.windows import read_ahead
from pipeline.settings import TrainingConfig
from pipeline.training.workers import this_worker

STREAMS = CharacterState(previous=0, hidden=1, memory=1)
"""Which axis of a state is that of the streams."""


class EpochDecay(keras.optimizers.schedules.LearningRateSchedule):
    """rate * decay_rate ** max(0, epoch - decay_after), epochs counted from 0."""

    def __init__(self, rate: float, decay_rate: float, decay_after: int, steps_per_epoch: int):
        self.rate = rate
        self.decay_rate = decay_rate
        self.decay_after = decay_after
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        epoch = tf.cast(step, tf.int64) // self.steps_per_epoch
        decays = tf.maximum(epoch - self.decay_after, 0)
        return self.rate * self.decay_rate ** tf.cast(decays, tf.float32)


def make_optimizer(
    config: TrainingConfig, steps_per_epoch: int, steps: int
) -> keras.optimizers.Optimizer:
    """The Keras optimizer that a configuration describes, without clipping."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if config.warmup_steps else rate,
            max(1, steps - config.warmup_steps),
            alpha=0.01,
            warmup_target=rate if config.warmup_steps else None,
            warmup_steps=config.warmup_steps,
        )
    elif config.schedule == "epoch":
        rate = EpochDecay(rate, config.decay_rate, config.decay_after, steps_per_epoch)
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate, beta_2=config.beta_2)
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, rho=config.rho)
    return keras.optimizers.SGD(rate)


class StepResult(NamedTuple):
    """What one training step reports; scalars, over all replicas.

    Attributes:
      loss: nats per character.
      gradient_norm: global norm before clipping.
      layer_gradient_norms: `[layers]`, likewise of the weights that are each layer's own; zeros
        where the layers share all of them.
    """

    loss: tf.Tensor
    gradient_norm: tf.Tensor
    layer_gradient_norms: tf.Tensor


class Sums(NamedTuple):
    """What one evaluation window adds up; scalars, over all replicas.

    Attributes:
      nats: sum of -ln p.
      correct: characters that were the likeliest.
      characters: characters that count.
    """

    nats: tf.Tensor
    correct: tf.Tensor
    characters: tf.Tensor


class Learner:
    """A model and its optimizer, mirrored on the replicas of a strategy.

    Forward and backward pass are compiled per replica as the plan says: on accelerators as one XLA
    program, on a CPU maybe as one for each group of its streams. Gradients are then summed over the
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
          strategy: where.
          model_config: the architecture.
          vocabulary_size: number of distinct characters.
          config: how to train.
          steps_per_epoch: for schedules that count epochs.
          steps: in all, for schedules that end.
          plan: how to execute the net; None for what the configuration leads to here.
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
        self.plan = plan._replace(recompute=config.recompute)
        compilation = self.plan.compilation
        whole = compilation.whole
        # The parts of an XLA program are programs, which this class runs; others are up to the net.
        self._split = Split.of(self.replica_batch, compilation.parts if whole else 1)
        if whole:
            compilation = compilation._replace(parts=1)
        self._forward_backward = tf.function(
            self._forward_backward, autograph=False, jit_compile=whole
        )
        self._forward = tf.function(self._forward, autograph=False, jit_compile=whole)
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            net_plan = self.plan._replace(compilation=compilation)
            self.model = CharacterModel(model_config, vocabulary_size, net_plan)
            self.optimizer = make_optimizer(config, steps_per_epoch, steps)
            self.optimizer.build(self.model.trainable_variables)

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
    def _local_replicas(self):
        return len(self.strategy.extended.worker_devices)

    @property
    def _first_replica(self):
        return this_worker().index * self._local_replicas

    @tf.function(autograph=False)
    def initial_state(self) -> CharacterState:
        """The zero state of all streams, each replica's on its device."""
        return self.strategy.run(lambda: self.model.initial_state(self.replica_batch))

    @tf.function(autograph=False)
    def train(
        self, ids: tf.Tensor, state: CharacterState, step: tf.Tensor
    ) -> tuple[StepResult, CharacterState]:
        """One step on the next window of every stream.

        Args:
          ids: `[replica_batch, window]`, int32, per replica.
          state: what the window before left, per replica.
          step: int64, decides the dropout masks.
        """
        result, state = self.strategy.run(self._train_replica, (ids, state, step))
        first = self.strategy.experimental_local_results
        return StepResult(*(first(value)[0] for value in result)), state

    def _train_replica(self, ids, state, step):
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in(
            tf.stack([self.config.seed, replica]), tf.cast(step, tf.int32)
        )
        (loss, *gradients), state = self._side_by_side(self._forward_backward, ids, state, seed)
        loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])
        norm, layer_norms = self._norms(gradients)
        gradients = self._clip(gradients, norm)
        context.merge_call(self._apply, args=(gradients,))
        return (loss, norm, layer_norms), state

    def _side_by_side(self, program, ids, state, *seed):
        """Sums and the new state, from a program that runs for each group of streams."""
        if len(self._split.sizes) == 1:
            return program(ids, state, *seed)
        states = zip(*map(self._split.parts, state, STREAMS), strict=True)
        fold_in = tf.random.experimental.stateless_fold_in
        found = [
            program(ids, CharacterState(*state), *(fold_in(one, number) for one in seed))
            for number, (ids, state) in enumerate(
                zip(self._split.parts(ids, 0), states, strict=True)
            )
        ]
        sums, states = zip(*found, strict=True)
        state = CharacterState(*map(tf.concat, zip(*states, strict=True), STREAMS))
        return tf.nest.map_structure(lambda *ones: tf.add_n(ones), *sums), state

    def _norms(self, gradients):
        """The global norm, and that of each layer's own weights."""
        layers = self.model.config.layers
        own = {v.path for v in self.model.net.trainable_variables if v.shape[0] == layers}
        everything, by_layer = tf.zeros([]), tf.zeros([layers])
        for variable, gradient in zip(self.model.trainable_variables, gradients, strict=True):
            squares = tf.reduce_sum(gradient**2, axis=range(1, gradient.shape.rank))
            everything += tf.reduce_sum(squares)
            if variable.path in own:
                by_layer += squares
        return tf.sqrt(everything), tf.sqrt(by_layer)

    def _forward_backward(self, ids, state, seed):
        """Loss and gradients as this replica's share of the mean over the whole batch."""
        with tf.GradientTape() as tape:
            logits, state = self.model(ids, state, training=True, seed=seed)
            losses, _ = character_losses(logits, ids)
            loss = tf.reduce_sum(losses) / (self.config.batch_size * self.config.window)
        gradients = tape.gradient(loss, [v.value for v in self.model.trainable_variables])
        return [loss, *map(tf.convert_to_tensor, gradients)], state

    def _clip(self, gradients, norm):
        if self.config.clip_value:
            limit = self.config.clip_value
            gradients = [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
            norm = tf.linalg.global_norm(gradients)
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm, norm)
        return gradients

    def _apply(self, strategy, gradients):
        # `Optimizer.apply` would sum the gradients over the replicas once more.
        rate = self.learning_rate()
        for variable, gradient in zip(self.model.trainable_variables, gradients, strict=True):
            strategy.extended.update(
                variable.value, self._update, args=(gradient, rate), group=False
            )
        self.optimizer.iterations.assign_add(1)

    def _update(self, variable, gradient, rate):
        self.optimizer.update_step(gradient, variable, rate)

    @tf.function(autograph=False)
    def evaluate(self, ids: tf.Tensor, state: CharacterState) -> tuple[Sums, CharacterState]:
        """Adds up the losses of a window; arguments as for `train`."""
        sums, state = self.strategy.run(self._evaluate_replica, (ids, state))
        reduce = self.strategy.reduce
        return Sums(*(reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in sums)), state

    def _evaluate_replica(self, ids, state):
        # Only a function that is called from within a replica is traced once for each.
        return self._side_by_side(self._forward, ids, state)

    def _forward(self, ids, state):
        logits, state = self.model(tf.maximum(ids, 0), state)
        losses, counted = character_losses(logits, ids)
        hits = tf.cast(tf.argmax(logits, -1, tf.int32) == tf.transpose(ids), losses.dtype) * counted
        return Sums(tf.reduce_sum(losses), tf.reduce_sum(hits), tf.reduce_sum(counted)), state

    def spread(self, windows: tf.data.Dataset) -> Iterator[tf.Tensor]:
        """Windows `[rows, window]`, each cut into the parts of this worker's replicas, in order.

        `experimental_distribute_dataset` would do the same, but its iterator has malloc give freed
        memory back at once (a remedy for a leak of Python 3.11). XLA's buffers are then mapped anew
        for every step, which costs as much as the step.
        """
        first, replicas = self._first_replica, self._local_replicas

        def replica_parts(ids):
            parts = np.split(ids, replicas)
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(parts[context.replica_id_in_sync_group - first])
            )

        # Between steps Python's code leaves the processor's caches: handing over one window takes
        # some percent of a small net's step, and each further one a tenth of that.
        for several in read_ahead(windows):
            yield from [replica_parts(ids) for ids in several]

    def validate(self, windows: tf.data.Dataset) -> float:
        """The mean loss over windows, in nats per character, state carried through."""
        state = self.initial_state()
        nats = characters = 0.0
        for ids in self.spread(windows):
            sums, state = self.evaluate(ids, state)
            nats += float(sums.nats)
            characters += float(sums.characters)
        return nats / max(characters, 1.0)

    def learning_rate(self) -> tf.Tensor:
        """The rate of the next step."""
        return tf.convert_to_tensor(self.optimizer.learning_rate)

    def weight_norm(self) -> tf.Tensor:
        """Global norm of all weights."""
        return tf.linalg.global_norm([v.value for v in self.model.trainable_variables])


def _device(strategy):
    devices = strategy.extended.worker_devices
    return "cpu" if all("CPU" in device.upper() for device in devices) else "accelerator"
