"""The wavefront and the stacked LSTM against the cell-by-cell definition, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from model.config import GridEquations
from model.grid import GridWeights, State, grid_reference
from model.stacked import StackedWeights, stacked_column, stacked_lstm
from model.wavefront import grid_inference, grid_wavefront

TOLERANCE = 1e-10


def normal(*shape):
    return tf.constant(np.random.default_rng().normal(size=shape), tf.float64)


def grid_arguments(steps, layers, batch, units, shared_time, shared_depth, dropout):
    time, depth = (1 if shared else layers for shared in (shared_time, shared_depth))
    weights = GridWeights(
        normal(time, 2 * units, 4 * units),
        normal(time, 4 * units),
        normal(depth, 2 * units, 4 * units),
        normal(depth, 4 * units),
    )
    state = State(normal(layers, batch, units), normal(layers, batch, units))
    masks = normal(steps + layers - 1, layers - 1, batch, units) if dropout else None
    return [normal(steps, batch, units), normal(steps, batch, units), state, weights], masks


def value_and_gradients(function, sources):
    """Outputs, and the gradients of a random projection of them that all calls share."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = tf.nest.flatten(function())
        loss = tf.add_n([tf.reduce_sum(output * _projection(output)) for output in outputs])
    return outputs, tape.gradient(loss, sources)


def _projection(output):
    return tf.reshape(tf.cos(tf.range(tf.size(output), dtype=output.dtype)), output.shape)


def assert_close(actual, expected, tolerance=TOLERANCE):
    for left, right in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        scale = float(tf.reduce_max(tf.abs(right))) + 1e-30
        assert float(tf.reduce_max(tf.abs(left - right))) / scale < tolerance


@pytest.mark.parametrize("output_equation", ["o*tanh(m)", "tanh(o*m)"])
@pytest.mark.parametrize("depth_priority", [True, False])
@pytest.mark.parametrize("shared", [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("steps,layers", [(1, 1), (1, 3), (2, 4), (5, 1), (5, 3)])
def test_wavefront_equals_reference(output_equation, depth_priority, shared, steps, layers):
    equations = GridEquations(depth_priority, output_equation)
    arguments, masks = grid_arguments(steps, layers, 3, 4, *shared, dropout=layers > 1)
    sources = tf.nest.flatten(arguments)
    expected = value_and_gradients(lambda: grid_reference(*arguments, equations, masks), sources)
    actual = value_and_gradients(lambda: grid_wavefront(*arguments, equations, masks), sources)
    assert_close(actual, expected)


def test_inference_equals_reference_for_shapes_unknown_in_advance():
    arguments, _ = grid_arguments(6, 3, 2, 4, False, True, dropout=False)
    equations = GridEquations()
    specs = [
        tf.TensorSpec([None, None, 4], tf.float64),
        tf.TensorSpec([None, None, 4], tf.float64),
        State(*[tf.TensorSpec([3, None, 4], tf.float64)] * 2),
    ]
    inference = tf.function(
        lambda hidden, memory, state: grid_inference(
            hidden, memory, state, arguments[3], equations
        ),
        input_signature=specs,
    )
    assert_close(inference(*arguments[:3]), grid_reference(*arguments, equations))


def test_xla_agrees():
    arguments, masks = grid_arguments(7, 3, 2, 8, False, False, dropout=True)
    sources = tf.nest.flatten(arguments)

    def run():
        return value_and_gradients(
            lambda: grid_wavefront(*arguments, GridEquations(), masks), sources
        )

    assert_close(tf.function(run, jit_compile=True)(), run())


def test_a_sequence_equals_its_pieces():
    arguments, _ = grid_arguments(9, 3, 2, 4, False, True, dropout=False)
    hidden, memory, state, weights = arguments
    whole, final = grid_wavefront(*arguments, GridEquations())
    pieces = []
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        piece, state = grid_wavefront(hidden[part], memory[part], state, weights, GridEquations())
        pieces.append(piece)
    assert_close((tf.concat(pieces, axis=0), state), (whole, final))


@pytest.mark.parametrize("steps,layers", [(1, 1), (4, 1), (5, 3)])
def test_stacked_lstm_equals_its_columns(steps, layers):
    batch, units = 3, 4
    weights = StackedWeights(normal(layers, 2 * units, 4 * units), normal(layers, 4 * units))
    state = State(normal(layers, batch, units), normal(layers, batch, units))
    hidden = normal(steps, batch, units)
    sources = tf.nest.flatten([hidden, state, weights])

    def by_columns():
        outputs, current = [], state
        for step in range(steps):
            top, current = stacked_column(hidden[step], current, weights)
            outputs.append(top)
        return tf.stack(outputs), current

    expected = value_and_gradients(by_columns, sources)
    actual = value_and_gradients(lambda: stacked_lstm(hidden, state, weights), sources)
    assert_close(actual, expected)
