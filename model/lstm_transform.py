"""The LSTM transform of one dimension of a grid, and its derivative.

Both are pure functions of tensors and work for any leading dimensions, so the same code serves one
cell, all cells of an anti-diagonal, and the stacked LSTM.
"""

from typing import NamedTuple

import tensorflow as tf

from model.config import OutputEquation


class Transformed(NamedTuple):
    """What the transform returns, all `[..., units]` but for `activations`, `[..., 4 * units]`."""

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor


def lstm_transform(
    preactivations: tf.Tensor, memory: tf.Tensor, output_equation: OutputEquation = "o*tanh(m)"
) -> Transformed:
    """One LSTM update from the gates' preactivations `z = W H + b`.

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
        m' = f * m + i * g
        h' = o * tanh(m')        "o*tanh(m)", the form of most libraries and of the Torch7 code
        h' = tanh(o * m')        "tanh(o*m)", Kalchbrenner et al. (arXiv 1507.01526), section 2

    Args:
      preactivations: `[..., 4 * units]`, in the order i, f, o, g.
      memory: `[..., units]`, the m that enters.
      output_equation: which of the two forms of h' to use.

    Returns:
      h', m', and the activations `[i, f, o, g]` that `lstm_transform_gradient` needs.
    """
    units = memory.shape[-1]
    gates = tf.sigmoid(preactivations[..., : 3 * units])
    candidate = tf.tanh(preactivations[..., 3 * units :])
    input_gate, forget_gate, output_gate = tf.split(gates, 3, axis=-1)
    memory = forget_gate * memory + input_gate * candidate
    if output_equation == "o*tanh(m)":
        hidden = output_gate * tf.tanh(memory)
    else:
        hidden = tf.tanh(output_gate * memory)
    return Transformed(hidden, memory, tf.concat([gates, candidate], axis=-1))


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
      dL/dz, `[..., 4 * units]`, and dL/dm, `[..., units]`.
    """
    input_gate, forget_gate, output_gate, candidate = tf.split(activations, 4, axis=-1)
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
    preactivations_gradient = tf.concat(
        [
            memory_gradient * candidate * input_gate * (1 - input_gate),
            memory_gradient * memory * forget_gate * (1 - forget_gate),
            output_gradient * output_gate * (1 - output_gate),
            memory_gradient * input_gate * (1 - candidate * candidate),
        ],
        axis=-1,
    )
    return preactivations_gradient, memory_gradient * forget_gate


def shape_of(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape of a tensor, with a scalar tensor where a size is not known statically."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape)]
