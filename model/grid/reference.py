"""The N-dimensional Grid LSTM block and the cell-by-cell evaluation of a grid of them.

This is the definition that everything faster is held against.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ..cells.lstm import lstm_transform, lstm_transform_gradient
from ..cells.normalization import Normalized, normalize, normalize_gradient
from ..cells.plain import plain_transform, plain_transform_gradient
from ..config import GridEquations


class Sides(NamedTuple):
    """The vectors that enter a block or a grid, or leave it; one entry per dimension.

    Those of one block are `[batch, units]`. Those of a grid have, in front, the extents of all
    other dimensions: for 2-D, time carries `[layers, batch, units]` and depth
    `[steps, batch, units]`. The memory of a dimension that is no LSTM has width 0.

    Attributes:
      hidden: in the compute dtype.
      memory: in the dtype of the arithmetic.
    """

    hidden: tuple[tf.Tensor, ...]
    memory: tuple[tf.Tensor, ...]


class DimensionWeights(NamedTuple):
    """The weights of one dimension of a grid.

    A leading dimension of 1 in place of `layers` means that the layers share them. `gates` is 4 for
    an LSTM and 1 for a plain dimension.

    Attributes:
      kernel: W, `[layers | 1, dimensions * units, gates * units]`.
      bias: b, `[layers | 1, gates * units]`.
      gain: of the layer normalisation, as the bias; None without.
    """

    kernel: tf.Tensor
    bias: tf.Tensor
    gain: tf.Tensor | None = None


class Dimension(NamedTuple):
    """What one dimension makes of its product W H.

    Attributes:
      hidden: h', `[..., units]`, in the compute dtype.
      memory: m', `[..., units]`; of a plain dimension what entered.
      activations: `[..., gates * units]`, kept for the gradient.
      normalized: what layer normalisation keeps; () without.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor
    normalized: Normalized | tuple[()]


def transform_dimension(
    equations: GridEquations,
    dimension: int,
    product: tf.Tensor,
    bias: tf.Tensor,
    gain: tf.Tensor | None,
    memory: tf.Tensor,
) -> Dimension:
    """The transform of a dimension after its product W H."""
    normalized = ()
    if equations.layer_normalization:
        units = product.shape[-1] // equations.gates(dimension)
        normalized = normalize(product, units, memory.dtype)
        product = normalized.values * tf.cast(gain, product.dtype)
    kind = equations.transforms[dimension]
    if kind == "lstm":
        new = lstm_transform(product, bias, memory, equations.output_equation)
        return Dimension(*new, normalized)
    hidden = plain_transform(kind, product, bias)
    return Dimension(hidden, memory, hidden, normalized)


def transform_dimension_gradient(
    equations: GridEquations,
    dimension: int,
    activations: tf.Tensor,
    memory: tf.Tensor,
    normalized: Normalized | tuple[()],
    gain: tf.Tensor | None,
    hidden_gradient: tf.Tensor,
    memory_gradient: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The derivative of `transform_dimension`.

    Returns:
      Gradients of the product W H, of what the bias is added to, and of the memory that entered.
    """
    kind = equations.transforms[dimension]
    if kind == "lstm":
        before_bias, memory_gradient = lstm_transform_gradient(
            activations,
            memory,
            hidden_gradient,
            memory_gradient,
            equations.output_equation,
        )
    else:
        before_bias = plain_transform_gradient(kind, activations, hidden_gradient)
    product = before_bias
    if normalized:
        units = product.shape[-1] // equations.gates(dimension)
        scaled = before_bias * tf.cast(gain, before_bias.dtype)
        product = normalize_gradient(normalized, scaled, units)
    return product, before_bias, memory_gradient


def grid_block(
    inputs: Sides, weights: Sequence[DimensionWeights], layer: int, equations: GridEquations
) -> Sides:
    """One block: `(h_i', m_i') = LSTM_i(H, m_i)` for each dimension i.

    Kalchbrenner et al. (arXiv 1507.01526), section 3.1: H concatenates the hidden vectors of all
    dimensions. A priority dimension finds the new vectors of those computed before it in H.

    Args:
      inputs: the vectors that enter, each `[batch, units]`.
      weights: of each dimension.
      layer: which layer's weights to use.
      equations: which form of the block to compute.
    """
    hidden, memory = list(inputs.hidden), list(inputs.memory)
    for stage in equations.stages:
        together = tf.concat(hidden, axis=-1)
        for i in stage:
            kernel, bias, gain = (
                None if part is None else part[0 if part.shape[0] == 1 else layer]
                for part in weights[i]
            )
            product = tf.matmul(together, tf.cast(kernel, together.dtype))
            hidden[i], memory[i], *_ = transform_dimension(
                equations, i, product, bias, gain, inputs.memory[i]
            )
    return Sides(tuple(hidden), tuple(memory))


def grid_reference(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int, ...],
    dropout: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
) -> Sides:
    """A whole grid, block after block, differentiated by TensorFlow.

    Args:
      sides: what enters, per dimension `[*other extents, batch, units]`.
      weights: of each dimension.
      equations: which form of the block to compute.
      extents: number of blocks along each dimension; the last is the number of layers.
      dropout: per dimension factors on the hidden vectors that enter each block along it,
        `[*extents, batch, units]` where an extent may be 1; None for no dropout.
      keep: `[*extents, batch]`, boolean, where an extent may be 1. Where it is False a block passes
        on what enters it unchanged along all dimensions but depth.

    Returns:
      What leaves, of the same shapes as `sides`.
    """
    dimensions, depth = equations.dimensions, equations.dimensions - 1
    hidden, memory = {}, {}
    for cell in itertools.product(*map(range, extents)):
        entering = [[], []]
        for i in range(dimensions):
            others = cell[:i] + cell[i + 1 :]
            for source, side, values in zip((hidden, memory), sides, entering, strict=True):
                before = (*cell[:i], cell[i] - 1, *cell[i + 1 :], i)
                values.append(source.pop(before) if cell[i] else side[i][others])
        held = Sides(*map(tuple, entering))
        if dropout is not None:
            factors = [None if mask is None else _at(mask, cell) for mask in dropout]
            entering[0] = [
                h if factor is None else h * factor
                for h, factor in zip(held.hidden, factors, strict=True)
            ]
        block = grid_block(Sides(*map(tuple, entering)), weights, cell[-1], equations)
        if keep is not None:
            kept = _at(keep, cell)[:, None]
            block = Sides(
                *(
                    tuple(
                        new if i == depth else tf.where(kept, new, old)
                        for i, (new, old) in enumerate(zip(news, olds, strict=True))
                    )
                    for news, olds in zip(block, held, strict=True)
                )
            )
        for i in range(dimensions):
            hidden[(*cell, i)], memory[(*cell, i)] = block.hidden[i], block.memory[i]
    return Sides(
        *(
            tuple(_leaving(values, i, extents) for i in range(dimensions))
            for values in (hidden, memory)
        )
    )


def _at(values, cell):
    """The entry of a cell, where an extent of 1 stands for all."""
    return values[
        tuple(0 if size == 1 else at for size, at in zip(values.shape, cell, strict=False))
    ]


def _leaving(values, dimension, extents):
    others = extents[:dimension] + extents[dimension + 1 :]
    last = extents[dimension] - 1
    cells = [
        values[(*cell[:dimension], last, *cell[dimension:], dimension)]
        for cell in itertools.product(*map(range, others))
    ]
    return tf.reshape(tf.stack(cells), [*others, *cells[0].shape])
