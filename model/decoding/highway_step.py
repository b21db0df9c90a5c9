"""The decode step of a recurrent highway network."""

import tensorflow as tf

from ..config import Precision
from ..core import CoreInputs, DecodeOutput, DecodeStep, State
from ..errors import InputError
from ..highway.gate import highway_forward
from ..highway.recurrence import HighwayWeights
from .packed_kernels import pack
from .packed_weights import PackedWeights, Products, table_of

TIME = 0


def pack_highway(
    weights: HighwayWeights, precision: Precision, entering: tf.Tensor | None = None
) -> PackedWeights:
    """Packs the kernels of a recurrent highway network for `highway_decode_step`.

    Args:
      weights: The weights.
      precision: The precision of the products.
      entering: All vectors that can enter, `[vectors, units]`, for a table of their products; see
        `grid_step.pack_grid`.

    Raises:
      InputError: For 8-bit integers: states that a client sends are not bounded by 1.
    """
    if precision == "int8":
        raise InputError(
            "the states of a recurrent highway network are not all within 1 of 0, as kernels of "
            "8-bit integers need them; use float32 or bfloat16"
        )
    assert weights.kernel is not None and weights.recurrent_kernel is not None
    return PackedWeights(
        old=(pack([weights.recurrent_kernel], precision), pack([weights.kernel[None]], precision)),
        table=table_of(
            entering, {TIME: weights.kernel}, (), [weights.kernel, weights.recurrent_kernel]
        ),
    )


def highway_decode_step(packed: PackedWeights, weights: HighwayWeights) -> DecodeStep:
    """Returns the decode step of a recurrent highway network; see `highway.recurrence`.

    All but the products is computed in the dtype of the memory. The micro-layers take the place of
    layers among the gates and memories of the output.

    Args:
      packed: The kernels as `pack_highway` returned them.
      weights: The weights; the kernels are not used.
    """
    own, below = (Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)
    biases = tf.unstack(weights.bias)

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        hidden, memory = state.hidden[0], state.memory[0]
        addends: tuple[tf.Tensor, ...] = (below.of_entering(inputs.hidden, packed.table)[TIME],)
        activations, memories = [], []
        for layer, bias in enumerate(biases):
            product = own.of_layer(layer, hidden)[TIME]
            output = highway_forward(product, bias, memory, *addends)
            hidden, memory, addends = output.hidden, output.carried, ()
            activations.append(output.activations[None])
            memories.append(memory)
        return DecodeOutput(
            hidden=hidden,
            state=State(hidden=hidden[None], memory=memory[None]),
            gates=tf.stack(activations) if gates else None,
            memories=tf.stack(memories) if gates else None,
        )

    return decode
