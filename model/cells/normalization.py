"""Layer normalisation of the gates of a cell, and its gradient."""

from typing import NamedTuple

import tensorflow as tf

LAYER_NORMALIZATION_EPSILON = 1e-5


class Normalized(NamedTuple):
    """The result of layer normalisation, which is also the residual of its gradient.

    Attributes:
      values: The normalised values (z - mean) / deviation, `[..., gates * units]`, in the compute
        dtype.
      scale: The scales 1 / deviation, `[..., gates]`.
    """

    values: tf.Tensor
    scale: tf.Tensor


def normalize(preactivations: tf.Tensor, units: int, dtype: tf.DType) -> Normalized:
    """Normalises each gate over its units (Ba et al., arXiv 1607.06450).

        n = (z - mean(z)) / sqrt(var(z) + 1e-5)

    Gain and bias are left to the caller.

    Args:
      preactivations: The preactivations z, `[..., gates * units]`.
      units: The number of values that make up one gate.
      dtype: The dtype of mean and variance.
    """
    z = _by_gate(tf.cast(preactivations, dtype), units)
    mean = tf.reduce_mean(z, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(z - mean), axis=-1, keepdims=True)
    scale = tf.math.rsqrt(variance + LAYER_NORMALIZATION_EPSILON)
    values = tf.reshape((z - mean) * scale, tf.shape(preactivations))
    values.set_shape(preactivations.shape)
    return Normalized(tf.cast(values, preactivations.dtype), scale[..., 0])


def normalize_gradient(normalized: Normalized, d_values: tf.Tensor, units: int) -> tf.Tensor:
    """Computes dL/dz of `normalize` from dL/dn.

        dz = (dn - mean(dn) - n mean(dn n)) / deviation

    Args:
      normalized: The result of `normalize`.
      d_values: The gradient dL/dn, `[..., gates * units]`.
      units: The number of values that make up one gate.
    """
    dtype = normalized.scale.dtype
    values = _by_gate(tf.cast(normalized.values, dtype), units)
    dn = _by_gate(tf.cast(d_values, dtype), units)
    mean = tf.reduce_mean(dn, axis=-1, keepdims=True)
    projection = tf.reduce_mean(dn * values, axis=-1, keepdims=True)
    dz = (dn - mean - values * projection) * normalized.scale[..., None]
    dz = tf.reshape(dz, tf.shape(d_values))
    dz.set_shape(d_values.shape)
    return tf.cast(dz, d_values.dtype)


def _by_gate(values: tf.Tensor, units: int) -> tf.Tensor:
    """Reshapes `[..., gates * units]` to `[..., gates, units]`."""
    gates = values.shape[-1] // units
    return tf.reshape(values, tf.concat([tf.shape(values)[:-1], [gates, units]], axis=0))
