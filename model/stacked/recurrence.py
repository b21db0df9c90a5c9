"""The stacked LSTM over a sequence, with a hand-written gradient.

A 2-D grid whose depth dimension is a plain identity is this net. Its layers are run one after the
other over the whole sequence, because then the input half of every product is a single tall one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.cell import CellOutput
from ..cells.lstm import lstm_backward, lstm_forward
from ..core import State
from ..execution.batch_shards import BatchShards, concat_shards
from ..execution.compilation import GATES, Compilation, Prefetch, compiled
from ..grid.checkpointing import Segments, checkpointed
from ..grid.wavefront.products import sum_rows
from ..shapes import shape_of
from .weights import StackedWeights

RESIDUAL_SIZE = 1 + 4, 1
"""The numbers that the forward pass saves per layer, step and batch row, in multiples of `units`:
h' and the gates in the compute dtype, m in that of the memory; see `residuals.residual_size`."""


def stacked_lstm(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None = None,
    compilation: Compilation = GATES,
    remat_steps: int = 0,
    keep: tf.Tensor | None = None,
) -> tuple[tf.Tensor, State]:
    """Computes a stacked LSTM over a sequence.

        z = [h_below, h_time] W + b, then `cells.lstm.lstm_forward`, per layer and step

    Products are computed in the dtype of `hidden`, all else in that of the state's memory.
    `RESIDUAL_SIZE` says what the forward pass saves. Second derivatives are not supported.

    Args:
      hidden: The inputs, `[steps, batch, units]`.
      state: The state before the first step.
      weights: The weights.
      dropout_masks: Factors on what each layer but the first receives from the layer below,
        `[steps, layers - 1, batch, units]`; None for no dropout.
      compilation: How the net is compiled. Default: its gates alone.
      remat_steps: The length, in steps, of the segments whose residuals the backward pass computes
        again; 0 to store those of all steps.
      keep: The mask, `[steps, batch]`, boolean; a step where it is False leaves the state as it is,
        and what it puts out means nothing. None for no mask.

    Returns:
      The hidden vectors of the last layer, `[steps, batch, units]`, and the final state.
    """
    if compilation.batch_shards > 1:
        return _sharded(hidden, state, weights, dropout_masks, compilation, remat_steps, keep)
    if remat_steps:
        return _checkpointed(hidden, state, weights, dropout_masks, compilation, remat_steps, keep)
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
    return hidden, State(hidden=tf.stack(hiddens), memory=tf.stack(memories))


def _sharded(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    remat_steps: int,
    keep: tf.Tensor | None,
) -> tuple[tf.Tensor, State]:
    """Runs the net for each shard of the batch."""
    shards = BatchShards.create(hidden.shape[1], compilation.batch_shards)
    single = compilation._replace(batch_shards=1)

    def run(hidden: tf.Tensor, state: State, masks: Any, keep: Any) -> tuple[tf.Tensor, State]:
        return stacked_lstm(hidden, state, weights, masks, single, remat_steps, keep)

    results = shards.map(run, (hidden, 1), (state, 1), (dropout_masks, 2), (keep, 1))
    return concat_shards(results, axis=1)


def _checkpointed(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    remat_steps: int,
    keep: tf.Tensor | None,
) -> tuple[tf.Tensor, State]:
    """Computes `stacked_lstm` in segments."""
    segments = Segments.create(shape_of(hidden)[0], remat_steps, compilation)

    def run(
        index: tf.Tensor, boundary: tuple, sides: tf.Tensor, flat_weights: list, training: bool
    ) -> tuple[tuple, tf.Tensor]:
        del training  # the residuals of a segment are small
        masks = segments.cell_slice(dropout_masks, index)
        top, final = stacked_lstm(
            sides,
            State(*boundary),
            StackedWeights(*flat_weights),
            masks,
            compilation,
            keep=segments.cell_slice(keep, index),
        )
        return tuple(final), top

    boundary = tf.cast(state.hidden, hidden.dtype), state.memory
    final, top = checkpointed(run, segments, boundary, hidden, list(weights))
    return top, State(*final)


def _lstm_layer(
    inputs: tf.Tensor,
    initial_hidden: tf.Tensor,
    initial_memory: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    compilation: Compilation,
    keep: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes one layer over `[steps, batch, units]`: its outputs, final hidden and memory."""

    @tf.custom_gradient
    def differentiable(
        inputs: tf.Tensor,
        initial_hidden: tf.Tensor,
        initial_memory: tf.Tensor,
        kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> Any:
        layer = _Layer(inputs, kernel, compilation, keep)
        outputs, hidden, memory, residuals = layer.forward(
            inputs, initial_hidden, initial_memory, bias
        )

        def gradient(
            d_outputs: tf.Tensor, d_hidden: tf.Tensor, d_memory: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            if residuals.old_hidden is None:
                old_hidden = tf.concat([initial_hidden[None], outputs[:-1]], axis=0)
            else:
                old_hidden = residuals.old_hidden.stack()
            return layer.backward(residuals, inputs, old_hidden, d_outputs, d_hidden, d_memory)

        return (outputs, hidden, memory), gradient

    return differentiable(inputs, initial_hidden, initial_memory, kernel, bias)


class _LayerResiduals(NamedTuple):
    """The residuals of one layer, as arrays over the steps.

    Attributes:
      memory: The memory vectors that entered.
      activations: The gates.
      old_hidden: The hidden vectors that entered, where a mask holds some of them; None where they
        are the outputs of the step before.
    """

    memory: tf.TensorArray
    activations: tf.TensorArray
    old_hidden: tf.TensorArray | None


class _Layer:
    """The two loops over the steps of one layer."""

    def __init__(
        self,
        inputs: tf.Tensor,
        kernel: tf.Tensor,
        compilation: Compilation,
        keep: tf.Tensor | None,
    ):
        self._steps, self._batch, self._units = shape_of(inputs)
        self._dtype = inputs.dtype
        self._kernel_dtype = kernel.dtype
        self._compilation = compilation
        self._keep = keep
        kernels = tf.split(tf.cast(kernel, inputs.dtype), 2, axis=0)
        self._input_kernel, self._recurrent_kernel = (
            _layouts(kernel, compilation.jits_step) for kernel in kernels
        )
        self._gates = compiled(_gates, compilation)
        self._gates_backward = compiled(lstm_backward, compilation)

    def forward(
        self, inputs: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, _LayerResiduals]:
        """Computes the outputs, the final hidden and memory vectors, and the residuals."""
        projected = self._tall_product(inputs, *self._input_kernel[0])
        kernel, transpose = self._recurrent_kernel[0]
        prefetch = Prefetch(lambda at: projected[at], self._compilation)

        def step(
            at: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, fetched: Any, arrays: list
        ) -> tuple:
            recurrent = tf.matmul(hidden, kernel, transpose_b=transpose)
            new = self._gates(prefetch.current(at, fetched), recurrent, bias, memory)
            entries = [new.hidden, memory, new.activations]
            state = new.hidden, new.memory
            if self._keep is not None:
                entries.append(hidden)
                state = _hold(self._keep[at], state, (hidden, memory))
            arrays = [array.write(at, one) for array, one in zip(arrays, entries, strict=True)]
            fetched = prefetch.next(tf.minimum(at + 1, self._steps - 1))
            return at + 1, *state, fetched, arrays

        arrays = [self._array(1), self._array(1, memory.dtype), self._array(4)]
        if self._keep is not None:
            arrays.append(self._array(1))
        variables = hidden, memory, prefetch.next(0), arrays
        _, hidden, memory, _, arrays = self._loop(step, variables)
        residuals = _LayerResiduals(
            memory=arrays[1],
            activations=arrays[2],
            old_hidden=arrays[3] if self._keep is not None else None,
        )
        return arrays[0].stack(), hidden, memory, residuals

    def backward(
        self,
        residuals: _LayerResiduals,
        inputs: tf.Tensor,
        old_hidden: tf.Tensor,
        d_outputs: tf.Tensor,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Computes the gradients of inputs, initial hidden and memory, kernel and bias."""
        kernel, transpose = self._recurrent_kernel[1]

        def read(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return residuals.activations.read(at), residuals.memory.read(at), d_outputs[at]

        prefetch = Prefetch(read, self._compilation)

        def step(
            count: tf.Tensor,
            d_hidden: tf.Tensor,
            d_memory: tf.Tensor,
            fetched: Any,
            array: tf.TensorArray,
        ) -> tuple:
            at = self._steps - 1 - count
            activations, memory, d_output = prefetch.current(at, fetched)
            d_held = None
            if self._keep is not None:
                (d_hidden, d_memory), d_held = _hold_gradient(self._keep[at], (d_hidden, d_memory))
            d_gates, d_memory = self._gates_backward(
                activations, memory, d_hidden + d_output, d_memory
            )
            d_hidden = tf.matmul(d_gates, kernel, transpose_b=transpose)
            if d_held is not None:
                d_hidden, d_memory = d_hidden + d_held[0], d_memory + d_held[1]
            fetched = prefetch.next(tf.maximum(at - 1, 0))
            return count + 1, d_hidden, d_memory, fetched, array.write(at, d_gates)

        variables = d_hidden, d_memory, prefetch.next(self._steps - 1), self._array(4)
        _, d_hidden, d_memory, _, d_gates = self._loop(step, variables)
        d_gates = d_gates.stack()
        flat = tf.reshape(d_gates, [-1, 4 * self._units])
        d_kernels = [
            tf.matmul(tf.reshape(part, [-1, self._units]), flat, transpose_a=True)
            for part in (inputs, old_hidden)
        ]
        return (
            self._tall_product(d_gates, *self._input_kernel[1]),
            d_hidden,
            d_memory,
            tf.cast(tf.concat(d_kernels, axis=0), self._kernel_dtype),
            sum_rows(flat, self._kernel_dtype, self._compilation.jits_step),
        )

    def _array(self, width: int, dtype: tf.DType | None = None) -> tf.TensorArray:
        batch = self._batch if isinstance(self._batch, int) else None
        return tf.TensorArray(
            dtype or self._dtype,
            size=self._steps,
            element_shape=[batch, width * self._units],
            clear_after_read=False,
        )

    def _loop(self, step: Callable, variables: tuple) -> tuple:
        return tf.while_loop(
            lambda count, *_: count < self._steps,
            step,
            (tf.constant(0), *variables),
            maximum_iterations=self._steps,
        )

    def _tall_product(self, rows: tf.Tensor, kernel: tf.Tensor, transpose: bool) -> tf.Tensor:
        flat = tf.matmul(tf.reshape(rows, [-1, rows.shape[-1]]), kernel, transpose_b=transpose)
        return tf.reshape(flat, [self._steps, self._batch, flat.shape[-1]])


def _hold(keep: tf.Tensor, new: tuple, old: tuple) -> tuple:
    """Returns the old state where the mask `[batch]` of a step is False."""
    return tuple(tf.where(keep[:, None], a, b) for a, b in zip(new, old, strict=True))


def _hold_gradient(keep: tf.Tensor, d_state: tuple) -> tuple[tuple, tuple]:
    """Splits the gradient of a state into those of the new and of the old state."""
    d_new = tuple(tf.where(keep[:, None], one, tf.zeros_like(one)) for one in d_state)
    d_old = tuple(tf.where(keep[:, None], tf.zeros_like(one), one) for one in d_state)
    return d_new, d_old


def _gates(
    projected: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, memory: tf.Tensor
) -> CellOutput:
    """Applies the LSTM cell to the sum of the two halves of the product."""
    bias = tf.cast(projected, memory.dtype) + tf.cast(bias, memory.dtype)
    return lstm_forward(recurrent, bias, memory)


def _layouts(
    kernel: tf.Tensor, jits_step: bool
) -> tuple[tuple[tf.Tensor, bool], tuple[tf.Tensor, bool]]:
    """Returns a kernel, and whether to transpose it, for the product and for its gradient.

    `grid.wavefront.products.Products` gives the reason.
    """
    if jits_step or kernel.dtype == tf.bfloat16:
        forward = (kernel, False) if jits_step else (tf.transpose(kernel), True)
        return forward, (kernel, True)
    return (kernel, False), (tf.transpose(kernel), False)
