"""The N-dimensional Grid LSTM block and the cell-by-cell evaluation of a grid of them.

This is the definition against which everything faster is tested.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ..cells.normalization import Normalized, normalize, normalize_gradient
from .equations import GridEquations


class Sides(NamedTuple):
    """The vectors that enter a block or a grid, or leave it; one entry per dimension.

    Those of one block are `[batch, units]`. Those of a grid have, in front, the extents of all
    other dimensions: for 2-D, time carries `[layers, batch, units]` and depth
    `[steps, batch, units]`.

    Attributes:
      hidden: The hidden vectors, in the compute dtype.
      memory: The memory vectors, in the dtype of the arithmetic; of width 0 for a cell without one.
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
    """

    kernel: tf.Tensor
    bias: tf.Tensor
    gain: tf.Tensor | None = None


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
) -> DimensionOutput:
    """Applies layer normalisation and the cell of a dimension to its product W H.

    Args:
      equations: The equations of the block.
      dimension: The index of the dimension.
      product: W H, `[..., gates * units]`, in the compute dtype.
      bias: The bias b, broadcastable to the product.
      gain: The gain of the layer normalisation; None without.
      memory: The memory vectors m that enter, `[..., units]`.
    """
    cell = equations.cell(dimension)
    normalized: Normalized | tuple[()] = ()
    if equations.layer_normalization:
        normalized = normalize(product, product.shape[-1] // cell.gates, memory.dtype)
        product = normalized.values * tf.cast(gain, product.dtype)
    output = cell.forward(product, bias, memory, equations.output_equation)
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
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the gradients of `dimension_forward`.

    Args:
      equations: The equations of the block.
      dimension: The index of the dimension.
      activations: The residual of the cell.
      memory: The memory vectors m that entered.
      normalized: The residual of the layer normalisation; () without.
      gain: The gain of the layer normalisation; None without.
      d_hidden: The gradient dL/dh', `[..., units]`.
      d_memory: The gradient dL/dm' by all paths but h', `[..., units]`.

    Returns:
      The gradients of the product W H, of the sum that the bias is added to, and of the memory that
      entered.
    """
    cell = equations.cell(dimension)
    d_preactivations, d_old_memory = cell.backward(
        activations, memory, d_hidden, d_memory, equations.output_equation
    )
    d_product = d_preactivations
    if normalized:
        units = d_preactivations.shape[-1] // cell.gates
        d_normalized = d_preactivations * tf.cast(gain, d_preactivations.dtype)
        d_product = normalize_gradient(normalized, d_normalized, units)
    return d_product, d_preactivations, d_old_memory


def grid_block(
    inputs: Sides, weights: Sequence[DimensionWeights], layer: int, equations: GridEquations
) -> Sides:
    """Computes one block: `(h_i', m_i') = LSTM_i(H, m_i)` for each dimension i.

    Kalchbrenner et al. (arXiv 1507.01526), section 3.1: H concatenates the hidden vectors of all
    dimensions. A priority dimension finds the new vectors of those computed before it in H.

    Args:
      inputs: The vectors that enter, each `[batch, units]`.
      weights: The weights of each dimension.
      layer: The layer whose weights to use.
      equations: The equations of the block.
    """
    hidden, memory = list(inputs.hidden), list(inputs.memory)
    for stage in equations.stages:
        h_concat = tf.concat(hidden, axis=-1)
        for i in stage:
            kernel, bias, gain = (
                None if part is None else part[0 if part.shape[0] == 1 else layer]
                for part in weights[i]
            )
            product = tf.matmul(h_concat, tf.cast(kernel, h_concat.dtype))
            output = dimension_forward(equations, i, product, bias, gain, inputs.memory[i])
            hidden[i], memory[i] = output.hidden, output.memory
    return Sides(hidden=tuple(hidden), memory=tuple(memory))


def grid_reference(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int, ...],
    dropout_masks: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
) -> Sides:
    """Evaluates a whole grid block after block, differentiated by TensorFlow.

    Args:
      sides: The vectors that enter, per dimension `[*other extents, batch, units]`.
      weights: The weights of each dimension.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension; the last is the number of layers.
      dropout_masks: Per dimension the factors on the hidden vectors that enter each block along it,
        `[*extents, batch, units]` where an extent may be 1; None for no dropout.
      keep: The mask, `[*extents, batch]`, boolean, where an extent may be 1. Where it is False a
        block passes on what enters it unchanged along all dimensions but depth.

    Returns:
      The vectors that leave, of the same shapes as `sides`.
    """
    dimensions = equations.dimensions
    leaving: dict[tuple[int, ...], Sides] = {}
    for cell in itertools.product(*map(range, extents)):
        entering = _entering(leaving, sides, cell)
        dropped = _drop(entering, dropout_masks, cell)
        block = grid_block(dropped, weights, cell[-1], equations)
        if keep is not None:
            block = _hold(_broadcast_at(keep, cell)[:, None], block, entering)
        leaving[cell] = block
    return Sides(
        hidden=tuple(_side(leaving, 0, i, extents) for i in range(dimensions)),
        memory=tuple(_side(leaving, 1, i, extents) for i in range(dimensions)),
    )


def _entering(leaving: dict[tuple[int, ...], Sides], sides: Sides, cell: tuple[int, ...]) -> Sides:
    """Returns the vectors that enter a block, from the blocks before it or from the sides."""
    hidden, memory = [], []
    for i, coordinate in enumerate(cell):
        before = (*cell[:i], coordinate - 1, *cell[i + 1 :])
        others = cell[:i] + cell[i + 1 :]
        if coordinate:
            hidden.append(leaving[before].hidden[i])
            memory.append(leaving[before].memory[i])
        else:
            hidden.append(sides.hidden[i][others])
            memory.append(sides.memory[i][others])
    return Sides(hidden=tuple(hidden), memory=tuple(memory))


def _drop(
    entering: Sides, dropout_masks: Sequence[tf.Tensor | None] | None, cell: tuple[int, ...]
) -> Sides:
    """Applies the dropout masks to the hidden vectors that enter a block."""
    if dropout_masks is None:
        return entering
    hidden = [
        h if mask is None else h * _broadcast_at(mask, cell)
        for h, mask in zip(entering.hidden, dropout_masks, strict=True)
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


def _broadcast_at(values: tf.Tensor, cell: tuple[int, ...]) -> tf.Tensor:
    """Returns the entry of a cell, where an extent of 1 stands for all."""
    index = [
        0 if size == 1 else coordinate for size, coordinate in zip(values.shape, cell, strict=False)
    ]
    return values[tuple(index)]


def _side(
    leaving: dict[tuple[int, ...], Sides], part: int, dimension: int, extents: tuple[int, ...]
) -> tf.Tensor:
    """Stacks the hidden (part 0) or memory vectors that leave the grid along a dimension."""
    others = extents[:dimension] + extents[dimension + 1 :]
    last = extents[dimension] - 1
    vectors = []
    for cell in itertools.product(*map(range, others)):
        block = leaving[(*cell[:dimension], last, *cell[dimension:])]
        vectors.append(block[part][dimension])
    return tf.reshape(tf.stack(vectors), [*others, *vectors[0].shape])
