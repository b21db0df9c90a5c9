"""Dropout masks: factors that are 0 where a value is dropped, and keep the mean elsewhere."""

import enum
from collections.abc import Sequence

import tensorflow as tf

from ..shapes import shape_of


class MaskUse(enum.IntEnum):
    """What a model draws masks for. Each has a seed of its own, so that no two masks are alike."""

    CORE = 0
    OUTPUT = 1
    WEIGHTS = 2


def seed_for(seed: tf.Tensor | None, use: MaskUse) -> tf.Tensor | None:
    """Returns the seed `[2]` of the masks of one use, from that of a step; None for no dropout."""
    return None if seed is None else tf.random.experimental.stateless_fold_in(seed, int(use))


def drop(values: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Returns values of which each is dropped by itself, and the others are scaled.

    Args:
      values: The values, of any shape.
      rate: The probability that a value is dropped, in [0, 1).
      seed: The seed, `[2]`, int32; None for no dropout.
    """
    if seed is None or not rate:
        return values
    return values * dropout_mask(shape_of(values), rate, seed, values.dtype)


def dropout_mask(
    shape: Sequence[int | tf.Tensor], rate: float, seed: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """Draws independent factors, 0 with probability `rate` and 1 / (1 - rate) otherwise.

    Args:
      shape: The shape of the mask.
      rate: The probability that a value is dropped, in [0, 1).
      seed: The seed, `[2]`, int32.
      dtype: The dtype of the mask.
    """
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
    """Draws the masks of the hidden vectors that enter the blocks of a grid.

    The vectors that enter the bottom of depth are not dropped.

    Args:
      extents: The number of blocks along each dimension.
      hidden: Per dimension the vectors that enter the grid, `[*other extents, batch, units]`.
      rates: The dropout rate of each dimension.
      each_step: Whether each step has a mask of its own; otherwise all steps share one.
      seed: The seed, `[2]`, int32.

    Returns:
      Per dimension the factors as `reference.grid_reference` takes them, or None where nothing is
      dropped; None if nothing is dropped at all.
    """
    if not any(rates):
        return None
    depth, layers = len(extents) - 1, extents[-1]
    steps = extents[:-1] if each_step else (1,) * depth
    masks: list[tf.Tensor | None] = []
    for i, (entering, rate) in enumerate(zip(hidden, rates, strict=True)):
        if not rate or (i == depth and layers == 1):
            masks.append(None)
            continue
        vectors = shape_of(entering)[-2:]
        shape = [*steps, layers - (i == depth), *vectors]
        dimension_seed = tf.random.experimental.stateless_fold_in(seed, i)
        mask = dropout_mask(shape, rate, dimension_seed, entering.dtype)
        if i == depth:
            mask = tf.concat([tf.ones([*steps, 1, *vectors], mask.dtype), mask], axis=depth)
        masks.append(mask)
    return masks
