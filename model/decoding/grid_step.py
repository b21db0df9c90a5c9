"""The decode step of a 2-D grid: all its layers at one time step.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined. The vectors that can enter the bottom are as many as there
are characters, so their products are kept in a table.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ..config import Precision
from ..core import CoreInputs, DecodeOutput, DecodeStep, State
from ..errors import InputError
from ..grid.equations import GridEquations
from ..grid.mogrifier import mogrify, round_preactivation, rounds_in_order
from ..grid.reference import DimensionWeights, dimension_forward
from .depth_loop import BlockOutput, loop_layers, unroll_layers
from .packed_kernels import PackedKernel, QuantizedKernel, is_shared, pack
from .packed_weights import PackedWeights, Products, quantize_all, require_bounded, table_of

TIME, DEPTH = 0, 1


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
    return _GridDecodeStep(packed, weights, equations)


class _GridDecodeStep:
    """The decode step as `grid_decode_step` describes it."""

    def __init__(
        self, packed: PackedWeights, weights: Sequence[DimensionWeights], equations: GridEquations
    ):
        widths = [one.bias.shape[1] for one in weights]

        def products(source: int, kernels: list[PackedKernel], is_new: bool) -> Products:
            return Products(kernels, {i: widths[i] for i in _users(equations, source, is_new)})

        self._equations = equations
        self._table = packed.table
        self._old = [products(source, one, False) for source, one in enumerate(packed.old)]
        self._new = [products(source, one, True) for source, one in enumerate(packed.new)]
        self._loops = _is_quantized_and_shared(packed)
        self._split_layers = tf.convert_to_tensor if self._loops else tf.unstack
        self._vectors = [self._split((one.bias, one.gain, one.parameters)) for one in weights]
        self._rounds = rounds_in_order(
            [one.mogrifier for one in weights], equations.mogrifier_targets
        )
        self._scales = [self._split_layers(one) for one in packed.scales]

    def __call__(self, inputs: CoreInputs, state: State, gates: bool = False) -> DecodeOutput:
        memories = self._split_layers(state.memory)
        recurrent: dict[int, Any] = {}
        if not self._rounds:  # else they wait for the layers below, which gate the hidden vectors
            products = self._old[TIME].of_all(state.hidden)
            recurrent = {i: self._split_layers(product) for i, product in products.items()}

        def block(layer: Any, below: dict[int, tf.Tensor], memory: tf.Tensor) -> BlockOutput:
            sums = {i: products[layer] for i, products in recurrent.items()}
            _add(sums, below)
            return self._block(layer, sums, [memories[layer], memory])

        def block_above(layer: Any, hidden: tf.Tensor, memory: tf.Tensor) -> BlockOutput:
            return block(layer, self._products_below(layer, hidden, state), memory)

        if self._rounds:
            below = self._products_below(0, inputs.hidden, state)
        else:
            below = self._old[DEPTH].of_entering(inputs.hidden, self._table)
        first = block(0, below, inputs.memory)
        loop = loop_layers if self._loops else unroll_layers
        return loop(block_above, state.hidden.shape[0], *first, gates)

    def _split(self, weights: Any) -> Any:
        """Splits each of the weights by layers; None stays."""
        return tf.nest.map_structure(
            lambda part: None if part is None else self._split_layers(part), weights
        )

    def _products_below(self, layer: Any, hidden: tf.Tensor, state: State) -> dict[int, tf.Tensor]:
        """Returns the products of what comes from below, and if gated of time's vector."""
        if not self._rounds:
            return self._old[DEPTH].of_layer(layer, hidden)
        own = tf.nest.map_structure(lambda part: _at_layer(part, layer), self._rounds)
        gated = mogrify(
            (state.hidden[layer], hidden),
            self._equations.mogrifier_targets,
            round_preactivation(own),
        )
        sums = self._old[TIME].of_layer(layer, gated[TIME])
        _add(sums, self._old[DEPTH].of_layer(layer, gated[DEPTH]))
        return sums

    def _block(
        self, layer: Any, sums: dict[int, tf.Tensor], memories: list[tf.Tensor]
    ) -> BlockOutput:
        """Computes a block.

        Args:
          layer: Number of the layer.
          sums: The products of the vectors that enter, by the dimension that uses them; those of
            the vectors that leave are added.
          memories: The memory vectors of time and depth that enter.
        """
        equations = self._equations
        hiddens: list[Any] = [None, None]
        memories = list(memories)
        activations: list[Any] = [None, None]
        for group in equations.computation_order:
            for i in group:
                bias, gain, parameters = self._vectors[i]
                product = sums[i] * _at_layer(self._scales[i], layer) if self._scales else sums[i]
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
                _add(sums, self._new[i].of_layer(layer, hiddens[i]))
        leaving = hiddens[TIME], memories[TIME], _stack_gates(activations)
        return hiddens[DEPTH], memories[DEPTH], leaving


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


def _at_layer(parts: Any, layer: Any) -> tf.Tensor:
    """Returns the part of a layer, or the one that all layers share."""
    shared = (len(parts) if isinstance(parts, list) else parts.shape[0]) == 1
    return parts[0 if shared else layer]


def _add(sums: dict[int, tf.Tensor], products: dict[int, tf.Tensor]) -> None:
    """Adds products to the sums of the dimensions that use them."""
    for user, product in products.items():
        sums[user] = sums[user] + product if user in sums else product
