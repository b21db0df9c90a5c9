"""The highway gate: a transform of a vector, blended with the vector itself."""

from typing import NamedTuple

import tensorflow as tf

from ..cells.lstm import concat_gates

TRANSFORM, CANDIDATE = 0, 1
"""The indices of the two halves of the columns of kernels, of the biases and of activations."""


class HighwayOutput(NamedTuple):
    """The result of a highway gate.

    Attributes:
      hidden: The new vectors s', `[..., units]`, in the compute dtype.
      carried: The same in the dtype of what was carried.
      activations: The residual of the backward pass: t and h, `[..., 2 * units]`, in the compute
        dtype.
    """

    hidden: tf.Tensor
    carried: tf.Tensor
    activations: tf.Tensor


def highway_forward(
    product: tf.Tensor, bias: tf.Tensor, carried: tf.Tensor, *addends: tf.Tensor
) -> HighwayOutput:
    """Computes a highway gate.

        t = sigmoid(z_t),  h = tanh(z_h),  s' = t * h + (1 - t) * s

    Srivastava, Greff, Schmidhuber, "Highway Networks" (arXiv 1505.00387), section 2. The arithmetic
    is done in the dtype of what is carried.

    Args:
      product: The product of the kernels with s, `[..., 2 * units]`: the parts of z_t and z_h.
      bias: The biases, broadcastable to the product.
      carried: The vectors s, `[..., units]`.
      *addends: Further addends of z, of the shape of the product.
    """
    dtype = carried.dtype
    z = tf.add_n([tf.cast(part, dtype) for part in (product, *addends)]) + tf.cast(bias, dtype)
    transform, candidate = tf.split(z, [carried.shape[-1]] * 2, axis=-1)
    transform, candidate = tf.sigmoid(transform), tf.tanh(candidate)
    new = transform * candidate + (1 - transform) * carried
    activations = concat_gates([transform, candidate])
    return HighwayOutput(
        hidden=tf.cast(new, product.dtype),
        carried=new,
        activations=tf.cast(activations, product.dtype),
    )


def highway_backward(
    activations: tf.Tensor, carried: tf.Tensor, d_hidden: tf.Tensor, d_carried: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of `highway_forward`.

    Args:
      activations: The activations that it returned, `[..., 2 * units]`.
      carried: The vectors s that entered, `[..., units]`, in the compute dtype.
      d_hidden: The gradient of s' in the compute dtype, `[..., units]`.
      d_carried: The gradient of s' in the dtype of what is carried, `[..., units]`.

    Returns:
      The gradients of z, `[..., 2 * units]`, in the compute dtype, and of s as it is carried,
      `[..., units]`.
    """
    dtype = d_carried.dtype
    transform, candidate = tf.split(tf.cast(activations, dtype), [d_carried.shape[-1]] * 2, axis=-1)
    d_new = tf.cast(d_hidden, dtype) + d_carried
    d_z = [
        d_new * (candidate - tf.cast(carried, dtype)) * transform * (1 - transform),
        d_new * transform * (1 - candidate * candidate),
    ]
    return tf.cast(concat_gates(d_z), activations.dtype), d_new * (1 - transform)
