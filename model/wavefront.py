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
        self.weights = weights
        self.equations = equations
        self.dropout_masks = dropout_masks
        self.steps = hidden.shape[0] or tf.shape(hidden)[0]

    def _layers_active(self, diagonal, layers):
        """Which slots hold a cell of the grid on this diagonal, `[layers, 1, 1]`."""
        layer = tf.range(layers)
        return ((layer <= diagonal) & (diagonal < layer + self.steps))[:, None, None]

    def forward(self, hidden, memory, state, keep_tape):
        layers, units = state.hidden.shape[0], state.hidden.shape[-1]
        diagonals = self.steps + layers - 1
        weights, equation = self.weights, self.equations.output_equation
        padding = tf.zeros([layers - 1, *shape_of(hidden)[1:]], hidden.dtype)
        hidden = tf.concat([hidden, padding], axis=0)
        memory = tf.concat([memory, padding], axis=0)

        def diagonal_step(diagonal, time, depth, outputs, tape):
            rising = depth.hidden[:-1]
            if self.dropout_masks is not None and layers > 1:
                rising *= self.dropout_masks[diagonal]
            depth_hidden = tf.concat([hidden[diagonal][None], rising], axis=0)
            depth_memory = tf.concat([memory[diagonal][None], depth.memory[:-1]], axis=0)
            inputs = tf.concat([depth_hidden, time.hidden], axis=-1)
            new_time = lstm_transform(
                _affine(inputs, weights.time_kernel, weights.time_bias), time.memory, equation
            )
            time_hidden, time_memory = new_time.hidden, new_time.memory
            if layers > 1:
                active = self._layers_active(diagonal, layers)
                time_hidden = tf.where(active, time_hidden, time.hidden)
                time_memory = tf.where(active, time_memory, time.memory)
            depth_inputs = inputs
            if self.equations.depth_priority:
                depth_inputs = tf.concat([depth_hidden, time_hidden], axis=-1)
            new_depth = lstm_transform(
                _affine(depth_inputs, weights.depth_kernel, weights.depth_bias),
                depth_memory,
                equation,
            )
            kept = _Tape(
                inputs,
                time_hidden,
                time.memory,
                new_time.activations,
                depth_memory,
                new_depth.activations,
            )
            return (
                diagonal + 1,
                State(time_hidden, time_memory),
                State(new_depth.hidden, new_depth.memory),
                outputs.write(diagonal, new_depth.hidden[-1]),
                [array.write(diagonal, entry) for array, entry in zip(tape, kept, strict=False)],
            )

        def array(*shape):
            return tf.TensorArray(hidden.dtype, size=diagonals, element_shape=shape)

        batch = hidden.shape[1]
        widths = (2, 1, 1, 4, 1, 4) if keep_tape else ()
        empty = State(*(tf.zeros_like(part) for part in state))
        _, final, _, outputs, tape = tf.while_loop(
            lambda diagonal, *_: diagonal < diagonals,
            diagonal_step,
            (
                0,
                state,
                empty,
                array(batch, units),
                [array(layers, batch, width * units) for width in widths],
            ),
        )
        tape = _Tape(*(entry.stack() for entry in tape)) if keep_tape else None
        return outputs.stack()[layers - 1 :], final, tape

    def backward(self, tape, outputs_gradient, state_gradient):
        layers, units = state_gradient.hidden.shape[0], state_gradient.hidden.shape[-1]
        diagonals = self.steps + layers - 1
        weights, equation = self.weights, self.equations.output_equation
        empty = State(*(tf.zeros_like(part) for part in state_gradient))
        padding = tf.zeros([layers - 1, *shape_of(outputs_gradient)[1:]], outputs_gradient.dtype)
        top_gradient = tf.concat([padding, outputs_gradient], axis=0)

        def diagonal_step(step, time, depth, arrays):
            diagonal = diagonals - 1 - step
            top = depth.hidden[-1] + top_gradient[diagonal]
            depth_hidden = tf.concat([depth.hidden[:-1], top[None]], axis=0)
            depth_z, depth_memory = lstm_transform_gradient(
                tape.depth_activations[diagonal],
                tape.depth_memory[diagonal],
                depth_hidden,
                depth.memory,
                equation,
            )
            depth_inputs = _affine_gradient(depth_z, weights.depth_kernel)
            new_time_hidden, old_time_hidden = time.hidden, 0.0
            if self.equations.depth_priority:
                new_time_hidden += depth_inputs[..., units:]
            else:
                old_time_hidden = depth_inputs[..., units:]
            time_z, time_memory = lstm_transform_gradient(
                tape.time_activations[diagonal],
                tape.time_memory[diagonal],
                new_time_hidden,
                time.memory,
                equation,
            )
            active = self._layers_active(diagonal, layers)
            if layers > 1:
                time_z = tf.where(active, time_z, tf.zeros_like(time_z))
            time_inputs = _affine_gradient(time_z, weights.time_kernel)
            time_hidden = time_inputs[..., units:] + old_time_hidden
            if layers > 1:
                time_hidden = tf.where(active, time_hidden, time.hidden)
                time_memory = tf.where(active, time_memory, time.memory)
            below = depth_inputs[..., :units] + time_inputs[..., :units]
            sinking = below[1:]
            if self.dropout_masks is not None and layers > 1:
                sinking *= self.dropout_masks[diagonal]
            entries = (time_z, depth_z, below[0], depth_memory[0])
            return (
                step + 1,
                State(time_hidden, time_memory),
                State(
                    tf.concat([sinking, empty.hidden[:1]], axis=0),
                    tf.concat([depth_memory[1:], empty.memory[:1]], axis=0),
                ),
                [
                    array.write(diagonal, entry)
                    for array, entry in zip(arrays, entries, strict=True)
                ],
            )

        def array(*shape):
            return tf.TensorArray(outputs_gradient.dtype, size=diagonals, element_shape=shape)

        batch = outputs_gradient.shape[1]
        gates = (layers, batch, 4 * units)
        _, initial, _, arrays = tf.while_loop(
            lambda step, *_: step < diagonals,
            diagonal_step,
            (
                0,
                state_gradient,
                empty,
                [array(*gates), array(*gates), array(batch, units), array(batch, units)],
            ),
        )
        time_z, depth_z, bottom_hidden, bottom_memory = (entry.stack() for entry in arrays)
        depth_inputs = tape.inputs
        if self.equations.depth_priority:
            depth_inputs = tf.concat([tape.inputs[..., :units], tape.new_time_hidden], axis=-1)
        return (
            (bottom_hidden[: self.steps], bottom_memory[: self.steps]),
            initial,
            (
                *_weight_gradients(tape.inputs, time_z, weights.time_kernel),
                *_weight_gradients(depth_inputs, depth_z, weights.depth_kernel),
            ),
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


def _weight_gradients(inputs, gradient, kernel):
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
