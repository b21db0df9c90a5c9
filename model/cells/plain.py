"""Plain cells without a memory: h' = a(W H + b), with a tanh, ReLU or the identity.

Kalchbrenner et al. (arXiv 1507.01526), section 3.2, "non-LSTM dimensions".
"""

from collections.abc import Callable

import tensorflow as tf

from ..config import OutputEquation
from .cell import Cell, CellOutput, Parameters


def _plain_cell(
    name: str,
    activation: Callable[[tf.Tensor], tf.Tensor],
    derivative: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    is_bounded: bool,
) -> Cell:
    """Returns the plain cell of an activation.

    Args:
      name: The name of the cell.
      activation: The function a.
      derivative: Maps h' and dL/dh' to dL/dz.
      is_bounded: Whether a maps into [-1, 1].
    """

    def forward(
        preactivations: tf.Tensor,
        bias: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        _: OutputEquation,
    ) -> CellOutput:
        del parameters
        hidden = activation(preactivations + tf.cast(bias, preactivations.dtype))
        return CellOutput(hidden=hidden, memory=memory, activations=hidden)

    def backward(
        activations: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        _: OutputEquation,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del memory, parameters
        return derivative(activations, d_hidden), d_memory

    return Cell(
        name=name,
        gates=1,
        memory_size=0,
        forward=forward,
        backward=backward,
        is_bounded=is_bounded,
    )


def _relu_derivative(hidden: tf.Tensor, d_hidden: tf.Tensor) -> tf.Tensor:
    return tf.where(hidden > 0, d_hidden, tf.zeros_like(d_hidden))


TANH = _plain_cell("tanh", tf.tanh, lambda hidden, d_hidden: d_hidden * (1 - hidden * hidden), True)
RELU = _plain_cell("relu", tf.nn.relu, _relu_derivative, False)
IDENTITY = _plain_cell("identity", tf.identity, lambda _, d_hidden: d_hidden, False)
