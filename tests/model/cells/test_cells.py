"""Cells: a registered cell is a full member of every grid, and autodiff equals the hand-written."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, make_grid, normal, value_and_gradients

from model.cells.cell import Cell, CellParameter, differentiated_cell
from model.cells.registry import MEMORY_CELLS, PLAIN_CELLS, find_cell, registered_cells
from model.core import CoreInputs, State
from model.errors import InputError
from model.execution.compilation import OPERATIONS, Compilation
from model.grid.checkpointing import grid_checkpointed
from model.grid.equations import GridEquations
from model.grid.layerwise import grid_layerwise
from model.grid.reference import grid_reference
from model.grid.wavefront.wavefront import grid_wavefront
from model.layers import GridLSTM, StackedLSTM


def coupled(z, memory):
    """The LSTM with coupled input and forget gate: f = 1 - i."""
    i, o, g = tf.split(z, 3, axis=-1)
    i = tf.sigmoid(i)
    new = (1 - i) * memory + i * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(new), new


COUPLED = differentiated_cell("coupled", 3, 1, coupled, is_bounded=True)


@pytest.fixture
def coupled_cell(monkeypatch):
    monkeypatch.setitem(registered_cells(), "coupled", COUPLED)


def leaky(z, memory, rate, kernel):
    """A cell with a vector and a matrix of its own: m' = m + a (tanh(z + m K) - m)."""
    rate = tf.sigmoid(rate)
    new = memory + rate * (tf.tanh(z + tf.matmul(memory, kernel)) - memory)
    return new, new


LEAKY = differentiated_cell(
    "leaky", 1, 1, leaky, (CellParameter("rate", (1,)), CellParameter("kernel", (1, 1)))
)


@pytest.fixture(params=[*registered_cells(), "leaky"])
def cell(request, monkeypatch):
    monkeypatch.setitem(registered_cells(), "leaky", LEAKY)
    return find_cell(request.param)


def test_backward_is_the_gradient_of_forward(cell):
    units = 4
    preactivations, bias = normal(3, cell.gates * units), normal(cell.gates * units)
    memory = normal(3, cell.memory_size * units)
    parameters = tuple(normal(*shape) for shape in cell.parameter_shapes(units).values())
    for equation in ("o*tanh(m)", "tanh(o*m)"):
        with tf.GradientTape() as tape:
            tape.watch([preactivations, memory, parameters])
            output = cell.forward(preactivations, bias, memory, parameters, equation)
        upstream = normal(*output.hidden.shape), normal(*output.memory.shape)
        *expected, of_parameters = tape.gradient(
            [output.hidden, output.memory],
            [preactivations, memory, parameters],
            upstream,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        arguments = output.activations, memory, parameters, *upstream, equation
        assert error(cell.backward(*arguments), expected) < 1e-12
        if parameters:
            assert error(cell.parameter_gradients(*arguments), of_parameters) < 1e-12


def test_bounded_cells_are_bounded(cell):
    width = cell.gates * 5
    parameters = tuple(normal(*shape) for shape in cell.parameter_shapes(5).values())
    hidden = cell.forward(
        normal(99, width, scale=9), normal(width), normal(99, cell.memory_size * 5, scale=9),
        parameters, "o*tanh(m)",
    ).hidden  # fmt: skip
    assert bool(tf.reduce_max(tf.abs(hidden)) <= 1) == cell.is_bounded


def test_autodiff_of_the_lstm_equals_its_hand_written_gradient(monkeypatch):
    def lstm(z, memory):
        i, f, o, g = tf.split(z, 4, axis=-1)
        new = tf.sigmoid(f) * memory + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(new), new

    copy = differentiated_cell("copy", 4, 1, lstm, forget_gate=1)
    monkeypatch.setitem(registered_cells(), "copy", copy)
    grid = make_grid((5, 3))
    copied = grid._replace(equations=GridEquations(cells=("copy", "copy")))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_wavefront(*grid), sources)
    assert error(value_and_gradients(lambda: grid_wavefront(*copied), sources), expected) < 1e-12


def checkpointed(sides, weights, equations, extents, *rest):
    return grid_checkpointed(sides, weights, equations, extents, 2, *rest, OPERATIONS)


@pytest.mark.parametrize("tied", [(), (0, 1)])
def test_all_executions_agree(cell, tied):
    grid = make_grid(
        (4, 2), GridEquations((cell.name, cell.name)), tied, dropout=(0,), keep=(False, True)
    )
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)
    wavefront = functools.partial(grid_wavefront, compilation=OPERATIONS)
    for execution in (grid_layerwise, wavefront, checkpointed):
        actual = value_and_gradients(lambda run=execution: run(*grid), sources)
        assert error(actual, expected) < 1e-10, execution


def test_three_dimensions_agree(cell):
    grid = make_grid((2, 3, 2), GridEquations((cell.name, cell.name, "lstm"), (2,)))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)
    actual = value_and_gradients(lambda: grid_wavefront(*grid, compilation=OPERATIONS), sources)
    assert error(actual, expected) < 1e-10


COMPILED = ["leaky", "lstm_full_gate_recurrence", "gru"]


@pytest.mark.parametrize("cell", COMPILED, indirect=True)
@pytest.mark.parametrize("jit", ["gates", pytest.param("step", marks=pytest.mark.slow)])
def test_cells_are_compiled(cell, jit):
    grid = make_grid((4, 2), GridEquations((cell.name, "lstm")), keep=(False, True))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)

    def run():
        return value_and_gradients(
            lambda: grid_wavefront(*grid, compilation=Compilation(jit=jit)), sources
        )

    actual = tf.function(run, autograph=False, jit_compile=jit == "step")()
    assert error(actual, expected) < 1e-10


def test_second_derivatives_of_parameters():
    grid = make_grid((2, 2), GridEquations(("lstm_peephole", "lstm_peephole")), batch=1, units=2)
    peephole = grid.weights[0].parameters[0]

    def slope(execution):
        with tf.GradientTape() as outer:
            outer.watch(peephole)
            with tf.GradientTape() as inner:
                inner.watch(peephole)
                total = tf.reduce_sum(execution(*grid).hidden[1] ** 2)
            first = tf.reduce_sum(inner.gradient(total, peephole) ** 2)
        return outer.gradient(first, peephole)

    wavefront = functools.partial(grid_wavefront, compilation=OPERATIONS)
    assert error(slope(wavefront), slope(grid_reference)) < 1e-10


@pytest.mark.parametrize("architecture", ["grid", "stacked"])
@pytest.mark.parametrize("name", MEMORY_CELLS)
def test_the_decode_step_is_a_step_of_the_sequence(name, architecture):
    if architecture == "grid":
        layer = GridLSTM(8, 3, cells=(name, name), project_inputs=False)
    else:
        layer = StackedLSTM(8, 3, cell=name)
    layer.build((2, 5, layer.input_width))
    inputs = layer.core_inputs(normal(5, 2, layer.input_width, dtype=tf.float32))
    memory = tf.zeros([3, 2, layer.memory_width])
    state = State(hidden=tf.zeros([3, 2, 8]), memory=memory)
    expected, final = layer.over_time(inputs, state)
    decode = layer.decode_step(layer.pack("float32"))
    for step in range(5):
        entering = CoreInputs(*(None if part is None else part[step] for part in inputs))
        output = decode(entering, state, gates=True)
        state = output.state
        assert error(output.hidden, expected[step]) < 1e-5
    assert error(list(state), list(final)) < 1e-5
    assert output.gates.shape == (
        3,
        2 if architecture == "grid" else 1,
        2,
        find_cell(name).gates * 8,
    )


def test_kernels_of_integers_need_bounded_cells():
    layer = StackedLSTM(8, cell="lstm_no_output_activation")
    layer.build((2, 5, 8))
    with pytest.raises(InputError, match="vectors of the cell 'lstm_no_output_activation' are not"):
        layer.pack("int8")


def test_layers_begin_with_the_forget_bias_of_the_cell(coupled_cell):
    layer = GridLSTM(4, cells=("lstm", "coupled"), forget_bias=3.0)
    layer.build((1, 2, 4))
    time, depth = (np.asarray(one.bias)[0] for one in layer.block_weights)
    np.testing.assert_array_equal(time, [0] * 4 + [3] * 4 + [0] * 8)
    np.testing.assert_array_equal(depth, 0)


def test_an_unknown_cell_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="no cell 'lstm_peepholes'; did you mean lstm_peephole"):
        GridLSTM(4, cells="lstm_peepholes")


def test_every_cell_is_registered_under_its_name():
    cells = registered_cells()
    assert all(name == cell.name and isinstance(cell, Cell) for name, cell in cells.items())
    assert [name for name, cell in cells.items() if cell.has_memory] == [*MEMORY_CELLS]
    assert [name for name, cell in cells.items() if not cell.has_memory] == [*PLAIN_CELLS]


def test_layers_with_other_cells_are_saved_and_loaded(tmp_path):
    layer = StackedLSTM(4, 2, cell="lstm_full_gate_recurrence", return_state=True)
    net = keras.Sequential([keras.Input((3, 4)), GridLSTM(4, 2, cells=("gru", "lstm_peephole"))])
    x = normal(2, 3, 4, dtype=tf.float32)
    outputs, hidden, memory = layer(x)
    assert memory.shape == (2, 2, 16)
    assert StackedLSTM.from_config(layer.get_config()).get_config() == layer.get_config()
    net.save(tmp_path / "net.keras")
    assert error(keras.models.load_model(tmp_path / "net.keras")(x), net(x)) == 0
    assert error(layer(x, initial_state=[hidden, memory])[0], outputs) > 0
