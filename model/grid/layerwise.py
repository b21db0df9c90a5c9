"""A 2-D grid evaluated layer after layer, with a hand-written gradient along time.

Where time does not wait for depth, only one product of a layer depends on the step before it, that
of the hidden vector which time carries. All others are tall products over the whole sequence, as
are the gates of depth. All steps have the same shapes: neither the batch size nor the number of
steps has to be known before a graph runs, and XLA, converters and vectorised maps take the loop as
they take that of `keras.layers.LSTM`.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from ..execution.time_steps import tall_product
from .derivatives import with_gradient
from .equations import GridEquations
from .reference import (
    DimensionWeights,
    Sides,
    dimension_forward,
    flatten_weights,
    pack_weights,
)
from .time_loop import TimeLoop, Vectors


def is_layerwise(equations: GridEquations) -> bool:
    """Returns whether layers can be evaluated one after the other over the whole sequence.

    They can in a 2-D grid whose time does not see the new hidden vector of depth, nor is gated by
    the old one.

    >>> is_layerwise(GridEquations(priority=(1,))), is_layerwise(GridEquations(priority=(0,)))
    (True, False)
    """
    order = [i for group in equations.computation_order for i in group]
    return equations.dimensions == 2 and order == [0, 1] and not equations.mogrifier_rounds


def grid_layerwise(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout_masks: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    training: bool = True,
) -> Sides:
    """Computes the same function as `reference.grid_reference`, for equations that allow it.

    Gradients of the dropout masks are not supported.

    Args:
      sides: The vectors that enter, per dimension `[*other extents, batch, units]`.
      weights: The weights of each dimension.
      equations: The equations of the blocks, for which `is_layerwise` holds.
      extents: The numbers of steps, which may be a scalar tensor, and of layers.
      dropout_masks: The dropout masks; see `grid_reference`.
      keep: The mask; see `grid_reference`.
      training: Whether a gradient is likely to be taken: the forward pass then saves what it
        needs. Otherwise a gradient runs the forward pass again. Default True.

    Returns:
      The vectors that leave, of the same shapes as `sides`.
    """
    depth = Vectors(sides.hidden[1], sides.memory[1])
    masks = dropout_masks or (None, None)
    # The gradient of an index is as large as all layers, that of unstacking is a stack.
    entering = list(zip(*map(tf.unstack, (sides.hidden[0], sides.memory[0])), strict=True))
    by_layer = [_unstack_weights(weights[equations.owner(i)], extents[1]) for i in range(2)]
    final = []
    for layer, first in enumerate(entering):
        own = [None if one is None else _layer(one, layer) for one in masks]
        kept = None if keep is None else _layer(keep, layer)
        depth, last = _layer_forward(
            depth,
            Vectors(*first),
            [one[layer] for one in by_layer],
            equations,
            own,
            kept,
            training,
        )
        final.append(last)
    hidden, memory = (tf.stack(part) for part in zip(*final, strict=True))
    return Sides(hidden=(hidden, depth.hidden), memory=(memory, depth.memory))


def _layer(values: tf.Tensor, layer: int) -> tf.Tensor:
    """Returns the part of a layer of values `[steps, layers, ...]`, either of which may be 1."""
    return values[:, 0 if values.shape[1] == 1 else layer]


def _unstack_weights(weights: DimensionWeights, layers: int) -> list[DimensionWeights]:
    """Returns the weights of each layer, without their leading axis."""
    parts = []
    for part in tf.nest.flatten(weights):
        if part is None:
            parts.append([None] * layers)
        elif part.shape[0] == 1:
            parts.append([part[0]] * layers)
        else:
            parts.append(tf.unstack(part))
    return [tf.nest.pack_sequence_as(weights, one) for one in zip(*parts, strict=True)]


def _layer_forward(
    depth: Vectors,
    first: Vectors,
    weights: list[DimensionWeights],
    equations: GridEquations,
    masks: list[tf.Tensor | None],
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[Vectors, Vectors]:
    """Computes one layer over the whole sequence.

    Args:
      depth: The vectors that enter along depth, `[steps, batch, units]`.
      first: The vectors that enter along time, `[batch, units]`.
      weights: The weights of time and of depth.
      equations: The equations of the blocks.
      masks: The dropout masks of time and of depth, `[steps | 1, batch, units]`.
      keep: The mask, `[steps | 1, batch]`.
      training: Whether a gradient is likely to be taken.

    Returns:
      The vectors that leave along depth, and those along time after the last step.
    """
    below = depth.hidden if masks[1] is None else depth.hidden * masks[1]
    units = below.shape[-1]
    own, other = tf.split(tf.cast(weights[0].kernel, below.dtype), [units, units], axis=0)
    time_weights = weights[0]._replace(kernel=own)
    seen, last = _along_time(
        tall_product(below, other), first, time_weights, equations, masks[0], keep, training
    )
    product = tall_product(
        tf.concat([seen, below], axis=-1), tf.cast(weights[1].kernel, below.dtype)
    )
    output = dimension_forward(
        equations,
        1,
        product,
        weights[1].bias,
        weights[1].gain,
        depth.memory,
        weights[1].parameters,
    )
    return Vectors(output.hidden, output.memory), last


def _along_time(
    projected: tf.Tensor,
    first: Vectors,
    weights: DimensionWeights,
    equations: GridEquations,
    mask: tf.Tensor | None,
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, Vectors]:
    """Computes the blocks of time of one layer.

    Args:
      projected: The part of the products that comes from below, `[steps, batch, gates * units]`.
      first: The vectors that enter the first step, `[batch, units]`.
      weights: The kernel of what time carries, `[units, gates * units]`, and all other weights.
      equations: The equations of the blocks.
      mask: The dropout mask, `[steps | 1, batch, units]`.
      keep: The mask of the steps, `[steps | 1, batch]`.
      training: Whether a gradient is likely to be taken.

    Returns:
      The hidden vectors that depth sees, `[steps, batch, units]`, and the vectors after the last
      step. With priority depth sees the new vectors, and otherwise those that entered.
    """
    loop = TimeLoop(equations, mask, keep)

    def packed(inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, Vectors, DimensionWeights]:
        projected, hidden, memory, *own = inputs
        return projected, Vectors(hidden, memory), pack_weights([weights], own)[0]

    def plain(*inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return loop.forward(*packed(inputs), save=False)[0]

    def forward(*inputs: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        projected, first, weights = packed(inputs)
        results, saved = loop.forward(projected, first, weights, save=training)

        def backward(*d_results: tf.Tensor) -> Sequence[tf.Tensor]:
            residuals = saved or loop.forward(projected, first, weights, save=True)[1]
            assert residuals is not None
            return loop.backward(residuals, weights, *d_results)

        return results, backward

    seen, *last = with_gradient(forward, plain, projected, *first, *flatten_weights([weights]))
    return seen, Vectors(*last)
