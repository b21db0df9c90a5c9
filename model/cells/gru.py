"""The gated recurrent unit, with a hand-written backward pass."""

import tensorflow as tf

from ..config import OutputEquation
from .cell import Cell, CellOutput, Parameters
from .lstm import concat_gates


def gru_forward(
    preactivations: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters = (),
    output_equation: OutputEquation = "o*tanh(m)",
) -> CellOutput:
    """Computes one update of a GRU, in the form of cuDNN and of Keras's `reset_after=True`.

        z, r = sigmoid(W_z H + b_z), sigmoid(W_r H + b_r)
        n    = tanh(W_n H_others + b_n + r * (U_n h + b_u))
        h'   = (1 - z) * n + z * h

    H_others are the hidden vectors of all dimensions but the cell's own, h is the own one. Cho et
    al. (arXiv 1406.1078), section 2.3, have U_n (r * h) in place of r * (U_n h + b_u): two products
    one after the other, where this form has one. The memory is h itself, which neither dropout nor
    the rounding of a compute dtype touches.

    Args:
      preactivations: The product of the kernel that `Cell.product_kernel` returns and H,
        `[..., 4 * units]`: the parts of z, r and n, and U_n h.
      bias: The biases b_z, b_r, b_n and b_u, broadcastable to the preactivations.
      memory: The hidden vectors h that enter, `[..., units]`.
      parameters: Nothing: the cell has a kernel and a bias alone.
      output_equation: The grid's equation of h', which does not apply to a GRU.

    Returns:
      The new vectors, with z, r, n and U_n h + b_u as activations.
    """
    del parameters, output_equation
    parts = tf.cast(preactivations, memory.dtype) + tf.cast(bias, memory.dtype)
    update, reset, candidate, own = tf.split(parts, [memory.shape[-1]] * 4, axis=-1)
    update, reset = tf.sigmoid(update), tf.sigmoid(reset)
    candidate = tf.tanh(candidate + reset * own)
    hidden = (1 - update) * candidate + update * memory
    dtype = preactivations.dtype
    activations = concat_gates([update, reset, candidate, own])
    return CellOutput(
        hidden=tf.cast(hidden, dtype), memory=hidden, activations=tf.cast(activations, dtype)
    )


def gru_backward(
    activations: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of `gru_forward`.

    Args:
      activations: The activations that `gru_forward` returned, `[..., 4 * units]`.
      memory: The hidden vectors h that entered, `[..., units]`.
      parameters: Nothing: the cell has a kernel and a bias alone.
      d_hidden: The gradient of h' as the hidden vector, `[..., units]`.
      d_memory: The gradient of h' as the memory, `[..., units]`.
      output_equation: The grid's equation of h', which does not apply to a GRU.

    Returns:
      The gradients of the preactivations, `[..., 4 * units]`, in the compute dtype, and of the
      memory, `[..., units]`.
    """
    del parameters, output_equation
    update, reset, candidate, own = tf.split(tf.cast(activations, memory.dtype), 4, axis=-1)
    d_new = tf.cast(d_hidden, memory.dtype) + d_memory
    d_candidate = d_new * (1 - update) * (1 - candidate * candidate)
    d_preactivations = concat_gates(
        [
            d_new * (memory - candidate) * update * (1 - update),
            d_candidate * own * reset * (1 - reset),
            d_candidate,
            d_candidate * reset,
        ]
    )
    return tf.cast(d_preactivations, activations.dtype), d_new * update


GRU = Cell(
    name="gru",
    gates=4,
    memory_size=1,
    forward=gru_forward,
    backward=gru_backward,
    split_gate=2,
    memory_is_hidden=True,
)
