"""The weights of a stacked LSTM."""

from typing import NamedTuple

import tensorflow as tf

from ..cells.cell import Parameters

BELOW, TIME = 0, 1
"""The indices of the hidden vectors in `[h_below, h_time]`, which kernels are applied to."""


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM, or of a stacked net of another cell.

    Attributes:
      kernel: The kernels, `[layers, 2 * units, gates * units]`, applied to `[h_below, h_time]`;
        None where packed kernels take their place.
      bias: The biases, `[layers, gates * units]`.
      parameters: The cell's own parameters, `[layers, ...]` each; see `cells.cell.Cell`.
    """

    kernel: tf.Tensor | None
    bias: tf.Tensor
    parameters: Parameters = ()
