"""The updates of weights from gradients: schedule, clipping, optimizer, decay and averages."""

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipeline.settings import TrainingConfig
from pipeline.training.weight_averages import WeightAverages


class EpochDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that decays per epoch.

    learning_rate = rate * decay_rate ** max(0, epoch - decay_after), epochs counted from 0.

    Args:
      rate: Learning rate of the first epochs.
      decay_rate: Factor per epoch.
      decay_after: Epochs before the decay begins.
      steps_per_epoch: Steps of an epoch.
    """

    def __init__(self, rate: float, decay_rate: float, decay_after: int, steps_per_epoch: int):
        self.rate = rate
        self.decay_rate = decay_rate
        self.decay_after = decay_after
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        epoch = tf.cast(step, tf.int64) // self.steps_per_epoch
        decays = tf.maximum(epoch - self.decay_after, 0)
        return self.rate * self.decay_rate ** tf.cast(decays, tf.float32)


def make_optimizer(
    config: TrainingConfig, steps_per_epoch: int, steps: int
) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer that a configuration describes, without clipping.

    Args:
      config: Configuration of the training.
      steps_per_epoch: Steps of an epoch, for the epoch schedule.
      steps: Steps of the training, for the cosine schedule.
    """
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


class WeightUpdates:
    """The optimizer of weights that are mirrored on the replicas of a strategy.

    Attributes:
      optimizer: Keras optimizer.
      averages: Moving averages of the weights; None if the configuration has no decay for them.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        variables: Sequence[keras.Variable],
        config: TrainingConfig,
        steps_per_epoch: int,
        steps: int,
    ):
        """Creates the optimizer's variables.

        Args:
          strategy: Strategy that places the replicas on devices.
          variables: Trainable variables, which were created in its scope.
          config: Configuration of the training.
          steps_per_epoch: Steps of an epoch, for schedules that count epochs.
          steps: Steps of the training, for schedules that end.
        """
        self._variables = list(variables)
        self._config = config
        with strategy.scope():
            self.optimizer = make_optimizer(config, steps_per_epoch, steps)
            self.optimizer.build(self._variables)
        self.averages: WeightAverages | None = None
        if config.average_decay:
            self.averages = WeightAverages(strategy, self._variables, config.average_decay)

    def clip(self, gradients: list[tf.Tensor], norm: tf.Tensor) -> list[tf.Tensor]:
        """Returns gradients clipped as the configuration says.

        Args:
          gradients: Gradients of all variables.
          norm: Their global norm.
        """
        if self._config.clip_value:
            limit = self._config.clip_value
            gradients = [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
            norm = tf.linalg.global_norm(gradients)
        if self._config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._config.clip_norm, norm)
        return gradients

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Takes a step; to be called on every replica, with the gradients summed over all.

        Args:
          gradients: Gradients of all variables.
        """
        tf.distribute.get_replica_context().merge_call(self._apply, args=(gradients,))

    def _apply(self, strategy: tf.distribute.Strategy, gradients: list[tf.Tensor]) -> None:
        # `Optimizer.apply` would sum the gradients over the replicas once more.
        rate = self.learning_rate()
        for variable, gradient in zip(self._variables, gradients, strict=True):
            decay = self._config.weight_decay if variable.name.endswith("kernel") else 0.0
            strategy.extended.update(
                variable.value, self._update, args=(gradient, rate, decay), group=False
            )
        self.optimizer.iterations.assign_add(1)
        if self.averages:
            self.averages.follow(self.optimizer.iterations)

    def _update(
        self, variable: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, decay: float
    ) -> None:
        if decay:  # decoupled from the gradient, whose scale an adaptive optimizer takes out
            variable.assign_sub(rate * decay * variable)
        self.optimizer.update_step(gradient, variable, rate)

    def evaluated(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which variables have the values that are evaluated and exported."""
        return self.averages.in_place_of_weights() if self.averages else contextlib.nullcontext()

    def learning_rate(self) -> tf.Tensor:
        """Returns the learning rate of the next step."""
        return tf.convert_to_tensor(self.optimizer.learning_rate)
