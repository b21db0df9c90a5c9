"""The weights of a stacked LSTM."""

from typing import NamedTuple

import tensorflow as tf


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM.

    Attributes:
      kernel: The kernels, `[layers, 2 * units, 4 * units]`, applied to `[h_below, h_time]`; None
        where packed kernels take their place.
      bias: The biases, `[layers, 4 * units]`.
    """

    kernel: tf.Tensor | None
    bias: tf.Tensor
