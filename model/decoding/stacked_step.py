"""The decode step of a stacked net."""

from typing import Any

import tensorflow as tf

from ..cells.cell import Cell
from ..cells.lstm import LSTM
from ..config import Precision
from ..core import CoreInputs, DecodeOutput, DecodeStep, State
from ..errors import InputError
from ..stacked.layer_loop import OUTPUT_EQUATION
from ..stacked.weights import StackedWeights
from .depth_loop import BlockOutput, unroll_layers
from .packed_kernels import pack
from .packed_weights import PackedWeights, Products, quantize_all, require_bounded, table_of

OWN = 0
"""The only dimension that a stacked net's products are for."""


def pack_stacked(
    weights: StackedWeights,
    precision: Precision,
    entering: tf.Tensor | None = None,
    cell: Cell = LSTM,
    is_residual: bool = False,
) -> PackedWeights:
    """Packs the kernels of a stacked net for `stacked_decode_step`.

    Args:
      weights: The weights.
      precision: The precision of the products.
      entering: All hidden vectors that can enter the bottom; see `grid_step.pack_grid`.
      cell: The cell of the layers. Default: the LSTM.
      is_residual: Whether each layer but the first adds what it receives to its outputs. Default
        False.

    Raises:
      InputError: For 8-bit integers, if what enters the layers is not bounded by 1.
    """
    require_bounded(cell, precision)
    if is_residual and precision == "int8":
        raise InputError(
            "the outputs of residual layers are not all within 1 of 0, as kernels of 8-bit "
            "integers need them; use float32 or bfloat16"
        )
    assert weights.kernel is not None
    (kernel,), scales = quantize_all([weights.kernel], precision)
    below, own = tf.split(kernel, 2, axis=1)
    first = {OWN: weights.kernel[0, : below.shape[1]]}
    return PackedWeights(
        old=(pack([own], precision), pack([below], precision)),
        scales=scales,
        table=table_of(entering, first, scales, [weights.kernel]),
    )


def stacked_decode_step(
    packed: PackedWeights, weights: StackedWeights, cell: Cell = LSTM, is_residual: bool = False
) -> DecodeStep:
    """Returns the decode step of a stacked net; see `stacked.recurrence.stacked_lstm`.

    All but the products is computed in the dtype of the memory.

    Args:
      packed: The kernels as `pack_stacked` returned them.
      weights: The weights; the kernels are not used.
      cell: The cell of the layers. Default: the LSTM.
      is_residual: Whether each layer but the first adds what it receives to its outputs. Default
        False.
    """
    own, below = (Products(kernels, {OWN: weights.bias.shape[1]}) for kernels in packed.old)
    biases, parameters = tf.nest.map_structure(tf.unstack, (weights.bias, weights.parameters))
    scales = [tf.unstack(one) for one in packed.scales]

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        recurrent = tf.unstack(own.of_all(state.hidden)[OWN])
        old_memories = tf.unstack(state.memory)

        def block(layer: int, products: dict[int, tf.Tensor], memory: Any) -> BlockOutput:
            entering = old_memories[layer]
            if cell.takes_memory_below:
                lower = tf.zeros_like(entering) if memory is None else memory
                entering = tf.concat([entering, lower], axis=-1)
            product = recurrent[layer] + products[OWN]
            if scales:
                product *= scales[OWN][layer]
            output = cell.forward(
                product,
                biases[layer],
                entering,
                tuple(one[layer] for one in parameters),
                OUTPUT_EQUATION,
            )
            leaving = output.hidden, output.memory, output.activations[None]
            return output.hidden, output.memory, leaving

        def block_above(layer: int, hidden: tf.Tensor, memory: tf.Tensor) -> BlockOutput:
            top, *leaving = block(layer, below.of_layer(layer, hidden), memory)
            return top + hidden if is_residual else top, *leaving

        first = block(0, below.of_entering(inputs.hidden, packed.table), None)
        return unroll_layers(block_above, state.hidden.shape[0], *first, gates)

    return decode
