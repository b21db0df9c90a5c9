"""Stored weights: copies of weights for a model that is no longer trained."""

from typing import Any

import tensorflow as tf


def stored_variable(value: Any, dtype: Any = None) -> tf.Variable:
    """Returns a copy of a weight as a variable that is not trained.

    Args:
      value: The weight, a tensor or a variable.
      dtype: The dtype of the copy; None for that of the weight.
    """
    tensor = tf.convert_to_tensor(value)
    return tf.Variable(tf.cast(tensor, dtype or tensor.dtype), trainable=False, name="stored")
