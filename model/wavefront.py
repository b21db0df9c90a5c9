"""The 2-D grid along its anti-diagonals, with a hand-written gradient.

Cell (t, l) needs only (t-1, l) and (t, l-1), so all cells with t + l = d are independent. Stepping
over the `steps + layers - 1` diagonals d, slot l of a stacked state holds layer l; the depth
outputs move up one slot per diagonal. A grid of T steps and L layers takes T + L - 1 sequential
steps instead of T * L, and where weights are shared each product is L times taller.

The backward pass walks the diagonals in reverse and computes only the gates' gradients; the weight
gradients are one tall product each afterwards, instead of a weight-sized sum at every step.
"""

from typing import NamedTuple

import tensorflow as tf

from model.config import GridEquations
from model.grid import GridWeights, State
from model.lstm_transform import lstm_transform, lstm_transform_gradient, shape_of


class _Tape(NamedTuple):
    """What the forward pass keeps for the backward pass, one entry per diagonal.

    In all `13 * units` numbers per cell.
    """

    inputs: tf.Tensor  # [diagonals, layers, batch, 2 * units], [h_depth, h_time]
    new_time_hidden: tf.Tensor  # [diagonals, layers, batch, units]
    time_memory: tf.Tensor  # [diagonals, layers, batch, units], before the update
    time_activations: tf.Tensor  # [diagonals, layers, batch, 4 * units]
    depth_memory: tf.Tensor  # [diagonals, layers, batch, units], before the update
    depth_activations: tf.Tensor  # [diagonals, layers, batch, 4 * units]


def grid_wavefront(
    hidden: tf.Tensor,
    memory: tf.Tensor,
    state: State,
    weights: GridWeights,
    equations: GridEquations,
    dropout_masks: tf.Tensor | None = None,
) -> tuple[tf.Tensor, State]:
    """The same function of the same arguments as `grid.grid_reference`, faster.

    The forward pass keeps `13 * units * batch * layers * (steps + layers - 1)` numbers for the
    backward pass. Second derivatives are not supported.
    """
    masked = dropout_masks is not None

    @tf.custom_gradient
    def differentiable(hidden, memory, time_hidden, time_memory, masks, *kernels):
        grid = _Wavefront(GridWeights(*kernels), equations, masks if masked else None, hidden)
        outputs, final, tape = grid.forward(hidden, memory, State(time_hidden, time_memory), True)

        def gradient(outputs_gradient, hidden_gradient, memory_gradient):
            bottom, initial, weight_gradients = grid.backward(
                tape, outputs_gradient, State(hidden_gradient, memory_gradient)
            )
            return (*bottom, *initial, tf.zeros_like(masks), *weight_gradients)

        return (outputs, *final), gradient

    masks = dropout_masks if masked else tf.zeros([], hidden.dtype)
    outputs, *final = differentiable(hidden, memory, *state, masks, *weights)
    return outputs, State(*final)


def grid_inference(
    hidden: tf.Tensor,
    memory: tf.Tensor,
    state: State,
    weights: GridWeights,
    equations: GridEquations,
) -> tuple[tf.Tensor, State]:
    """`grid_wavefront` without dropout, keeping nothing for a backward pass."""
    grid = _Wavefront(weights, equations, None, hidden)
    outputs, final, _ = grid.forward(hidden, memory, state, False)
    return outputs, final


class _Wavefront:
    """The two loops over the diagonals of one grid."""

    def __init__(self, weights, equations, dropout_masks, hidden):
        self._weights = weights
        self._equations = equations
        self._dropout_masks = dropout_masks
        self._steps = hidden.shape[0] or tf.shape(hidden)[0]

    def _hold(self, diagonal, new, old):
        """The new values in the slots that hold a cell of the grid on this diagonal."""
        layers = old.shape[0]
        if layers == 1:
            return new
        layer = tf.range(layers)
        active = (layer <= diagonal) & (diagonal < layer + self._steps)
        return tf.where(active[:, None, None], new, old)

    def _drop(self, diagonal, crossing):
        """What crosses from the layers to those above them, or its gradient, with dropout."""
        if self._dropout_masks is None or crossing.shape[0] == 0:
            return crossing
        return crossing * self._dropout_masks[diagonal]

    def forward(self, hidden, memory, state, keep_tape):
        """Outputs `[steps, batch, units]`, the final state, and the tape or None."""
        layers, batch, units = state.hidden.shape
        diagonals = self._steps + layers - 1
        padding = tf.zeros([layers - 1, *shape_of(hidden)[1:]], hidden.dtype)
        hidden = tf.concat([hidden, padding], axis=0)
        memory = tf.concat([memory, padding], axis=0)

        def step(diagonal, time, depth, outputs, tape):
            rising = self._drop(diagonal, depth.hidden[:-1])
            below = State(
                tf.concat([hidden[diagonal][None], rising], axis=0),
                tf.concat([memory[diagonal][None], depth.memory[:-1]], axis=0),
            )
            time, depth, kept = self._cells(diagonal, time, below)
            if keep_tape:
                tape = [
                    array.write(diagonal, entry) for array, entry in zip(tape, kept, strict=True)
                ]
            return diagonal + 1, time, depth, outputs.write(diagonal, depth.hidden[-1]), tape

        def array(*shape):
            return tf.TensorArray(hidden.dtype, size=diagonals, element_shape=shape)

        widths = (2, 1, 1, 4, 1, 4) if keep_tape else ()
        _, final, _, outputs, tape = tf.while_loop(
            lambda diagonal, *_: diagonal < diagonals,
            step,
            (
                0,
                state,
                State(*(tf.zeros_like(part) for part in state)),
                array(batch, units),
                [array(layers, batch, width * units) for width in widths],
            ),
        )
        tape = _Tape(*(entry.stack() for entry in tape)) if keep_tape else None
        return outputs.stack()[layers - 1 :], final, tape

    def _cells(self, diagonal, time, below):
        """All cells of a diagonal: the new states along time and depth, and a tape's entry."""
        weights, equation = self._weights, self._equations.output_equation
        inputs = tf.concat([below.hidden, time.hidden], axis=-1)
        preactivations = _affine(inputs, weights.time_kernel, weights.time_bias)
        new_time = lstm_transform(preactivations, time.memory, equation)
        new = State(
            self._hold(diagonal, new_time.hidden, time.hidden),
            self._hold(diagonal, new_time.memory, time.memory),
        )
        depth_inputs = inputs
        if self._equations.depth_priority:
            depth_inputs = tf.concat([below.hidden, new.hidden], axis=-1)
        preactivations = _affine(depth_inputs, weights.depth_kernel, weights.depth_bias)
        depth = lstm_transform(preactivations, below.memory, equation)
        kept = _Tape(
            inputs,
            new.hidden,
            time.memory,
            new_time.activations,
            below.memory,
            depth.activations,
        )
        return new, State(depth.hidden, depth.memory), kept

    def backward(self, tape, outputs_gradient, state_gradient):
        """Gradients of `(hidden, memory)` at the bottom, the initial state, and the weights."""
        layers, batch, units = state_gradient.hidden.shape
        diagonals = self._steps + layers - 1
        none = State(*(tf.zeros_like(part) for part in state_gradient))
        padding = tf.zeros([layers - 1, *shape_of(outputs_gradient)[1:]], outputs_gradient.dtype)
        top = tf.concat([padding, outputs_gradient], axis=0)

        def step(count, time, depth, arrays):
            diagonal = diagonals - 1 - count
            last = depth.hidden[-1] + top[diagonal]
            depth = State(tf.concat([depth.hidden[:-1], last[None]], axis=0), depth.memory)
            time, below, time_z, depth_z = self._cells_gradient(diagonal, tape, time, depth)
            sinking = State(
                tf.concat([self._drop(diagonal, below.hidden[1:]), none.hidden[:1]], axis=0),
                tf.concat([below.memory[1:], none.memory[:1]], axis=0),
            )
            entries = (time_z, depth_z, below.hidden[0], below.memory[0])
            arrays = [
                array.write(diagonal, entry) for array, entry in zip(arrays, entries, strict=True)
            ]
            return count + 1, time, sinking, arrays

        def array(*shape):
            return tf.TensorArray(outputs_gradient.dtype, size=diagonals, element_shape=shape)

        gates, vectors = (layers, batch, 4 * units), (batch, units)
        _, initial, _, arrays = tf.while_loop(
            lambda count, *_: count < diagonals,
            step,
            (
                0,
                state_gradient,
                none,
                [array(*shape) for shape in (gates, gates, vectors, vectors)],
            ),
        )
        time_z, depth_z, hidden, memory = (entry.stack() for entry in arrays)
        bottom = hidden[: self._steps], memory[: self._steps]
        return bottom, initial, self._weights_gradient(tape, time_z, depth_z)

    def _cells_gradient(self, diagonal, tape, time, depth):
        """The derivative of `_cells`.

        Args:
          diagonal: which one.
          tape: what the forward pass kept.
          time: gradients of the new state along time.
          depth: gradients of the new hidden and memory vectors along depth.

        Returns:
          Gradients of the old state along time, of what came from below, and of the two LSTMs'
          preactivations.
        """
        units = time.hidden.shape[-1]
        weights, equation = self._weights, self._equations.output_equation
        depth_z, below_memory = lstm_transform_gradient(
            tape.depth_activations[diagonal],
            tape.depth_memory[diagonal],
            depth.hidden,
            depth.memory,
            equation,
        )
        depth_inputs = _affine_gradient(depth_z, weights.depth_kernel)
        seen_by_depth = depth_inputs[..., units:]
        new_hidden = time.hidden
        if self._equations.depth_priority:
            new_hidden += seen_by_depth
        time_z, old_memory = lstm_transform_gradient(
            tape.time_activations[diagonal],
            tape.time_memory[diagonal],
            new_hidden,
            time.memory,
            equation,
        )
        time_z = self._hold(diagonal, time_z, tf.zeros_like(time_z))
        time_inputs = _affine_gradient(time_z, weights.time_kernel)
        old_hidden = time_inputs[..., units:]
        if not self._equations.depth_priority:
            old_hidden += seen_by_depth
        old = State(
            self._hold(diagonal, old_hidden, time.hidden),
            self._hold(diagonal, old_memory, time.memory),
        )
        below_hidden = depth_inputs[..., :units] + time_inputs[..., :units]
        return old, State(below_hidden, below_memory), time_z, depth_z

    def _weights_gradient(self, tape, time_z, depth_z):
        """In the order of `GridWeights`; one product per kernel over all diagonals."""
        units = tape.new_time_hidden.shape[-1]
        depth_inputs = tape.inputs
        if self._equations.depth_priority:
            depth_inputs = tf.concat([tape.inputs[..., :units], tape.new_time_hidden], axis=-1)
        return (
            *_kernel_and_bias_gradient(tape.inputs, time_z, self._weights.time_kernel),
            *_kernel_and_bias_gradient(depth_inputs, depth_z, self._weights.depth_kernel),
        )


def _affine(inputs, kernel, bias):
    """`[layers, batch, n] x [layers | 1, n, m] + [layers | 1, m]`, one product where shared."""
    if kernel.shape[0] == 1:
        shape = [*shape_of(inputs)[:-1], kernel.shape[-1]]
        product = tf.matmul(tf.reshape(inputs, [-1, kernel.shape[1]]), kernel[0])
        return tf.reshape(product, shape) + bias[0]
    return _per_layer(tf.matmul, inputs, kernel) + bias[:, None]


def _affine_gradient(gradient, kernel):
    """The derivative of `_affine` with respect to its inputs."""
    if kernel.shape[0] == 1:
        shape = [*shape_of(gradient)[:-1], kernel.shape[1]]
        flat = tf.reshape(gradient, [-1, kernel.shape[-1]])
        return tf.reshape(tf.matmul(flat, kernel[0], transpose_b=True), shape)
    return _per_layer(lambda x, w: tf.matmul(x, w, transpose_b=True), gradient, kernel)


def _per_layer(product, inputs, kernel):
    """A product per layer: XLA on CPUs runs these faster than one batched product."""
    return tf.stack([product(inputs[layer], kernel[layer]) for layer in range(kernel.shape[0])])


def _kernel_and_bias_gradient(inputs, gradient, kernel):
    """Kernel and bias gradient, summed over all diagonals in one product per kernel."""
    if kernel.shape[0] == 1:
        inputs, gradient = inputs[:, None], gradient[:, None]
    kernels, biases = [], []
    for layer in range(kernel.shape[0]):
        layer_inputs = tf.reshape(inputs[:, layer], [-1, kernel.shape[1]])
        layer_gradient = tf.reshape(gradient[:, layer], [-1, kernel.shape[2]])
        kernels.append(tf.matmul(layer_inputs, layer_gradient, transpose_a=True))
        biases.append(tf.reduce_sum(layer_gradient, axis=0))
    return tf.stack(kernels), tf.stack(biases)
