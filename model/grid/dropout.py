"""Dropout: factors that are 0 where something is dropped, and what keeps the mean elsewhere."""

from collections.abc import Sequence

import tensorflow as tf

from ..shapes import shape_of


def dropout_mask(shape, rate: float, seed: tf.Tensor, dtype) -> tf.Tensor:
    """Independent factors, 0 with probability `rate` and 1 / (1 - rate) otherwise."""
    # What XLA makes on CPUs of the algorithm that TensorFlow selects is 80 times as slow.
    keep = tf.random.stateless_uniform(shape, seed, alg="philox") >= rate
    return tf.cast(keep, dtype) / (1 - rate)


def grid_dropout(
    extents: tuple[int | tf.Tensor, ...],
    hidden: Sequence[tf.Tensor],
    rates: Sequence[float],
    each_step: bool,
    seed: tf.Tensor,
) -> list[tf.Tensor | None] | None:
    """The factors on hidden vectors that enter the blocks of a grid, as `grid_reference` has them.

    What enters the bottom of depth is left alone.

    Args:
      extents: number of blocks along each dimension.
      hidden: per dimension `[*other extents, batch, units]`, as they enter the grid.
      rates: per dimension.
      each_step: whether each step has a mask of its own, or all steps have the same.
      seed: `[2]`.

    Returns:
      Per dimension the factors, or None where nothing is dropped; None if that is so for all.
    """
    if not any(rates):
        return None
    depth, layers = len(extents) - 1, extents[-1]
    steps = extents[:-1] if each_step else (1,) * depth
    masks = []
    for i, (entering, rate) in enumerate(zip(hidden, rates, strict=True)):
        if not rate or (i == depth and layers == 1):
            masks.append(None)
            continue
        vectors = shape_of(entering)[-2:]
        shape = [*steps, layers - (i == depth), *vectors]
        seed_of_dimension = tf.random.experimental.stateless_fold_in(seed, i)
        mask = dropout_mask(shape, rate, seed_of_dimension, entering.dtype)
        if i == depth:
            mask = tf.concat([tf.ones([*steps, 1, *vectors], mask.dtype), mask], axis=depth)
        masks.append(mask)
    return masks
