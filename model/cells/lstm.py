"""The LSTM cell, with both output equations in use and a hand-written backward pass."""

import tensorflow as tf

from ..config import OutputEquation
from ..shapes import shape_of
from .cell import Cell, CellOutput, Parameters


def lstm_forward(
    preactivations: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters = (),
    output_equation: OutputEquation = "o*tanh(m)",
) -> CellOutput:
    """Computes one LSTM update from the preactivations of the gates, z = W H + b.

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
        m' = f * m + i * g
        h' = o * tanh(m')        "o*tanh(m)", the form of most libraries and of the Torch7 code
        h' = tanh(o * m')        "tanh(o*m)", Kalchbrenner et al. (arXiv 1507.01526), section 2

    Args:
      preactivations: The product W H, `[..., 4 * units]`, in the order i, f, o, g, in the compute
        dtype.
      bias: The bias b, broadcastable to the preactivations.
      memory: The memory vectors m that enter, `[..., units]`.
      parameters: Nothing: the cell has a kernel and a bias alone.
      output_equation: The equation of h'. Default "o*tanh(m)".

    Returns:
      The new vectors, with the gates i, f, o, g after their nonlinearities as activations.
    """
    del parameters
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
    activations = concat_gates([input_gate, forget_gate, output_gate, candidate])
    return CellOutput(
        hidden=tf.cast(hidden, dtype), memory=new_memory, activations=tf.cast(activations, dtype)
    )


def lstm_backward(
    activations: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of `lstm_forward`.

    Args:
      activations: The gates i, f, o, g as `lstm_forward` returned them, `[..., 4 * units]`.
      memory: The memory vectors m that entered, `[..., units]`; m' is recomputed from them.
      parameters: Nothing: the cell has a kernel and a bias alone.
      d_hidden: The gradient dL/dh', `[..., units]`.
      d_memory: The gradient dL/dm' by all paths but h', `[..., units]`.
      output_equation: The equation of h' in the forward pass.

    Returns:
      dL/dz, `[..., 4 * units]`, in the compute dtype, and dL/dm, `[..., units]`.
    """
    del parameters
    dtype = memory.dtype
    input_gate, forget_gate, output_gate, candidate = tf.split(
        tf.cast(activations, dtype), 4, axis=-1
    )
    d_hidden = tf.cast(d_hidden, dtype)
    new_memory = forget_gate * memory + input_gate * candidate
    if output_equation == "o*tanh(m)":
        squashed = tf.tanh(new_memory)
        d_output_gate = d_hidden * squashed
        d_memory += d_hidden * output_gate * (1 - squashed * squashed)
    else:
        hidden = tf.tanh(output_gate * new_memory)
        d_product = d_hidden * (1 - hidden * hidden)
        d_output_gate = d_product * new_memory
        d_memory += d_product * output_gate
    d_preactivations = concat_gates(
        [
            d_memory * candidate * input_gate * (1 - input_gate),
            d_memory * memory * forget_gate * (1 - forget_gate),
            d_output_gate * output_gate * (1 - output_gate),
            d_memory * input_gate * (1 - candidate * candidate),
        ]
    )
    return tf.cast(d_preactivations, activations.dtype), d_memory * forget_gate


def concat_gates(gates: list[tf.Tensor]) -> tf.Tensor:
    """Concatenates gates `[..., units]` to `[..., gates * units]`.

    It stacks and reshapes, as XLA writes all parts of a stack at once and those of a concatenation
    one after the other, which takes up to twice as long.
    """
    *leading, units = shape_of(gates[0])
    return tf.reshape(tf.stack(gates, axis=-2), [*leading, len(gates) * units])


LSTM = Cell(
    name="lstm",
    gates=4,
    memory_size=1,
    forward=lstm_forward,
    backward=lstm_backward,
    forget_gate=1,
    is_bounded=True,
)
