"""The decode step: all layers of a net at one time step, one step after another.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined. The vectors that can enter the bottom are as many as there
are characters, so their products are kept in a table.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.lstm import lstm_forward
from ..config import Precision
from ..core import CoreInputs, DecodeOutput, DecodeStep, State
from ..errors import InputError
from ..grid.equations import GridEquations
from ..grid.reference import DimensionWeights, dimension_forward
from ..stacked.weights import StackedWeights
from .packed_kernels import (
    PackedKernel,
    QuantizedKernel,
    is_shared,
    pack,
    product_of_layer,
    product_of_unbounded,
    products_of_all,
    quantize,
)

TIME, DEPTH = 0, 1

BlockOutput = tuple[tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, ...]]
"""The hidden and memory vectors along depth, and what leaves the block for the next step."""


class PackedWeights(NamedTuple):
    """The kernels of a net, by the vectors that they are applied to.

    Attributes:
      old: The kernels of the hidden vectors that enter a block, per dimension; of a stacked LSTM
        those of its own old vector and of the layer below.
      new: The kernels of the hidden vectors that leave a grid's block, per dimension.
      scales: The factors of the sums of products, per dimension, `[layers | 1, width]`; empty
        unless the kernels are integers.
      table: The sums of products of the vectors that can enter the bottom, a row each,
        `[vectors, width]`; empty without a table.
    """

    old: tuple[list[PackedKernel], ...]
    new: tuple[list[PackedKernel], ...] = ()
    scales: tuple[tf.Tensor, ...] = ()
    table: tuple[tf.Tensor, ...] = ()


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
      InputError: For 8-bit integers, if a cell's hidden vectors are not bounded by 1.
    """
    unbounded = [name for i, name in enumerate(equations.cells) if not equations.cell(i).is_bounded]
    if precision == "int8" and unbounded:
        raise InputError(
            f"cells is {equations.cells}; kernels of 8-bit integers need hidden vectors within 1 "
            f"of 0, which those of {unbounded[0]!r} are not"
        )
    exact = [one.kernel for one in weights]
    kernels, scales = _quantize_all(exact, precision)
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
        table=_table(entering, first, scales, exact),
    )


def _quantize_all(
    kernels: list[tf.Tensor], precision: Precision
) -> tuple[Sequence[tf.Tensor], tuple[tf.Tensor, ...]]:
    """Returns the kernels as `packed_kernels.pack` takes them, and their scales if any."""
    if precision != "int8":
        return kernels, ()
    integers, scales = zip(*map(quantize, kernels), strict=True)
    return integers, scales


def _table(
    entering: tf.Tensor | None,
    first: dict[int, tf.Tensor],
    scales: tuple[tf.Tensor, ...],
    kernels: list[tf.Tensor],
) -> tuple[tf.Tensor, ...]:
    """Returns `PackedWeights.table` from the first layer's kernels, by the dimension using them."""
    width = sum(kernel.shape[1] for kernel in first.values())
    most = sum(kernel.shape.num_elements() for kernel in kernels)
    if entering is None or entering.shape[0] * width > most:
        return ()
    products = {i: entering @ tf.cast(kernel, entering.dtype) for i, kernel in first.items()}
    if scales:
        products = {i: tf.math.divide_no_nan(one, scales[i][0]) for i, one in products.items()}
    return (tf.concat(list(products.values()), axis=-1),)


def _users(equations: GridEquations, source: int, is_new: bool) -> list[int]:
    """Returns the dimensions whose product takes the old, or the new, hidden vector of another."""
    stage_of = {i: stage for stage, members in enumerate(equations.stages) for i in members}
    return [i for i in (TIME, DEPTH) if (stage_of[i] > stage_of[source]) == is_new]


def grid_decode_step(
    packed: PackedWeights, weights: Sequence[DimensionWeights], equations: GridEquations
) -> DecodeStep:
    """Returns the decode step of a 2-D grid.

    Its blocks are those of `reference.grid_block`; all but the products is computed in the dtype of
    the memory.

    Args:
      packed: The kernels as `pack_grid` returned them.
      weights: The weights of time and depth; their kernels are not used.
      equations: The equations of the blocks.
    """
    widths = [one.bias.shape[1] for one in weights]

    def products(source: int, kernels: list[PackedKernel], is_new: bool) -> _Products:
        return _Products(kernels, {i: widths[i] for i in _users(equations, source, is_new)})

    old = [products(source, kernels, False) for source, kernels in enumerate(packed.old)]
    new = [products(source, kernels, True) for source, kernels in enumerate(packed.new)]
    loops = _is_quantized_and_shared(packed)
    split_layers = tf.convert_to_tensor if loops else tf.unstack
    vectors = [
        [split_layers(part) for part in (one.bias, one.gain) if part is not None] for one in weights
    ]
    scales = [split_layers(one) for one in packed.scales]

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        recurrent = {
            i: split_layers(products) for i, products in old[TIME].of_all(state.hidden).items()
        }
        old_memories = split_layers(state.memory)

        def block(layer: Any, below: dict[int, tf.Tensor], memory: tf.Tensor) -> BlockOutput:
            sums = {i: products[layer] for i, products in recurrent.items()}
            _add(sums, below)
            hiddens: list[Any] = [None, None]
            memories = [old_memories[layer], memory]
            activations: list[Any] = [None, None]
            for stage in equations.stages:
                for i in stage:
                    bias, *gain = (_at_layer(part, layer) for part in vectors[i])
                    product = sums[i] * _at_layer(scales[i], layer) if scales else sums[i]
                    output = dimension_forward(
                        equations, i, product, bias, gain[0] if gain else None, memories[i]
                    )
                    hiddens[i], memories[i] = output.hidden, output.memory
                    activations[i] = output.activations
                for i in stage:
                    _add(sums, new[i].of_layer(layer, hiddens[i]))
            leaving = hiddens[TIME], memories[TIME], tf.stack(activations)
            return hiddens[DEPTH], memories[DEPTH], leaving

        layers = state.hidden.shape[0]
        first = block(0, old[DEPTH].of_entering(inputs.hidden, packed.table), inputs.memory)

        def block_above(layer: Any, hidden: tf.Tensor, memory: tf.Tensor) -> BlockOutput:
            return block(layer, old[DEPTH].of_layer(layer, hidden), memory)

        stack = _loop_layers if loops else _unroll_layers
        return stack(block_above, layers, *first, gates)

    return decode


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
    weights: StackedWeights, precision: Precision, entering: tf.Tensor | None = None
) -> PackedWeights:
    """Packs the kernels of a stacked LSTM for `stacked_decode_step`.

    Args:
      weights: The weights.
      precision: The precision of the products.
      entering: All hidden vectors that can enter the bottom; see `pack_grid`.
    """
    assert weights.kernel is not None
    (kernel,), scales = _quantize_all([weights.kernel], precision)
    below, own = tf.split(kernel, 2, axis=1)
    first = {TIME: weights.kernel[0, : below.shape[1]]}
    return PackedWeights(
        old=(pack([own], precision), pack([below], precision)),
        scales=scales,
        table=_table(entering, first, scales, [weights.kernel]),
    )


def stacked_decode_step(packed: PackedWeights, weights: StackedWeights) -> DecodeStep:
    """Returns the decode step of a stacked LSTM; see `stacked.recurrence.stacked_lstm`.

    All but the products is computed in the dtype of the memory.

    Args:
      packed: The kernels as `pack_stacked` returned them.
      weights: The weights; the kernels are not used.
    """
    own, below = (_Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)
    biases = tf.unstack(weights.bias)
    scales = [tf.unstack(one) for one in packed.scales]

    def decode(inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        recurrent = tf.unstack(own.of_all(state.hidden)[TIME])
        old_memories = tf.unstack(state.memory)

        def block(layer: int, products: dict[int, tf.Tensor]) -> BlockOutput:
            product = recurrent[layer] + products[TIME]
            if scales:
                product *= scales[TIME][layer]
            output = lstm_forward(product, biases[layer], old_memories[layer])
            leaving = output.hidden, output.memory, output.activations[None]
            return output.hidden, None, leaving

        def block_above(layer: int, hidden: tf.Tensor, _: None) -> BlockOutput:
            return block(layer, below.of_layer(layer, hidden))

        first = block(0, below.of_entering(inputs.hidden, packed.table))
        return _unroll_layers(block_above, state.hidden.shape[0], *first, gates)

    return decode


class _Products:
    """Products of the same vectors with packed kernels, by the dimension that uses them."""

    def __init__(self, kernels: list[PackedKernel], widths: dict[int, int]):
        self._kernels = kernels
        self._widths = widths

    def of_all(self, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """Returns the products of `[layers, batch, units]`, each layer with its own kernel."""
        return self._by_user([products_of_all(kernel, rows) for kernel in self._kernels])

    def of_entering(self, hidden: tf.Tensor, table: tuple[tf.Tensor, ...]) -> dict[int, tf.Tensor]:
        """Returns the products of what enters the bottom with the first layer's kernels."""
        if table:
            return self._by_user([tf.gather(one, hidden) for one in table])
        return self._by_user([product_of_unbounded(one, hidden) for one in self._kernels])

    def of_layer(self, layer: Any, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """Returns the products of `[batch, units]` with the kernels of one layer."""
        return self._by_user([product_of_layer(one, layer, rows) for one in self._kernels])

    def _by_user(self, products: list[tf.Tensor]) -> dict[int, tf.Tensor]:
        """Splits joined products, and cuts off the columns of padding."""
        widths = list(self._widths.values())
        if len(products) < len(widths):
            padding = products[0].shape[-1] - sum(widths)
            products = tf.split(products[0], [*widths, padding], axis=-1)[:-1]
        return {
            user: product if product.shape[-1] == width else product[..., :width]
            for (user, width), product in zip(self._widths.items(), products, strict=True)
        }


def _at_layer(parts: Any, layer: Any) -> tf.Tensor:
    """Returns the part of a layer, or the one that all layers share."""
    shared = (len(parts) if isinstance(parts, list) else parts.shape[0]) == 1
    return parts[0 if shared else layer]


def _add(sums: dict[int, tf.Tensor], products: dict[int, tf.Tensor]) -> None:
    """Adds products to the sums of the dimensions that use them."""
    for user, product in products.items():
        sums[user] = sums[user] + product if user in sums else product
