"""The N-dimensional Grid LSTM block and the cell-by-cell evaluation of a grid of them.

This is the definition against which everything faster is tested.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.cell import Parameters
from ..cells.normalization import Normalized, normalize, normalize_gradient
from .equations import GridEquations
from .mogrifier import MogrifierRound, mogrify, round_preactivation, rounds_in_order


class Sides(NamedTuple):
    """The vectors that enter a block or a grid, or leave it; one entry per dimension.

    Those of one block are `[batch, units]`. Those of a grid have, in front, the extents of all
    other dimensions: for 2-D, time carries `[layers, batch, units]` and depth
    `[steps, batch, units]`.

    Attributes:
      hidden: The hidden vectors, in the compute dtype.
      memory: The memory vectors, in the dtype of the arithmetic, `memory_size * units` wide for the
        cell of the dimension: of width 0 for a cell without one.
    """

    hidden: tuple[tf.Tensor, ...]
    memory: tuple[tf.Tensor, ...]


class DimensionWeights(NamedTuple):
    """The weights of one dimension of a grid.

    A leading size of 1 in place of `layers` means that the layers share them. `gates` is that of
    the dimension's cell.

    Attributes:
      kernel: The kernel W, `[layers | 1, dimensions * units, gates * units]`.
      bias: The bias b, `[layers | 1, gates * units]`.
      gain: The gain of the layer normalisation, `[layers | 1, gates * units]`; None without.
      parameters: The cell's own parameters, `[layers | 1, ...]` each; see `cells.cell.Cell`.
      mogrifier: The rounds that gate the hidden vector of the dimension; () without.
    """

    kernel: tf.Tensor
    bias: tf.Tensor
    gain: tf.Tensor | None = None
    parameters: Parameters = ()
    mogrifier: tuple[MogrifierRound, ...] = ()

    def of_layer(self, layer: int) -> "DimensionWeights":
        """Returns the weights of one layer, without their leading axis."""
        return tf.nest.map_structure(
            lambda part: None if part is None else part[0 if part.shape[0] == 1 else layer], self
        )


def flatten_weights(weights: Sequence[DimensionWeights]) -> list[tf.Tensor]:
    """Returns all tensors of the weights, without a gain where there is none."""
    return [part for part in tf.nest.flatten(list(weights)) if part is not None]


def pack_weights(
    like: Sequence[DimensionWeights], tensors: Sequence[tf.Tensor]
) -> list[DimensionWeights]:
    """Returns weights of the structure of `like`, from tensors as `flatten_weights` has them."""
    remaining = iter(tensors)
    return tf.nest.map_structure(lambda part: None if part is None else next(remaining), list(like))


class DimensionOutput(NamedTuple):
    """The result of a dimension after its product W H.

    Attributes:
      hidden: The new hidden vectors h', `[..., units]`, in the compute dtype.
      memory: The new memory vectors m', `[..., units]`; the old ones for a cell without a memory.
      activations: The residual of the cell, `[..., gates * units]`.
      normalized: The residual of the layer normalisation; () without.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor
    normalized: Normalized | tuple[()]


def dimension_forward(
    equations: GridEquations,
    dimension: int,
    product: tf.Tensor,
    bias: tf.Tensor,
    gain: tf.Tensor | None,
    memory: tf.Tensor,
    parameters: Parameters = (),
) -> DimensionOutput:
    """Applies layer normalisation and the cell of a dimension to its product W H.

    Args:
      equations: The equations of the block.
      dimension: The index of the dimension.
      product: W H, `[..., gates * units]`, in the compute dtype.
      bias: The bias b, broadcastable to the product.
      gain: The gain of the layer normalisation; None without.
      memory: The memory vectors m that enter, `[..., memory_size * units]`.
      parameters: The cell's own parameters; see `cells.cell.Parameters`. Default: none.
    """
    cell = equations.cell(dimension)
    normalized: Normalized | tuple[()] = ()
    if equations.layer_normalization:
        normalized = normalize(product, product.shape[-1] // cell.gates, memory.dtype)
        product = normalized.values * tf.cast(gain, product.dtype)
    output = cell.forward(product, bias, memory, parameters, equations.output_equation)
    return DimensionOutput(*output, normalized=normalized)


def dimension_backward(
    equations: GridEquations,
    dimension: int,
    activations: tf.Tensor,
    memory: tf.Tensor,
    normalized: Normalized | tuple[()],
    gain: tf.Tensor | None,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    parameters: Parameters = (),
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the gradients of `dimension_forward`, but those of the cell's own parameters.

    Args:
      equations: The equations of the block.
      dimension: The index of the dimension.
      activations: The residual of the cell.
      memory: The memory vectors m that entered.
      normalized: The residual of the layer normalisation; () without.
      gain: The gain of the layer normalisation; None without.
      d_hidden: The gradient dL/dh', `[..., units]`.
      d_memory: The gradient dL/dm' by all paths but h', `[..., units]`.
      parameters: The cell's own parameters; see `parameter_gradients` for their gradients.

    Returns:
      The gradients of the product W H, of the sum that the bias is added to, and of the memory that
      entered.
    """
    cell = equations.cell(dimension)
    d_preactivations, d_old_memory = cell.backward(
        activations, memory, parameters, d_hidden, d_memory, equations.output_equation
    )
    d_product = d_preactivations
    if normalized:
        units = d_preactivations.shape[-1] // cell.gates
        d_normalized = d_preactivations * tf.cast(gain, d_preactivations.dtype)
        d_product = normalize_gradient(normalized, d_normalized, units)
    return d_product, d_preactivations, d_old_memory


def parameter_gradients(
    equations: GridEquations,
    dimension: int,
    activations: tf.Tensor,
    memory: tf.Tensor,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    parameters: Parameters,
) -> Parameters:
    """Computes the gradients of a cell's own parameters, summed over all blocks of one layer.

    Args:
      equations: The equations of the blocks.
      dimension: The index of the dimension.
      activations: The residuals of the cell, `[..., gates * units]`.
      memory: The memory vectors m that entered.
      d_hidden: The gradients dL/dh', `[..., units]`.
      d_memory: The gradients dL/dm' by all paths but h'.
      parameters: The parameters of the layer; () for a cell without, which has no gradients.
    """
    cell = equations.cell(dimension)
    if cell.parameter_gradients is None:
        return ()
    activations, memory, d_hidden, d_memory = (
        tf.reshape(part, [-1, part.shape[-1]]) for part in (activations, memory, d_hidden, d_memory)
    )
    gradients = cell.parameter_gradients(
        activations, memory, parameters, d_hidden, d_memory, equations.output_equation
    )
    return tuple(
        tf.cast(gradient, one.dtype) for gradient, one in zip(gradients, parameters, strict=True)
    )


def grid_block(
    inputs: Sides, weights: Sequence[DimensionWeights], layer: int, equations: GridEquations
) -> Sides:
    """Computes one block: `(h_i', m_i') = LSTM_i(H, m_i)` for each dimension i.

    Kalchbrenner et al. (arXiv 1507.01526), section 3.1: H concatenates the hidden vectors of all
    dimensions. A priority dimension finds the new vectors of those computed before it in H. With
    rounds of the mogrifier these gate the hidden vectors first.

    Args:
      inputs: The vectors that enter, each `[batch, units]`.
      weights: The weights of each dimension.
      layer: The layer whose weights to use.
      equations: The equations of the block.
    """
    own = [one.of_layer(layer) for one in weights]
    targets = equations.mogrifier_targets
    rounds = rounds_in_order([one.mogrifier for one in own], targets)
    hidden = list(mogrify(inputs.hidden, targets, round_preactivation(rounds)))
    memory = list(inputs.memory)
    for group in equations.computation_order:
        h_concat = tf.concat(hidden, axis=-1)
        products: dict[int, tf.Tensor] = {}
        for i in group:
            owner = equations.owner(i)
            kernel, bias, gain, parameters, _ = own[owner]
            if owner not in products:
                products[owner] = tf.matmul(h_concat, tf.cast(kernel, h_concat.dtype))
            output = dimension_forward(
                equations, i, products[owner], bias, gain, inputs.memory[i], parameters
            )
            hidden[i], memory[i] = output.hidden, output.memory
    return Sides(hidden=tuple(hidden), memory=tuple(memory))


def grid_reference(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout_masks: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
) -> Sides:
    """Evaluates a whole grid block after block, differentiated by TensorFlow to any order.

    Args:
      sides: The vectors that enter, per dimension `[*other extents, batch, units]`.
      weights: The weights of each dimension.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension; the last is the number of layers. Any but
        that may be a scalar tensor, if it is not known before the graph runs; the graph then
        loops over that dimension, and otherwise has a copy of the blocks for each place along it.
      dropout_masks: Per dimension the factors on the hidden vectors that enter each block along it,
        `[*extents, batch, units]` where an extent may be 1; None for no dropout.
      keep: The mask, `[*extents, batch]`, boolean, where an extent may be 1. Where it is False a
        block passes on what enters it unchanged along all dimensions but depth.

    Returns:
      The vectors that leave, of the same shapes as `sides`.
    """

    def block(layer: int, entering: Sides, masks: Sequence, keep: tf.Tensor | None) -> Sides:
        new = grid_block(_drop(entering, masks), weights, layer, equations)
        return new if keep is None else _hold(keep[:, None], new, entering)

    def evaluate(level: int, sides: Sides, masks: Sequence, keep: tf.Tensor | None) -> Sides:
        """Evaluates the blocks at one place along the dimensions before `level`."""
        extent = extents[level]
        across = Sides(*((*part[:level], *part[level + 1 :]) for part in sides))
        at = _reader((across, tuple(masks), keep), extent)

        def step(index: Any, along: tuple) -> tuple[tuple, Sides]:
            parts, masks, keep = at(index)
            entering = Sides(
                *((*one[:level], own, *one[level:]) for one, own in zip(parts, along, strict=True))
            )
            if level == len(extents) - 1:
                leaving = block(index, entering, masks, keep)
            else:
                leaving = evaluate(level + 1, entering, masks, keep)
            others = Sides(*((*part[:level], *part[level + 1 :]) for part in leaving))
            return tuple(part[level] for part in leaving), others

        along, others = _scan(step, tuple(part[level] for part in sides), across, extent)
        return Sides(
            *((*one[:level], own, *one[level:]) for one, own in zip(others, along, strict=True))
        )

    return evaluate(0, sides, dropout_masks or [None] * len(extents), keep)


def _reader(values: Any, extent: int | tf.Tensor) -> Callable[[Any], Any]:
    """Returns a function that maps an index to a structure of the entries there.

    Args:
      values: A nested structure of tensors `[extent, ...]`; one of size 1 stands for all indices,
        and None stays None.
      extent: The number of entries.
    """

    def reader(value: tf.Tensor | None) -> Callable[[Any], tf.Tensor | None]:
        if value is None or value.shape[0] == 1:
            only = None if value is None else value[0]
            return lambda index: only
        # The gradient of an index is as large as all entries, that of unstacking is a stack.
        if isinstance(extent, int):
            return tf.unstack(value, extent).__getitem__
        array = tf.TensorArray(
            value.dtype, extent, element_shape=value.shape[1:], clear_after_read=False
        )
        return array.unstack(value).read

    readers = [reader(value) for value in tf.nest.flatten(values)]
    return lambda index: tf.nest.pack_sequence_as(values, [read(index) for read in readers])


def _scan(
    step: Callable[[Any, tuple], tuple[tuple, Sides]],
    along: tuple,
    like: Sides,
    extent: int | tf.Tensor,
) -> tuple[tuple, Sides]:
    """Runs a step for each place along a dimension.

    Args:
      step: Maps the index and the vectors that enter along the dimension to those that leave along
        it and along the others.
      along: The vectors that enter at the first place.
      like: Tensors whose shapes and dtypes are those of the result.
      extent: The number of places.

    Returns:
      The vectors that leave along the dimension at the last place, and along the others at all.
    """
    if isinstance(extent, int):
        steps = []
        for index in range(extent):
            along, others = step(index, along)
            steps.append(others)
        return along, tf.nest.map_structure(lambda *parts: tf.stack(parts), *steps)

    def body(index: tf.Tensor, along: tuple, arrays: Any) -> tuple:
        new, others = step(index, along)
        for vectors, old in zip(new, along, strict=True):
            vectors.set_shape(old.shape)
        arrays = tf.nest.map_structure(lambda array, one: array.write(index, one), arrays, others)
        return index + 1, new, arrays

    arrays = tf.nest.map_structure(
        lambda one: tf.TensorArray(one.dtype, extent, element_shape=one.shape[1:]), like
    )
    _, along, arrays = tf.while_loop(
        lambda index, *_: index < extent,
        body,
        (tf.constant(0), along, arrays),
        maximum_iterations=extent,
    )
    return along, tf.nest.map_structure(lambda array: array.stack(), arrays)


def _drop(entering: Sides, masks: Sequence[tf.Tensor | None]) -> Sides:
    """Applies the dropout masks to the hidden vectors that enter a block."""
    hidden = [
        h if mask is None else h * mask for h, mask in zip(entering.hidden, masks, strict=True)
    ]
    return entering._replace(hidden=tuple(hidden))


def _hold(keep: tf.Tensor, new: Sides, old: Sides) -> Sides:
    """Returns, along all dimensions but depth, the old vectors where `keep` is False."""
    parts = []
    for new_vectors, old_vectors in zip(new, old, strict=True):
        held = [
            tf.where(keep, a, b) for a, b in zip(new_vectors[:-1], old_vectors[:-1], strict=True)
        ]
        parts.append((*held, new_vectors[-1]))
    return Sides(*parts)
