"""Shapes of tensors whose sizes may be unknown until a graph runs."""

import tensorflow as tf


def shape_of(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the shape of a tensor, with a scalar tensor for each size that is not static."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape)]
