"""Cells: a registered cell is a full member of every grid, and autodiff equals the hand-written."""

import numpy as np
import pytest
import tensorflow as tf
from grids import error, make_grid, normal, value_and_gradients

from model.cells.cell import Cell, differentiated_cell
from model.cells.registry import CELLS, find_cell
from model.core import CoreInputs, State
from model.errors import InputError
from model.execution.compilation import Compilation
from model.grid.equations import GridEquations
from model.grid.reference import grid_reference
from model.grid.wavefront.wavefront import grid_wavefront
from model.layers import GridLSTM


def coupled(z, memory):
    """The LSTM with coupled input and forget gate: f = 1 - i."""
    i, o, g = tf.split(z, 3, axis=-1)
    i = tf.sigmoid(i)
    new = (1 - i) * memory + i * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(new), new


COUPLED = differentiated_cell("coupled", 3, True, coupled, is_bounded=True)


@pytest.fixture
def coupled_cell(monkeypatch):
    monkeypatch.setitem(CELLS, "coupled", COUPLED)


@pytest.mark.parametrize("name", CELLS)
def test_backward_is_the_gradient_of_forward(name):
    cell = find_cell(name)
    units = 4
    preactivations, bias = normal(3, cell.gates * units), normal(cell.gates * units)
    memory = normal(3, units if cell.has_memory else 0)
    for equation in ("o*tanh(m)", "tanh(o*m)"):
        with tf.GradientTape() as tape:
            tape.watch([preactivations, memory])
            output = cell.forward(preactivations, bias, memory, equation)
        upstream = normal(*output.hidden.shape), normal(*output.memory.shape)
        expected = tape.gradient(
            [output.hidden, output.memory],
            [preactivations, memory],
            upstream,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        actual = cell.backward(output.activations, memory, *upstream, equation)
        assert error(actual, expected) < 1e-12


def test_autodiff_of_the_lstm_equals_its_hand_written_gradient(monkeypatch):
    def lstm(z, memory):
        i, f, o, g = tf.split(z, 4, axis=-1)
        new = tf.sigmoid(f) * memory + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(new), new

    monkeypatch.setitem(CELLS, "copy", differentiated_cell("copy", 4, True, lstm, forget_gate=1))
    grid = make_grid((5, 3))
    copied = grid._replace(equations=GridEquations(cells=("copy", "copy")))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_wavefront(*grid), sources)
    assert error(value_and_gradients(lambda: grid_wavefront(*copied), sources), expected) < 1e-12


@pytest.mark.parametrize("jit", ["none", "gates", "step"])
def test_a_new_cell_runs_in_the_wavefront(coupled_cell, jit):
    grid = make_grid((5, 3), GridEquations(cells=("coupled", "lstm")), keep=(False, True))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)

    def run():
        return value_and_gradients(
            lambda: grid_wavefront(*grid, compilation=Compilation(jit=jit)), sources
        )

    actual = tf.function(run, autograph=False, jit_compile=jit == "step")()
    assert error(actual, expected) < 1e-10


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_new_cell_runs_in_the_decode_step(coupled_cell, precision):
    layer = GridLSTM(8, 3, cells="coupled", project_inputs=False)
    layer.build((2, 5, 16))
    inputs = layer.core_inputs(normal(5, 2, 16, dtype=tf.float32))
    state = State(hidden=tf.zeros([3, 2, 8]), memory=tf.zeros([3, 2, 8]))
    expected, final = layer.over_time(inputs, state)
    decode = layer.decode_step(layer.pack(precision))
    for step in range(5):
        output = decode(CoreInputs(*(part[step] for part in inputs)), state)
        state = output.state
        bound = 1e-5 if precision == "float32" else 3e-2
        assert error(output.hidden, expected[step]) < bound
    assert error(list(state), list(final)) < bound


def test_layers_begin_with_the_forget_bias_of_the_cell(coupled_cell):
    layer = GridLSTM(4, cells=("lstm", "coupled"), forget_bias=3.0)
    layer.build((1, 2, 4))
    time, depth = (np.asarray(one.bias)[0] for one in layer.grid)
    np.testing.assert_array_equal(time, [0] * 4 + [3] * 4 + [0] * 8)
    np.testing.assert_array_equal(depth, 0)


def test_an_unknown_cell_is_named_with_those_there_are():
    with pytest.raises(InputError, match="cell is 'gru'; it must be one of 'lstm', 'tanh'"):
        GridLSTM(4, cells="gru")


def test_every_cell_is_registered_under_its_name():
    assert all(name == cell.name and isinstance(cell, Cell) for name, cell in CELLS.items())
