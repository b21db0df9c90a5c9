"""The loops over the time steps of one layer of a stacked net, forward and backward."""

from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.cell import Cell, CellOutput, Parameters
from ..config import OutputEquation
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

OUTPUT_EQUATION: OutputEquation = "o*tanh(m)"
"""The equation of h' of the cell "lstm", that of `keras.layers.LSTM`."""


class LayerResiduals(NamedTuple):
    """The residuals of one layer, as arrays over the steps.

    Attributes:
      memory: The memory vectors that entered.
      activations: The activations of the cell.
      old_hidden: The hidden vectors that entered, where a mask holds some of them; None where they
        are the outputs of the step before.
    """

    memory: tf.TensorArray
    activations: tf.TensorArray
    old_hidden: tf.TensorArray | None


class LayerLoop:
    """The two loops over the steps of one layer.

    Args:
      cell: The cell of the layer.
      inputs: The inputs, `[steps, batch, units]`.
      kernel: The kernel, `[2 * units, gates * units]`, applied to `[h_below, h_time]`.
      parameters: The cell's own parameters.
      compilation: How the gates are compiled.
      keep: The mask, `[steps, batch]`; None for no mask.
    """

    def __init__(
        self,
        cell: Cell,
        inputs: tf.Tensor,
        kernel: tf.Tensor,
        parameters: Parameters,
        compilation: Compilation,
        keep: tf.Tensor | None,
    ):
        self._cell = cell
        self._parameters = parameters
        self._steps, self._batch, self._units = shape_of(inputs)
        self._dtype = inputs.dtype
        self._kernel_dtype = kernel.dtype
        self._compilation = compilation
        self._keep = keep
        kernels = tf.split(tf.cast(kernel, inputs.dtype), 2, axis=0)
        self._input_kernel, self._recurrent_kernel = (
            kernel_layouts(kernel, compilation.jits_step) for kernel in kernels
        )
        self._gates = compiled(_gates, compilation, cell)
        self._gates_backward = compiled(_gates_backward, compilation, cell)

    def forward(
        self,
        save: bool,
        inputs: tf.Tensor,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        bias: tf.Tensor,
        below: tuple[tf.Tensor, ...] = (),
    ) -> tuple[tuple[tf.Tensor, ...], LayerResiduals | None]:
        """Computes one layer over all steps.

        Args:
          save: Whether to save the residuals.
          inputs: The inputs, `[steps, batch, units]`.
          hidden: The hidden vectors before the first step, `[batch, units]`.
          memory: The memory vectors before the first step, `[batch, width]`.
          bias: The bias.
          below: The memories of the layer below at all steps, `[steps, batch, units]`, for a cell
            that takes them. Default: none.

        Returns:
          The outputs, the final hidden and memory vectors, for a cell that takes those of the layer
          below its memories at all steps; and the residuals.
        """
        projected = tall_product(inputs, *self._input_kernel[0])
        kernel, transpose = self._recurrent_kernel[0]
        prefetch = Prefetch(
            lambda at: (projected[at], *(one[at] for one in below)), self._compilation
        )

        def step(
            at: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, fetched: Any, arrays: list
        ) -> tuple:
            recurrent = tf.matmul(hidden, kernel, transpose_b=transpose)
            added, *below = prefetch.current(at, fetched)
            entering = tf.concat([memory, *below], axis=-1) if below else memory
            new = self._gates(added, recurrent, bias, entering, self._parameters)
            entries = [new.hidden, *(new.memory for _ in below), entering, new.activations]
            state = new.hidden, new.memory
            if self._keep is not None:
                entries.append(hidden)
                state = hold(self._keep[at], state, (hidden, memory))
            arrays = [array.write(at, one) for array, one in zip(arrays, entries, strict=False)]
            fetched = prefetch.next(tf.minimum(at + 1, self._steps - 1))
            return at + 1, *state, fetched, arrays

        arrays = [self._array(1), *(self._array_like(memory) for _ in below)]
        if save:
            width = memory.shape[-1] + sum(one.shape[-1] for one in below)
            arrays += [self._array_of(width, memory.dtype), self._array(self._cell.gates)]
            arrays += [] if self._keep is None else [self._array(1)]
        variables = hidden, memory, prefetch.next(0), arrays
        hidden, memory, _, arrays = loop_over(self._steps, step, variables)
        outputs, *memories = (array.stack() for array in arrays[: 1 + len(below)])
        residuals = None
        if save:
            entered, activations, *old_hidden = arrays[1 + len(below) :]
            residuals = LayerResiduals(entered, activations, *(old_hidden or [None]))
        return (outputs, hidden, memory, *memories), residuals

    def backward(
        self,
        residuals: LayerResiduals,
        inputs: tf.Tensor,
        old_hidden: tf.Tensor,
        d_outputs: tf.Tensor,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        d_memories: tuple[tf.Tensor, ...] = (),
    ) -> tuple[tf.Tensor, ...]:
        """Computes the gradients of inputs, initial hidden and memory, and of all weights.

        Those of the memories of the layer below, for a cell that takes them, follow the initial
        memory's. The arguments are the residuals, what entered, and the gradients of what `forward`
        returned.
        """
        kernel, transpose = self._recurrent_kernel[1]

        def read(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
            saved = residuals.activations.read(at), residuals.memory.read(at)
            return *saved, d_outputs[at], *(one[at] for one in d_memories)

        prefetch = Prefetch(read, self._compilation)

        def step(
            count: tf.Tensor,
            d_hidden: tf.Tensor,
            d_memory: tf.Tensor,
            fetched: Any,
            arrays: tuple[tf.TensorArray, ...],
        ) -> tuple:
            at = self._steps - 1 - count
            activations, memory, d_output, *d_above = prefetch.current(at, fetched)
            d_held = None
            if self._keep is not None:
                (d_hidden, d_memory), d_held = hold_gradient(self._keep[at], (d_hidden, d_memory))
            upstream = d_hidden + d_output, sum(d_above, d_memory)
            d_gates, d_entering = self._gates_backward(
                activations, memory, self._parameters, *upstream
            )
            d_memory, *d_below = tf.split(d_entering, 2, axis=-1) if d_above else [d_entering]
            d_hidden = tf.matmul(d_gates, kernel, transpose_b=transpose)
            if d_held is not None:
                d_hidden, d_memory = d_hidden + d_held[0], d_memory + d_held[1]
            fetched = prefetch.next(tf.maximum(at - 1, 0))
            entries = zip(arrays, (d_gates, *d_below, *upstream), strict=False)
            arrays = tuple(array.write(at, one) for array, one in entries)
            return count + 1, d_hidden, d_memory, fetched, arrays

        arrays: tuple[tf.TensorArray, ...] = (self._array(self._cell.gates),)
        arrays += tuple(self._array_like(d_memory) for _ in d_memories)
        if self._parameters:
            arrays += (self._array_like(d_hidden), self._array_like(d_memory))
        variables = d_hidden, d_memory, prefetch.next(self._steps - 1), arrays
        d_hidden, d_memory, _, arrays = loop_over(self._steps, step, variables)
        d_gates, *rest = (array.stack() for array in arrays)
        d_below, upstream = rest[: len(d_memories)], rest[len(d_memories) :]
        flat = tf.reshape(d_gates, [-1, self._cell.gates * self._units])
        d_kernels = [
            tf.matmul(tf.reshape(part, [-1, self._units]), flat, transpose_a=True)
            for part in (inputs, old_hidden)
        ]
        return (
            tall_product(d_gates, *self._input_kernel[1]),
            d_hidden,
            d_memory,
            *d_below,
            tf.cast(tf.concat(d_kernels, axis=0), self._kernel_dtype),
            sum_rows(flat, self._kernel_dtype, self._compilation.jits_step),
            *self._parameter_gradients(residuals, *upstream),
        )

    def _parameter_gradients(self, residuals: LayerResiduals, *upstream: tf.Tensor) -> Parameters:
        """Computes the gradients of the cell's own parameters, over all steps at once."""
        if self._cell.parameter_gradients is None:
            return ()
        saved = residuals.activations.stack(), residuals.memory.stack()
        activations, memory, d_hidden, d_memory = (
            tf.reshape(part, [-1, part.shape[-1]]) for part in (*saved, *upstream)
        )
        gradients = self._cell.parameter_gradients(
            activations, memory, self._parameters, d_hidden, d_memory, OUTPUT_EQUATION
        )
        return tuple(tf.cast(one, self._kernel_dtype) for one in gradients)

    def _array(self, width: int) -> tf.TensorArray:
        """Returns an empty array of one entry `[batch, width * units]` per step."""
        return self._array_of(width * self._units, self._dtype)

    def _array_like(self, vectors: tf.Tensor) -> tf.TensorArray:
        """Returns an empty array of one entry per step, each like vectors `[batch, width]`."""
        return self._array_of(vectors.shape[-1], vectors.dtype)

    def _array_of(self, width: int, dtype: tf.DType) -> tf.TensorArray:
        return step_array(self._steps, self._batch, width, dtype)


def _gates(
    cell: Cell,
    projected: tf.Tensor,
    recurrent: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
) -> CellOutput:
    """Applies a cell to the sum of the two halves of the product."""
    bias = tf.cast(projected, memory.dtype) + tf.cast(bias, memory.dtype)
    return cell.forward(recurrent, bias, memory, parameters, OUTPUT_EQUATION)


def _gates_backward(
    cell: Cell,
    activations: tf.Tensor,
    memory: tf.Tensor,
    parameters: Parameters,
    d_hidden: tf.Tensor,
    d_memory: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of what a cell receives."""
    return cell.backward(activations, memory, parameters, d_hidden, d_memory, OUTPUT_EQUATION)
