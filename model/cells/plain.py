"""The plain transform `h' = a(W H + b)` of a dimension without a memory, and its derivative."""

import tensorflow as tf

from ..config import Transform


def plain_transform(kind: Transform, preactivations: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """h' = a(W H + b), a dimension without a memory (paper, section 3.2, "non-LSTM dimensions").

    Args:
      kind: "tanh", "relu" or "identity", which is a.
      preactivations: W H, `[..., units]`.
      bias: b, broadcastable to the preactivations.
    """
    z = preactivations + tf.cast(bias, preactivations.dtype)
    return {"tanh": tf.tanh, "relu": tf.nn.relu, "identity": tf.identity}[kind](z)


def plain_transform_gradient(
    kind: Transform, hidden: tf.Tensor, hidden_gradient: tf.Tensor
) -> tf.Tensor:
    """dL/dz of `plain_transform` from h' and dL/dh'."""
    if kind == "tanh":
        return hidden_gradient * (1 - hidden * hidden)
    if kind == "relu":
        return tf.where(hidden > 0, hidden_gradient, tf.zeros_like(hidden_gradient))
    return hidden_gradient
