"""The cell of the highway LSTM, whose memory takes in that of the layer below through a gate."""

import tensorflow as tf

from ..cells.cell import Cell, CellOutput, CellParameter, Parameters
from ..cells.lstm import concat_gates
from ..config import OutputEquation


def highway_lstm_forward(
    preactivations: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    output_equation: OutputEquation = "o*tanh(m)",
) -> CellOutput:
    """Computes one update of a highway LSTM.

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
        d  = sigmoid(z_d + w_t * c + w_b * c_below)
        c' = d * c_below + f * c + i * g
        h' = o * tanh(c')

    Zhang et al., "Highway Long Short-Term Memory RNNs for Distant Speech Recognition" (arXiv
    1510.08983), section 3, without projection, with peepholes of the depth gate d alone, and with
    the hidden vector of the step before in z_d as in the other gates. The first layer has no memory
    below it, so that its c_below is 0 and the weights of its gate d have no effect.

    Args:
      preactivations: The product W H, `[..., 5 * units]`, of i, f, o, g and d.
      bias: The biases, broadcastable to the preactivations.
      memory: The memory c of the layer and that of the layer below at the same step, c_below,
        `[..., 2 * units]`.
      parameters: The peepholes w_t and w_b as one vector, `[2 * units]`.
      output_equation: The grid's equation of h', which does not apply.

    Returns:
      The new hidden vectors and memories, `[..., units]`, with i, f, o, g and d as activations.
    """
    del output_equation
    z = tf.cast(preactivations, memory.dtype) + tf.cast(bias, memory.dtype)
    *sigmoids, candidate, depth = tf.split(z, [_units(memory)] * 5, axis=-1)
    own, below = tf.split(memory, 2, axis=-1)
    see_own, see_below = _peepholes(parameters, memory)
    i, f, o = map(tf.sigmoid, sigmoids)
    g = tf.tanh(candidate)
    d = tf.sigmoid(depth + see_own * own + see_below * below)
    new = d * below + f * own + i * g
    dtype = preactivations.dtype
    return CellOutput(
        hidden=tf.cast(o * tf.tanh(new), dtype),
        memory=new,
        activations=tf.cast(concat_gates([i, f, o, g, d]), dtype),
    )


def highway_lstm_backward(
    activations: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of `highway_lstm_forward`.

    Args:
      activations: The activations that it returned, `[..., 5 * units]`.
      memory: The memories c and c_below that entered, `[..., 2 * units]`.
      parameters: The peepholes w_t and w_b, `[2 * units]`.
      d_hidden: The gradient of h', `[..., units]`.
      d_memory: The gradient of c', `[..., units]`.
      output_equation: The grid's equation of h', which does not apply.

    Returns:
      The gradients of the preactivations, `[..., 5 * units]`, in the compute dtype, and of c and
      c_below, `[..., 2 * units]`.
    """
    del output_equation
    i, f, o, g, d = tf.split(tf.cast(activations, memory.dtype), 5, axis=-1)
    own, below = tf.split(memory, 2, axis=-1)
    see_own, see_below = _peepholes(parameters, memory)
    squashed = tf.tanh(d * below + f * own + i * g)
    d_hidden = tf.cast(d_hidden, memory.dtype)
    d_new = d_memory + d_hidden * o * (1 - squashed * squashed)
    d_depth = d_new * below * d * (1 - d)
    d_z = [
        d_new * g * i * (1 - i),
        d_new * own * f * (1 - f),
        d_hidden * squashed * o * (1 - o),
        d_new * i * (1 - g * g),
        d_depth,
    ]
    d_entering = [d_new * f + d_depth * see_own, d_new * d + d_depth * see_below]
    return tf.cast(concat_gates(d_z), activations.dtype), tf.concat(d_entering, axis=-1)


def highway_lstm_parameter_gradients(
    activations: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
    output_equation: OutputEquation = "o*tanh(m)",
) -> Parameters:
    """Computes the gradient of the peepholes, `[2 * units]`, summed over rows `[rows, width]`.

    The arguments are those of `highway_lstm_backward`.
    """
    d_z, _ = highway_lstm_backward(
        activations, memory, parameters, d_hidden, d_memory, output_equation
    )
    d_depth = tf.cast(d_z[:, -_units(memory) :], memory.dtype)
    return (tf.reduce_sum(tf.tile(d_depth, [1, 2]) * memory, axis=0),)


def _units(memory: tf.Tensor) -> int:
    return memory.shape[-1] // 2


def _peepholes(parameters: Parameters, memory: tf.Tensor) -> list[tf.Tensor]:
    """Returns w_t and w_b in the dtype of the memory."""
    return tf.split(tf.cast(parameters[0], memory.dtype), 2, axis=-1)


HIGHWAY_LSTM = Cell(
    name="highway_lstm",
    gates=5,
    memory_size=1,
    forward=highway_lstm_forward,
    backward=highway_lstm_backward,
    parameters=(CellParameter("depth_peephole", shape=(2,)),),
    parameter_gradients=highway_lstm_parameter_gradients,
    forget_gate=1,
    takes_memory_below=True,
    is_bounded=True,
)
"""The cell, for `stacked.recurrence` alone: a grid's blocks have no memory of a layer below."""
