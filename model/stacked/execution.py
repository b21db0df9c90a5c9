"""Executes a recurrent net over a sequence, in shards of the batch and segments of its steps."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..core import State
from ..execution.batch_shards import BatchShards, concat_shards
from ..execution.compilation import Compilation
from ..grid.checkpointing import Segments, checkpointed
from ..shapes import shape_of

RecurrentNet = Callable[..., tuple[tf.Tensor, State]]
"""A function `(hidden, state, weights, dropout_masks, compilation, keep, training)` that computes
the outputs of all steps and the final state; `execute` describes its arguments."""


def execute(
    net: RecurrentNet,
    hidden: tf.Tensor,
    state: State,
    weights: Any,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    remat_steps: int,
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, State]:
    """Computes a recurrent net over a sequence as a plan says.

    Args:
      net: The net.
      hidden: The inputs, `[steps, batch, units]`.
      state: The state before the first step.
      weights: The weights, a structure of tensors.
      dropout_masks: Factors `[steps | 1, vectors, batch, units]`; None for no dropout.
      compilation: How the net is compiled.
      remat_steps: The length, in steps, of the segments whose residuals the backward pass computes
        again; 0 to store those of all steps.
      keep: The mask, `[steps, batch]`, boolean; None for no mask.
      training: Whether a gradient is likely to be taken.

    Returns:
      The outputs, `[steps, batch, units]`, and the final state.
    """
    if compilation.batch_shards > 1:
        shards = BatchShards.create(hidden.shape[1], compilation.batch_shards)
        single = compilation._replace(batch_shards=1)

        def of_shard(hidden: tf.Tensor, state: State, masks: Any, keep: Any) -> tuple:
            return execute(net, hidden, state, weights, masks, single, remat_steps, keep, training)

        results = shards.map(of_shard, (hidden, 1), (state, 1), (dropout_masks, 2), (keep, 1))
        return concat_shards(results, axis=1)
    if remat_steps:
        return _checkpointed(
            net, hidden, state, weights, dropout_masks, compilation, remat_steps, keep
        )
    return net(hidden, state, weights, dropout_masks, compilation, keep, training)


def _checkpointed(
    net: RecurrentNet,
    hidden: tf.Tensor,
    state: State,
    weights: Any,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    remat_steps: int,
    keep: tf.Tensor | None,
) -> tuple[tf.Tensor, State]:
    """Computes the net in segments."""
    segments = Segments.create(shape_of(hidden)[0], remat_steps, compilation.jits_step)

    def run(
        index: tf.Tensor, boundary: tuple, sides: tf.Tensor, flat_weights: list, training: bool
    ) -> tuple[tuple, tf.Tensor]:
        del training  # the residuals of a segment are small
        masks = segments.cell_slice(dropout_masks, index)
        own = tf.nest.pack_sequence_as(weights, flat_weights)
        kept = segments.cell_slice(keep, index)
        top, final = net(sides, State(*boundary), own, masks, compilation, kept, True)
        return tuple(final), top

    def plain(boundary: tuple, sides: tf.Tensor, flat_weights: list) -> tuple[tuple, tf.Tensor]:
        own = tf.nest.pack_sequence_as(weights, flat_weights)
        top, final = net(sides, State(*boundary), own, dropout_masks, compilation, keep, True)
        return tuple(final), top

    boundary = tf.cast(state.hidden, hidden.dtype), state.memory
    flat = tf.nest.flatten(weights)
    final, top = checkpointed(run, plain, segments, boundary, hidden, flat)
    return top, State(*final)
