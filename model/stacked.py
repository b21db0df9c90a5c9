"""The stacked LSTM, the baseline of the Grid LSTM, with a hand-written gradient.

A 2-D grid whose depth dimension is a plain identity is this net. Its layers are run one after the
other over the whole sequence, because then the input half of every product is a single tall one.
"""

from typing import NamedTuple

import tensorflow as tf

from model.grid import State
from model.lstm_transform import lstm_transform, lstm_transform_gradient, shape_of


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM.

    Attributes:
      kernel: `[layers, 2 * units, 4 * units]`, applied to `[h_below, h_time]`.
      bias: `[layers, 4 * units]`.
    """

    kernel: tf.Tensor
    bias: tf.Tensor


def stacked_column(
    hidden: tf.Tensor, state: State, weights: StackedWeights
) -> tuple[tf.Tensor, State]:
    """All layers at one time step; `hidden` and the result are `[batch, units]`."""
    hiddens, memories = [], []
    for layer in range(state.hidden.shape[0]):
        inputs = tf.concat([hidden, state.hidden[layer]], axis=-1)
        preactivations = tf.matmul(inputs, weights.kernel[layer]) + weights.bias[layer]
        hidden, memory, _ = lstm_transform(preactivations, state.memory[layer])
        hiddens.append(hidden)
        memories.append(memory)
    return hidden, State(tf.stack(hiddens), tf.stack(memories))


def stacked_lstm(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None = None,
) -> tuple[tf.Tensor, State]:
    """A stacked LSTM over a sequence.

        z = [h_below, h_time] W + b, then `lstm_transform`, per layer and step

    The forward pass keeps `(1 + 1 + 4) * units` numbers per cell. Second derivatives are not
    supported.

    Args:
      hidden: `[steps, batch, units]`.
      state: the state before the first step.
      weights: the weights.
      dropout_masks: `[steps, layers - 1, batch, units]`, factors on what each layer but the first
        receives from the layer below; None for no dropout.

    Returns:
      The hidden vectors of the last layer, `[steps, batch, units]`, and the final state.
    """
    hiddens, memories = [], []
    for layer in range(state.hidden.shape[0]):
        if layer and dropout_masks is not None:
            hidden *= dropout_masks[:, layer - 1]
        hidden, final_hidden, final_memory = _lstm_layer(
            hidden,
            state.hidden[layer],
            state.memory[layer],
            weights.kernel[layer],
            weights.bias[layer],
        )
        hiddens.append(final_hidden)
        memories.append(final_memory)
    return hidden, State(tf.stack(hiddens), tf.stack(memories))


@tf.custom_gradient
def _lstm_layer(inputs, initial_hidden, initial_memory, kernel, bias):
    """One layer over `[steps, batch, units]`; returns outputs, final hidden, final memory."""
    units = initial_hidden.shape[-1]
    steps = inputs.shape[0] or tf.shape(inputs)[0]
    projected = _flat_product(inputs, kernel[:units]) + bias
    recurrent_kernel = kernel[units:]

    def array(width):
        shape = (initial_hidden.shape[0], width * units)
        return tf.TensorArray(inputs.dtype, size=steps, element_shape=shape)

    def forward_step(step, hidden, memory, arrays):
        preactivations = projected[step] + tf.matmul(hidden, recurrent_kernel)
        new = lstm_transform(preactivations, memory)
        kept = (new.hidden, memory, new.activations)
        arrays = [entries.write(step, entry) for entries, entry in zip(arrays, kept, strict=True)]
        return step + 1, new.hidden, new.memory, arrays

    _, hidden, memory, arrays = tf.while_loop(
        lambda step, *_: step < steps,
        forward_step,
        (0, initial_hidden, initial_memory, [array(1), array(1), array(4)]),
    )
    outputs, memories, activations = (entries.stack() for entries in arrays)

    def gradient(outputs_gradient, hidden_gradient, memory_gradient):
        def backward_step(count, hidden_gradient, memory_gradient, array):
            step = steps - 1 - count
            preactivations, memory_gradient = lstm_transform_gradient(
                activations[step],
                memories[step],
                hidden_gradient + outputs_gradient[step],
                memory_gradient,
            )
            hidden_gradient = tf.matmul(preactivations, recurrent_kernel, transpose_b=True)
            return count + 1, hidden_gradient, memory_gradient, array.write(step, preactivations)

        _, hidden_gradient, memory_gradient, preactivations = tf.while_loop(
            lambda count, *_: count < steps,
            backward_step,
            (0, hidden_gradient, memory_gradient, array(4)),
        )
        preactivations = preactivations.stack()
        flat = tf.reshape(preactivations, [-1, 4 * units])
        before = tf.concat([initial_hidden[None], outputs[:-1]], axis=0)
        return (
            _flat_product(preactivations, kernel[:units], transpose_b=True),
            hidden_gradient,
            memory_gradient,
            tf.concat(
                [
                    tf.matmul(tf.reshape(part, [-1, units]), flat, transpose_a=True)
                    for part in (inputs, before)
                ],
                axis=0,
            ),
            tf.reduce_sum(flat, axis=0),
        )

    return (outputs, hidden, memory), gradient


def _flat_product(inputs, kernel, transpose_b=False):
    """`[steps, batch, n] x [n, m]` as one product."""
    width = kernel.shape[0] if transpose_b else kernel.shape[1]
    flat = tf.reshape(inputs, [-1, inputs.shape[-1]])
    product = tf.matmul(flat, kernel, transpose_b=transpose_b)
    return tf.reshape(product, [*shape_of(inputs)[:-1], width])
