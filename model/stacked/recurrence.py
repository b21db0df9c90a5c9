"""The stacked LSTM, the baseline of the Grid LSTM, with a hand-written gradient.

A 2-D grid whose depth dimension is a plain identity is this net. Its layers are run one after the
other over the whole sequence, because then the input half of every product is a single tall one.
"""

import tensorflow as tf

from ..cells.lstm import lstm_transform, lstm_transform_gradient
from ..core import State
from ..execution.compilation import GATES, Compilation, Reading, Split, compiled
from ..grid.checkpointing import Cut, recomputed
from ..grid.wavefront.products import sum_of_rows
from ..shapes import shape_of
from .weights import StackedWeights

KEPT_NUMBERS = 1 + 4, 1
"""As `tape.kept_numbers` of a grid: h' and the gates in the compute dtype, m in the memory's."""


def stacked_lstm(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None = None,
    compilation: Compilation = GATES,
    recompute: int = 0,
    keep: tf.Tensor | None = None,
) -> tuple[tf.Tensor, State]:
    """A stacked LSTM over a sequence.

        z = [h_below, h_time] W + b, then `lstm_transform`, per layer and step

    Products are computed in the dtype of `hidden`, all else in that of the state's memory. For what
    the forward pass keeps see `KEPT_NUMBERS`. Second derivatives are not supported.

    Args:
      hidden: `[steps, batch, units]`.
      state: the state before the first step.
      weights: the weights.
      dropout_masks: `[steps, layers - 1, batch, units]`, factors on what each layer but the first
        receives from the layer below; None for no dropout.
      compilation: how it is compiled.
      recompute: steps whose tape is held at once, the others' being computed again in the backward
        pass; 0 for those of all.
      keep: `[steps, batch]`, boolean, False for steps that leave the state as it is; None for none
        such. There is no gradient with it.

    Returns:
      The hidden vectors of the last layer, `[steps, batch, units]`, and the final state.
    """
    if compilation.parts > 1 and keep is None:
        return _in_parts(hidden, state, weights, dropout_masks, compilation, recompute)
    if recompute:
        return _recomputed(hidden, state, weights, dropout_masks, compilation, recompute)
    hiddens, memories = [], []
    # The gradient of an index is as large as all layers, that of unstacking is a stack.
    layers = zip(*map(tf.unstack, (*state, *weights)), strict=True)
    for layer, (first_hidden, first_memory, kernel, bias) in enumerate(layers):
        if layer and dropout_masks is not None:
            hidden *= dropout_masks[:, layer - 1]
        hidden, final_hidden, final_memory = _lstm_layer(
            hidden,
            tf.cast(first_hidden, hidden.dtype),
            first_memory,
            kernel,
            bias,
            compilation,
            keep,
        )
        hiddens.append(final_hidden)
        memories.append(final_memory)
    return hidden, State(tf.stack(hiddens), tf.stack(memories))


def _in_parts(hidden, state, weights, dropout_masks, compilation, recompute):
    """Runs the net for each group of batch rows; nothing connects them but the weights."""
    split = Split.of(hidden.shape[1], compilation.parts)
    alone = compilation._replace(parts=1)
    tops, states = zip(
        *(
            stacked_lstm(below, State(*entering), weights, masks, alone, recompute)
            for below, entering, masks in zip(
                split.parts(hidden, 1),
                zip(*(split.parts(side, 1) for side in state), strict=True),
                split.parts(dropout_masks, 2),
                strict=True,
            )
        ),
        strict=True,
    )
    return tf.concat(tops, axis=1), State(
        *(tf.concat(parts, axis=1) for parts in zip(*states, strict=True))
    )


def _recomputed(hidden, state, weights, dropout_masks, compilation, piece):
    """`stacked_lstm` in pieces."""
    cut = Cut.of(shape_of(hidden)[0], piece, compilation)

    def run(index, border, sides, flat_weights, training):
        del training  # the tape of a piece is small
        masks = cut.part_of_cells(dropout_masks, index)
        top, border = stacked_lstm(
            sides, State(*border), StackedWeights(*flat_weights), masks, compilation
        )
        return tuple(border), top

    border = tf.cast(state.hidden, hidden.dtype), state.memory
    final, top = recomputed(run, cut, border, hidden, list(weights))
    return top, State(*final)


def _lstm_layer(inputs, initial_hidden, initial_memory, kernel, bias, compilation, keep):
    """One layer over `[steps, batch, units]`; returns outputs, final hidden, final memory."""

    @tf.custom_gradient
    def differentiable(inputs, initial_hidden, initial_memory, kernel, bias):
        layer = _Layer(inputs, kernel, compilation)
        outputs, hidden, memory, tape = layer.forward(
            inputs, initial_hidden, initial_memory, bias, keep
        )

        def gradient(outputs_gradient, hidden_gradient, memory_gradient):
            if keep is not None:
                raise NotImplementedError("a stacked LSTM has no gradient with keep")
            before = tf.concat([initial_hidden[None], outputs[:-1]], axis=0)
            return layer.backward(
                tape, inputs, before, outputs_gradient, hidden_gradient, memory_gradient
            )

        return (outputs, hidden, memory), gradient

    return differentiable(inputs, initial_hidden, initial_memory, kernel, bias)


class _Layer:
    """The two loops over the steps of one layer."""

    def __init__(self, inputs, kernel, compilation):
        self._steps, self._batch, self._units = shape_of(inputs)
        self._dtype = inputs.dtype
        self._kernel_dtype = kernel.dtype
        self._compilation = compilation
        kernels = tf.split(tf.cast(kernel, inputs.dtype), 2, axis=0)
        self._input_kernel, self._recurrent_kernel = (
            _layouts(kernel, compilation.whole) for kernel in kernels
        )
        self._gates = compiled(_gates, compilation)
        self._gates_gradient = compiled(lstm_transform_gradient, compilation)

    def forward(self, inputs, hidden, memory, bias, keep):
        """Outputs, the final hidden and memory vectors, and what to keep."""
        projected = self._tall_product(inputs, *self._input_kernel[0])
        kernel, transpose = self._recurrent_kernel[0]

        reading = Reading(lambda at: projected[at], self._compilation)

        def step(at, hidden, memory, held, arrays):
            recurrent = tf.matmul(hidden, kernel, transpose_b=transpose)
            new = self._gates(reading.now(at, held), recurrent, bias, memory)
            kept = (new.hidden, memory, new.activations)
            arrays = [one.write(at, entry) for one, entry in zip(arrays, kept, strict=True)]
            after = new.hidden, new.memory
            if keep is not None:
                goes_on = keep[at][:, None]
                after = tuple(map(tf.where, (goes_on,) * 2, after, (hidden, memory)))
            held = reading.ahead(tf.minimum(at + 1, self._steps - 1))
            return at + 1, *after, held, arrays

        arrays = [self._array(1), self._array(1, memory.dtype), self._array(4)]
        variables = hidden, memory, reading.ahead(0), arrays
        _, hidden, memory, _, arrays = self._loop(step, variables)
        return arrays[0].stack(), hidden, memory, arrays[1:]

    def backward(self, tape, inputs, before, outputs_gradient, hidden_gradient, memory_gradient):
        """Gradients of inputs, initial hidden and memory, kernel and bias."""
        memories, activations = tape
        kernel, transpose = self._recurrent_kernel[1]

        def read(at):
            return activations.read(at), memories.read(at), outputs_gradient[at]

        reading = Reading(read, self._compilation)

        def step(count, hidden_gradient, memory_gradient, held, array):
            at = self._steps - 1 - count
            *kept, from_output = reading.now(at, held)
            gates, memory_gradient = self._gates_gradient(
                *kept, hidden_gradient + from_output, memory_gradient
            )
            hidden_gradient = tf.matmul(gates, kernel, transpose_b=transpose)
            held = reading.ahead(tf.maximum(at - 1, 0))
            return count + 1, hidden_gradient, memory_gradient, held, array.write(at, gates)

        held = reading.ahead(self._steps - 1)
        variables = hidden_gradient, memory_gradient, held, self._array(4)
        _, hidden_gradient, memory_gradient, _, gates = self._loop(step, variables)
        gates = gates.stack()
        flat = tf.reshape(gates, [-1, 4 * self._units])
        kernels = [
            tf.matmul(tf.reshape(part, [-1, self._units]), flat, transpose_a=True)
            for part in (inputs, before)
        ]
        return (
            self._tall_product(gates, *self._input_kernel[1]),
            hidden_gradient,
            memory_gradient,
            tf.cast(tf.concat(kernels, axis=0), self._kernel_dtype),
            sum_of_rows(flat, self._kernel_dtype, self._compilation.whole),
        )

    def _array(self, width, dtype=None):
        return tf.TensorArray(
            dtype or self._dtype,
            size=self._steps,
            element_shape=[
                self._batch if isinstance(self._batch, int) else None,
                width * self._units,
            ],
            clear_after_read=False,
        )

    def _loop(self, step, variables):
        return tf.while_loop(
            lambda count, *_: count < self._steps,
            step,
            (tf.constant(0), *variables),
            maximum_iterations=self._steps,
        )

    def _tall_product(self, rows, kernel, transpose):
        flat = tf.matmul(tf.reshape(rows, [-1, rows.shape[-1]]), kernel, transpose_b=transpose)
        return tf.reshape(flat, [self._steps, self._batch, flat.shape[-1]])


def _gates(projected, recurrent, bias, memory):
    """`lstm_transform` of the sum of the two halves of the product."""
    bias = tf.cast(projected, memory.dtype) + tf.cast(bias, memory.dtype)
    return lstm_transform(recurrent, bias, memory)


def _layouts(kernel, whole):
    """A kernel and whether to transpose it, for the product and for its gradient.

    See `products.Products` for the reason.
    """
    if whole or kernel.dtype == tf.bfloat16:
        forward = (kernel, False) if whole else (tf.transpose(kernel), True)
        return forward, (kernel, True)
    return (kernel, False), (tf.transpose(kernel), False)
