"""The decode step: all layers of a net at one time step, one step after another.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined. The vectors that can enter the bottom are as many as there
are characters, so their products are kept in a table.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ..cells.cell import Cell
from ..cells.lstm import LSTM
from ..config import Precision
from ..core import CoreInputs, DecodeOutput, DecodeStep, State
from ..errors import InputError
from ..grid.equations import GridEquations
from ..grid.mogrifier import mogrify, round_preactivation, rounds_in_order
from ..grid.reference import DimensionWeights, dimension_forward
from ..stacked.layer_loop import OUTPUT_EQUATION
from ..stacked.weights import StackedWeights
from .packed_kernels import PackedKernel, QuantizedKernel, is_shared, pack
from .packed_weights import PackedWeights, Products, quantize_all, require_bounded, table_of

TIME, DEPTH = 0, 1

BlockOutput = tuple[tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, ...]]
"""The hidden and memory vectors along depth, and what leaves the block for the next step."""


def pack_grid(
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    precision: Precision,
    entering: tf.Tensor | None = None,
) -> PackedWeights:
    """Packs the kernels of a 2-D grid for `grid_decode_step`.

    Args:
      weights: The weights of time and depth.
      equations: The equations of the blocks.
      precision: The precision of the products.
      entering: All hidden vectors that can enter the bottom, `[vectors, units]`, for a table of
        their products, which is made if it has no more numbers than the kernels; None for no table.

    Raises:
      InputError: For 8-bit integers, if what enters a product is not bounded by 1.
    """
    for i in range(equations.dimensions):
        require_bounded(equations.cell(i), precision)
    if equations.mogrifier_rounds and precision == "int8":
        raise InputError(
            "the hidden vectors that a mogrifier gates are not all within 1 of 0, as kernels of "
            "8-bit integers need them; use float32 or bfloat16"
        )
    if equations.mogrifier_rounds:
        entering = None  # what enters the bottom is gated by what time carries
    exact = [one.kernel for one in weights]
    kernels, scales = quantize_all(exact, precision)
    units = kernels[TIME].shape[1] // 2
    columns = [slice(source * units, (source + 1) * units) for source in (TIME, DEPTH)]

    def pack_source(source: int, is_new: bool) -> list[PackedKernel]:
        users = _users(equations, source, is_new)
        return pack([kernels[i][:, columns[source]] for i in users], precision)

    first = {i: exact[i][0, columns[DEPTH]] for i in _users(equations, DEPTH, False)}
    return PackedWeights(
        old=tuple(pack_source(i, is_new=False) for i in (TIME, DEPTH)),
        new=tuple(pack_source(i, is_new=True) for i in (TIME, DEPTH)),
        scales=scales,
        table=table_of(entering, first, scales, exact),
    )


def _users(equations: GridEquations, source: int, is_new: bool) -> list[int]:
    """Returns the dimensions whose product takes the old, or the new, hidden vector of another."""
    group_of = {
        i: group for group, members in enumerate(equations.computation_order) for i in members
    }
    return [i for i in (TIME, DEPTH) if (group_of[i] > group_of[source]) == is_new]


def grid_decode_step(
    packed: PackedWeights, weights: Sequence[DimensionWeights], equations: GridEquations
) -> DecodeStep:
    """Returns the decode step of a 2-D grid.

    Its blocks are those of `reference.grid_block`; all but the products is computed in the dtype of
    the memory.

    Args:
      packed: The kernels as `pack_grid` returned them.
      weights: The weights of time and depth. Of their kernels only those of the mogrifier are used,
        in the dtype of the memory.
      equations: The equations of the blocks.
    """
    widths = [one.bias.shape[1] for one in weights]

    def products(source: int, kernels: list[PackedKernel], is_new: bool) -> Products:
        return Products(kernels, {i: widths[i] for i in _users(equations, source, is_new)})

    old = [products(source, kernels, False) for source, kernels in enumerate(packed.old)]
    new = [products(source, kernels, True) for source, kernels in enumerate(packed.new)]
    loops = _is_quantized_and_shared(packed)
    split_layers = tf.convert_to_tensor if loops else tf.unstack
    vectors = [
        tf.nest.map_structure(
            lambda part: None if part is None else split_layers(part),
            (one.bias, one.gain, one.parameters),
        )
        for one in weights
    ]
    targets = equations.mogrifier_targets
    rounds = rounds_in_order([one.mogrifier for one in weights], targets)
    scales = [split_layers(one) for one in packed.scales]

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        old_memories = split_layers(state.memory)
        recurrent: dict[int, Any] = {}
        if not rounds:  # else they wait for the layers below, which gate the hidden vectors
            products = old[TIME].of_all(state.hidden)
            recurrent = {i: split_layers(product) for i, product in products.items()}

        def block(layer: Any, below: dict[int, tf.Tensor], memory: tf.Tensor) -> BlockOutput:
            sums = {i: products[layer] for i, products in recurrent.items()}
            _add(sums, below)
            hiddens: list[Any] = [None, None]
            memories = [old_memories[layer], memory]
            activations: list[Any] = [None, None]
            for group in equations.computation_order:
                for i in group:
                    bias, gain, parameters = vectors[i]
                    product = sums[i] * _at_layer(scales[i], layer) if scales else sums[i]
                    output = dimension_forward(
                        equations,
                        i,
                        product,
                        _at_layer(bias, layer),
                        None if gain is None else _at_layer(gain, layer),
                        memories[i],
                        tuple(_at_layer(one, layer) for one in parameters),
                    )
                    hiddens[i], memories[i] = output.hidden, output.memory
                    activations[i] = output.activations
                for i in group:
                    _add(sums, new[i].of_layer(layer, hiddens[i]))
            leaving = hiddens[TIME], memories[TIME], _stack_gates(activations)
            return hiddens[DEPTH], memories[DEPTH], leaving

        def entering_products(layer: Any, hidden: tf.Tensor) -> dict[int, tf.Tensor]:
            """Returns the products of what comes from below, and if gated of time's vector."""
            if not rounds:
                return old[DEPTH].of_layer(layer, hidden)
            own = tf.nest.map_structure(lambda part: _at_layer(part, layer), rounds)
            gated = mogrify((state.hidden[layer], hidden), targets, round_preactivation(own))
            sums = old[TIME].of_layer(layer, gated[TIME])
            _add(sums, old[DEPTH].of_layer(layer, gated[DEPTH]))
            return sums

        def block_above(layer: Any, hidden: tf.Tensor, memory: tf.Tensor) -> BlockOutput:
            return block(layer, entering_products(layer, hidden), memory)

        layers = state.hidden.shape[0]
        if rounds:
            below = entering_products(0, inputs.hidden)
        else:
            below = old[DEPTH].of_entering(inputs.hidden, packed.table)
        first = block(0, below, inputs.memory)
        stack = _loop_layers if loops else _unroll_layers
        return stack(block_above, layers, *first, gates)

    return decode


def _stack_gates(activations: list[tf.Tensor]) -> tf.Tensor:
    """Stacks the gates of the dimensions, with zeros after those of a cell with fewer."""
    widest = max(part.shape[-1] for part in activations)
    padded = [
        part if part.shape[-1] == widest else tf.pad(part, [[0, 0], [0, widest - part.shape[-1]]])
        for part in activations
    ]
    return tf.stack(padded)


def _is_quantized_and_shared(packed: PackedWeights) -> bool:
    """Returns whether all kernels are integers that all layers share."""
    kernels = [kernel for source in (*packed.old, *packed.new) for kernel in source]
    return all(isinstance(kernel, QuantizedKernel) and is_shared(kernel) for kernel in kernels)


def _unroll_layers(
    block: Callable, layers: int, hidden: tf.Tensor, memory: Any, leaving: tuple, gates: bool
) -> DecodeOutput:
    """Computes the blocks one above the other, from the second on."""
    columns = [leaving]
    for layer in range(1, layers):
        hidden, memory, leaving = block(layer, hidden, memory)
        columns.append(leaving)
    return _output(hidden, [tf.stack(part) for part in zip(*columns, strict=True)], gates)


def _loop_layers(
    block: Callable, layers: int, hidden: tf.Tensor, memory: tf.Tensor, leaving: tuple, gates: bool
) -> DecodeOutput:
    """Computes the same in a loop: every product in the graph would keep a copy of its kernel."""

    def write(arrays: list, layer: Any, leaving: tuple) -> list:
        wanted = leaving[: len(arrays)]
        return [array.write(layer, part) for array, part in zip(arrays, wanted, strict=True)]

    def body(layer: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, arrays: list) -> tuple:
        hidden, memory, leaving = block(layer, hidden, memory)
        return layer + 1, hidden, memory, write(arrays, layer, leaving)

    # What a loop writes is computed, wanted or not.
    leading = ((), (), (2,)) if gates else ((), ())
    arrays = [
        tf.TensorArray(memory.dtype, layers, element_shape=[*sizes, None, None])
        for sizes in leading
    ]
    _, hidden, _, arrays = tf.while_loop(
        lambda layer, *_: layer < layers,
        body,
        (1, hidden, memory, write(arrays, 0, leaving)),
    )
    return _output(hidden, [array.stack() for array in arrays], gates)


def _output(hidden: tf.Tensor, parts: list[tf.Tensor], gates: bool) -> DecodeOutput:
    new_hidden, new_memory, *activations = parts
    return DecodeOutput(
        hidden=hidden,
        state=State(hidden=new_hidden, memory=new_memory),
        gates=activations[0] if gates else None,
    )


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
      entering: All hidden vectors that can enter the bottom; see `pack_grid`.
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
    first = {TIME: weights.kernel[0, : below.shape[1]]}
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
    own, below = (Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)
    biases, parameters = tf.nest.map_structure(tf.unstack, (weights.bias, weights.parameters))
    scales = [tf.unstack(one) for one in packed.scales]

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        recurrent = tf.unstack(own.of_all(state.hidden)[TIME])
        old_memories = tf.unstack(state.memory)

        def block(layer: int, products: dict[int, tf.Tensor], memory: Any) -> BlockOutput:
            entering = old_memories[layer]
            if cell.takes_memory_below:
                lower = tf.zeros_like(entering) if memory is None else memory
                entering = tf.concat([entering, lower], axis=-1)
            product = recurrent[layer] + products[TIME]
            if scales:
                product *= scales[TIME][layer]
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
        return _unroll_layers(block_above, state.hidden.shape[0], *first, gates)

    return decode


def _at_layer(parts: Any, layer: Any) -> tf.Tensor:
    """Returns the part of a layer, or the one that all layers share."""
    shared = (len(parts) if isinstance(parts, list) else parts.shape[0]) == 1
    return parts[0 if shared else layer]


def _add(sums: dict[int, tf.Tensor], products: dict[int, tf.Tensor]) -> None:
    """Adds products to the sums of the dimensions that use them."""
    for user, product in products.items():
        sums[user] = sums[user] + product if user in sums else product
