"""The weights of a stacked LSTM."""

from typing import NamedTuple

import tensorflow as tf


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM.

    Attributes:
      kernel: `[layers, 2 * units, 4 * units]`, applied to `[h_below, h_time]`.
      bias: `[layers, 4 * units]`.
    """

    kernel: tf.Tensor
    bias: tf.Tensor
