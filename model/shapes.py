"""Shapes of tensors whose sizes may be unknown until a graph runs."""

from collections.abc import Iterable

import tensorflow as tf


def shape_of(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the shape of a tensor, with a scalar tensor for each size that is not static."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape)]


def is_known(sizes: Iterable[int | tf.Tensor]) -> bool:
    """Returns whether all sizes are known in advance: integers rather than scalar tensors."""
    return all(isinstance(size, int) for size in sizes)
