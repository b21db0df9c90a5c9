"""Constraints and regularizers of weights of several layers, applied to each layer's by itself."""

from collections.abc import Callable

import tensorflow as tf

Function = Callable[[tf.Tensor], tf.Tensor]


def constraint_of_layers(constraint: Function | None) -> Function | None:
    """Returns a constraint of a variable `[layers, ...]` that holds for the weights of each layer.

    Keras's constraints are of one kernel: their axis 0 is that of its inputs, and would be that of
    the layers.

    >>> weights = tf.reshape(tf.constant([3.0, 4.0, 6.0, 8.0]), [2, 2, 1])
    >>> unit_norm = constraint_of_layers(keras.constraints.UnitNorm(axis=0))
    >>> np.round(unit_norm(weights)[..., 0], 3)
    array([[0.6, 0.8],
           [0.6, 0.8]], dtype=float32)

    Args:
      constraint: The constraint of one layer's weights, or None.
    """
    if constraint is None:
        return None

    def constrained(weights: tf.Tensor) -> tf.Tensor:
        return tf.stack([constraint(one) for one in tf.unstack(tf.convert_to_tensor(weights))])

    return constrained


def regularizer_of_layers(regularizer: Function | None) -> Function | None:
    """Returns a regularizer of a variable `[layers, ...]`, the sum over the weights of each layer.

    Args:
      regularizer: The regularizer of one layer's weights, or None.
    """
    if regularizer is None:
        return None

    def penalty(weights: tf.Tensor) -> tf.Tensor:
        return tf.add_n([regularizer(one) for one in tf.unstack(tf.convert_to_tensor(weights))])

    return penalty
