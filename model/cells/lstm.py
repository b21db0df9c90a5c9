"""The transforms of one dimension of a grid, and their derivatives.

Pure functions of tensors that work for any leading dimensions: the same code serves one cell, all
cells of a hyperplane, and the stacked LSTM. Arithmetic is done in the dtype of the memory (float32
under mixed precision); what enters a product is rounded to the compute dtype.
"""

from typing import NamedTuple

import tensorflow as tf

from ..config import OutputEquation
from ..shapes import shape_of


class Transformed(NamedTuple):
    """What a transform returns.

    Attributes:
      hidden: `[..., units]`, in the compute dtype.
      memory: `[..., units]`.
      activations: `[..., 4 * units]`, what `lstm_transform_gradient` needs, in the compute dtype.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor


def lstm_transform(
    preactivations: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> Transformed:
    """One LSTM update from the gates' preactivations `z = W H + b`.

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
        m' = f * m + i * g
        h' = o * tanh(m')        "o*tanh(m)", the form of most libraries and of the Torch7 code
        h' = tanh(o * m')        "tanh(o*m)", Kalchbrenner et al. (arXiv 1507.01526), section 2

    Args:
      preactivations: W H, `[..., 4 * units]`, in the order i, f, o, g, in the compute dtype.
      bias: b, broadcastable to the preactivations.
      memory: `[..., units]`, the m that enters.
      output_equation: which of the two forms of h' to use.
    """
    units = memory.shape[-1]
    z = tf.cast(preactivations, memory.dtype) + tf.cast(bias, memory.dtype)
    # With the widths given TensorFlow copies rows; without, it goes through a slower general path.
    *gates, candidate = tf.split(z, [units] * 4, axis=-1)
    input_gate, forget_gate, output_gate = map(tf.sigmoid, gates)
    candidate = tf.tanh(candidate)
    new_memory = forget_gate * memory + input_gate * candidate
    if output_equation == "o*tanh(m)":
        hidden = output_gate * tf.tanh(new_memory)
    else:
        hidden = tf.tanh(output_gate * new_memory)
    dtype = preactivations.dtype
    activations = _side_by_side([input_gate, forget_gate, output_gate, candidate])
    return Transformed(tf.cast(hidden, dtype), new_memory, tf.cast(activations, dtype))


def lstm_transform_gradient(
    activations: tf.Tensor,
    memory: tf.Tensor,
    hidden_gradient: tf.Tensor,
    memory_gradient: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> tuple[tf.Tensor, tf.Tensor]:
    """The derivative of `lstm_transform`.

    Args:
      activations: `[..., 4 * units]`, as `lstm_transform` returned them.
      memory: `[..., units]`, the m that entered; m' is recomputed from it.
      hidden_gradient: `[..., units]`, dL/dh'.
      memory_gradient: `[..., units]`, dL/dm' from everything but h'.
      output_equation: as in the forward call.

    Returns:
      dL/dz, `[..., 4 * units]`, in the compute dtype, and dL/dm, `[..., units]`.
    """
    dtype = memory.dtype
    input_gate, forget_gate, output_gate, candidate = tf.split(
        tf.cast(activations, dtype), 4, axis=-1
    )
    hidden_gradient = tf.cast(hidden_gradient, dtype)
    new_memory = forget_gate * memory + input_gate * candidate
    if output_equation == "o*tanh(m)":
        squashed = tf.tanh(new_memory)
        output_gradient = hidden_gradient * squashed
        memory_gradient += hidden_gradient * output_gate * (1 - squashed * squashed)
    else:
        hidden = tf.tanh(output_gate * new_memory)
        product_gradient = hidden_gradient * (1 - hidden * hidden)
        output_gradient = product_gradient * new_memory
        memory_gradient += product_gradient * output_gate
    preactivations_gradient = _side_by_side(
        [
            memory_gradient * candidate * input_gate * (1 - input_gate),
            memory_gradient * memory * forget_gate * (1 - forget_gate),
            output_gradient * output_gate * (1 - output_gate),
            memory_gradient * input_gate * (1 - candidate * candidate),
        ]
    )
    return tf.cast(preactivations_gradient, activations.dtype), memory_gradient * forget_gate


def _side_by_side(gates: list[tf.Tensor]) -> tf.Tensor:
    """`[..., units]` each as `[..., gates * units]`.

    A concatenation; but XLA writes all parts of a stack at once and those of a concatenation in
    turns, which takes up to twice as long.
    """
    *leading, units = shape_of(gates[0])
    return tf.reshape(tf.stack(gates, axis=-2), [*leading, len(gates) * units])
