"""Exponential moving averages of the weights, which are evaluated and exported in their place.

    a_t = d_t * a_{t-1} + (1 - d_t) * w_t,    d_t = min(decay, (1 + t) / (10 + t))

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); d_t rises with
the step t, as in `tf.train.ExponentialMovingAverage`, so that the random initial weights are soon
forgotten.
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class WeightAverages(tf.Module):
    """The averages of the weights of a model, on every replica of a strategy.

    Attributes:
      averages: The averages, in the order of the variables.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        variables: Sequence[keras.Variable],
        decay: float,
    ):
        """Begins with the initial weights.

        Args:
          strategy: Strategy of the variables.
          variables: Variables of the model.
          decay: Decay of the averages, between 0 and 1.
        """
        super().__init__()
        self._strategy = strategy
        self._variables = [variable.value for variable in variables]
        self._decay = decay
        with strategy.scope():
            self.averages = [
                tf.Variable(tf.convert_to_tensor(variable), trainable=False)
                for variable in self._variables
            ]

    def follow(self, step: tf.Tensor) -> None:
        """Moves the averages towards the weights after a step.

        It is called in the cross-replica context.

        Args:
          step: Number of steps done, a scalar.
        """
        done = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1 + done) / (10 + done))

        def move(average: tf.Variable, weight: tf.Tensor) -> None:
            average.assign_add((1 - decay) * (weight - average))

        for average, variable in zip(self.averages, self._variables, strict=True):
            self._strategy.extended.update(average, move, args=(variable,), group=False)

    @contextlib.contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Exchanges weights and averages, and exchanges them back at the end."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @tf.function(autograph=False)
    def exchange(self) -> None:
        """Exchanges weights and averages, so that the model has the averages."""

        def swap(average: tf.Variable, weight: tf.Variable) -> None:
            new = tf.identity(average)
            average.assign(weight)
            weight.assign(new)

        for average, variable in zip(self.averages, self._variables, strict=True):
            self._strategy.extended.update(average, swap, args=(variable,), group=False)
