"""The loops over the time steps of a recurrent highway network, forward and backward."""

from typing import Any

import tensorflow as tf

from ..execution.compilation import Compilation, Prefetch, compiled
from ..execution.time_steps import (
    hold,
    hold_gradient,
    kernel_layouts,
    loop_over,
    step_array,
    tall_product,
)
from ..grid.wavefront.products import sum_rows
from ..shapes import shape_of
from .gate import highway_backward, highway_forward

Residuals = list[tuple[tf.TensorArray, tf.TensorArray]]
"""Per micro-layer the state that entered it, in the compute dtype, and its activations."""


class HighwayLoop:
    """The two loops over the steps.

    Args:
      inputs: The inputs, `[steps, batch, features]`.
      kernel: The kernel of the inputs, `[features, 2 * units]`.
      recurrent_kernel: The kernels of the micro-layers, `[depth, units, 2 * units]`.
      bias: The biases, `[depth, 2 * units]`.
      compilation: How the gates are compiled.
      keep: The mask, `[steps, batch]`; None for no mask.
      dropout_mask: Factors on the state where it enters products, `[batch, units]`; None for none.
    """

    def __init__(
        self,
        inputs: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
        compilation: Compilation,
        keep: tf.Tensor | None,
        dropout_mask: tf.Tensor | None,
    ):
        self._steps, self._batch, _ = shape_of(inputs)
        self._units = recurrent_kernel.shape[1]
        self._dtype = inputs.dtype
        self._kernel_dtype = kernel.dtype
        self._compilation = compilation
        self._keep = keep
        self._dropout_mask = dropout_mask
        self._input_kernel = kernel_layouts(tf.cast(kernel, inputs.dtype), compilation.jits_step)
        self._recurrent_kernels = [
            kernel_layouts(tf.cast(one, inputs.dtype), compilation.jits_step)
            for one in tf.unstack(recurrent_kernel)
        ]
        self._biases = tf.unstack(bias)
        self._gate = compiled(highway_forward, compilation)
        self._gate_backward = compiled(highway_backward, compilation)

    def forward(
        self, save: bool, inputs: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Residuals | None]:
        """Computes outputs, final hidden and memory vectors, and with `save` the residuals."""
        projected = tall_product(inputs, *self._input_kernel[0])
        prefetch = Prefetch(lambda at: projected[at], self._compilation)

        def step(
            at: tf.Tensor,
            hidden: tf.Tensor,
            memory: tf.Tensor,
            fetched: Any,
            outputs: tf.TensorArray,
            residuals: Residuals,
        ) -> tuple:
            old = hidden, memory
            addends: tuple[tf.Tensor, ...] = (prefetch.current(at, fetched),)
            written = []
            for layer, (forward_kernel, _) in enumerate(self._recurrent_kernels):
                product = self._product(hidden, *forward_kernel)
                new = self._gate(product, self._biases[layer], memory, *addends)
                if residuals:
                    states, activations = residuals[layer]
                    written.append(
                        (states.write(at, hidden), activations.write(at, new.activations))
                    )
                hidden, memory = new.hidden, new.carried
                addends = ()
            outputs = outputs.write(at, hidden)
            if self._keep is not None:
                hidden, memory = hold(self._keep[at], (hidden, memory), old)
            fetched = prefetch.next(tf.minimum(at + 1, self._steps - 1))
            return at + 1, hidden, memory, fetched, outputs, written

        residuals = [(self._array(1), self._array(2)) for _ in self._biases] if save else []
        variables = hidden, memory, prefetch.next(0), self._array(1), residuals
        hidden, memory, _, outputs, residuals = loop_over(self._steps, step, variables)
        return outputs.stack(), hidden, memory, residuals

    def backward(
        self,
        residuals: Residuals,
        inputs: tf.Tensor,
        d_outputs: tf.Tensor,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Computes the gradients of inputs, initial hidden and memory, and of all weights."""

        def read(at: tf.Tensor) -> tuple:
            saved = [(states.read(at), activations.read(at)) for states, activations in residuals]
            return d_outputs[at], saved

        prefetch = Prefetch(read, self._compilation)

        def step(
            count: tf.Tensor, d_hidden: tf.Tensor, d_memory: tf.Tensor, fetched: Any, arrays: list
        ) -> tuple:
            at = self._steps - 1 - count
            d_output, saved = prefetch.current(at, fetched)
            d_held = None
            if self._keep is not None:
                (d_hidden, d_memory), d_held = hold_gradient(self._keep[at], (d_hidden, d_memory))
            d_hidden += d_output
            arrays = list(arrays)
            for layer in reversed(range(len(saved))):
                state, activations = saved[layer]
                d_z, d_memory = self._gate_backward(activations, state, d_hidden, d_memory)
                d_hidden = self._product_gradient(d_z, *self._recurrent_kernels[layer][1])
                arrays[layer] = arrays[layer].write(at, d_z)
            if d_held is not None:
                d_hidden, d_memory = d_hidden + d_held[0], d_memory + d_held[1]
            return count + 1, d_hidden, d_memory, prefetch.next(tf.maximum(at - 1, 0)), arrays

        arrays = [self._array(2) for _ in residuals]
        variables = d_hidden, d_memory, prefetch.next(self._steps - 1), arrays
        d_hidden, d_memory, _, arrays = loop_over(self._steps, step, variables)
        d_z = [array.stack() for array in arrays]
        states = [self._dropped(array.stack()) for array, _ in residuals]
        return (
            tall_product(d_z[0], *self._input_kernel[1]),
            d_hidden,
            d_memory,
            self._kernel_gradient(inputs, d_z[0]),
            tf.stack([self._kernel_gradient(*pair) for pair in zip(states, d_z, strict=True)]),
            tf.stack([self._bias_gradient(one) for one in d_z]),
        )

    def _dropped(self, states: tf.Tensor) -> tf.Tensor:
        """Applies the dropout mask to states `[..., batch, units]`."""
        return states if self._dropout_mask is None else states * self._dropout_mask

    def _product(self, state: tf.Tensor, kernel: tf.Tensor, transpose: bool) -> tf.Tensor:
        return tf.matmul(self._dropped(state), kernel, transpose_b=transpose)

    def _product_gradient(self, d_z: tf.Tensor, kernel: tf.Tensor, transpose: bool) -> tf.Tensor:
        return self._dropped(tf.matmul(d_z, kernel, transpose_b=transpose))

    def _kernel_gradient(self, rows: tf.Tensor, d_z: tf.Tensor) -> tf.Tensor:
        """Computes the gradient of a kernel over all steps, as one product."""
        rows, d_z = (tf.reshape(part, [-1, part.shape[-1]]) for part in (rows, d_z))
        return tf.cast(tf.matmul(rows, d_z, transpose_a=True), self._kernel_dtype)

    def _bias_gradient(self, d_z: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(d_z, [-1, d_z.shape[-1]])
        return sum_rows(flat, self._kernel_dtype, self._compilation.jits_step)

    def _array(self, width: int) -> tf.TensorArray:
        """Returns an empty array of one entry `[batch, width * units]` per step."""
        return step_array(self._steps, self._batch, width * self._units, self._dtype)
