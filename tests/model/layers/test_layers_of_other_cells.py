"""Layers of cells with parameters of their own, wide memories and split products."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, norm_error, normal, value_and_gradients

from model.cells.registry import find_cell
from model.core import State
from model.execution.compilation import OPERATIONS, Compilation
from model.execution.plan import Plan
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.layers import GridLSTM, GridLSTMCell, GridLSTMND, StackedLSTM
from model.stacked.recurrence import stacked_lstm
from model.stacked.weights import StackedWeights

WIDE, SPLIT, PEEPHOLE = "lstm_full_gate_recurrence", "gru", "lstm_peephole"


@pytest.mark.parametrize("name", [WIDE, SPLIT, PEEPHOLE, "lstm_coupled_gates", "tanh"])
@pytest.mark.parametrize("options", [{"remat_steps": 2}, {"compilation": Compilation("none", 2)}])
def test_stacked_nets_agree_in_segments_and_shards(name, options):
    cell, units = find_cell(name), 3
    shapes = cell.parameter_shapes(units).values()
    weights = StackedWeights(
        cell.product_kernel(normal(2, 2 * units, cell.kernel_gates * units), own=1),
        normal(2, cell.gates * units),
        tuple(normal(2, *shape) for shape in shapes),
    )
    inputs = normal(5, 2, units)
    state = State(normal(2, 2, units), normal(2, 2, (cell.memory_size or 1) * units))
    keep = tf.constant([[True, True], [False, True], [True, False], [True, True], [True, True]])
    sources = [inputs, *state, *tf.nest.flatten(weights)]

    def run(**options):
        given = {"compilation": OPERATIONS, "keep": keep, "cell": cell, **options}
        return value_and_gradients(lambda: stacked_lstm(inputs, state, weights, **given), sources)

    assert error(run(**options), run()) < 1e-10


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(layers=2, units=8, cells=(WIDE, SPLIT)),
        ModelConfig(layers=2, units=8, cells=(PEEPHOLE, "lstm_no_input_gate"), tied="all"),
        ModelConfig("stacked", layers=2, units=8, cells=(WIDE,)),
    ],
    ids=lambda config: "-".join((config.architecture, *config.cells)),
)
def test_mixed_precision_trains_as_float32_does(config):
    ids = tf.constant([[0, 1, 2, 3, 4, 0], [4, 3, 2, 1, 0, 3]])

    def gradients(dtype):
        model = CharacterModel(config, 5, Plan("wavefront", Compilation("none"), dtype))
        model.set_weights(weights or model.get_weights())
        with tf.GradientTape() as tape:
            logits, _ = model(ids, model.initial_state(2), training=True)
            loss = tf.reduce_mean(tf.nn.log_softmax(logits) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        return model.get_weights(), [tf.convert_to_tensor(one) for one in gradients]

    weights = None
    weights, expected = gradients("float32")
    _, actual = gradients("bfloat16")
    assert all(one.dtype == tf.float32 for one in actual)
    assert norm_error(actual, expected) < 0.1


def test_an_image_is_read_with_a_cell_per_dimension():
    cells = (SPLIT, WIDE, PEEPHOLE)
    layers = [
        GridLSTMND(3, 2, ("backward", "forward"), cells=cells, execution=execution)
        for execution in ("reference", "wavefront")
    ]
    x = normal(2, 3, 4, 5, dtype=tf.float32)
    for layer in layers:
        layer.build(x.shape)
    layers[1].set_weights(layers[0].get_weights())
    assert error(layers[1](x), layers[0](x)) < 1e-5


def test_a_cell_carries_states_of_its_own_width():
    layer = GridLSTM(4, 2, cells=(WIDE, "lstm"), return_sequences=True, return_state=True)
    x = normal(2, 3, 5, dtype=tf.float32)
    outputs, hidden, memory = layer(x)
    assert (hidden.shape, memory.shape) == ((2, 2, 4), (2, 2, 16))
    assert layer.state_size == GridLSTMCell(4, 2, cells=(WIDE, "lstm")).state_size
    rnn = keras.layers.RNN(layer.cell, return_sequences=True)
    assert error(rnn(x), outputs) < 1e-5
    first, *state = layer(x[:, :2])
    rest = layer(x[:, 2:], initial_state=state)[0]
    assert error(tf.concat([first, rest], axis=1), outputs) < 1e-5
    with pytest.raises(ValueError, match=r"expected \[batch, 2, 4\] and \[batch, 2, 16\]"):
        layer(x, initial_state=[hidden, hidden])


def test_the_state_of_a_batch_is_that_of_the_batch_before():
    layer = StackedLSTM(4, 2, cell=WIDE, stateful=True, return_sequences=True)
    once = StackedLSTM(4, 2, cell=WIDE, return_sequences=True)
    x = normal(2, 4, 4, dtype=tf.float32)
    layer.build((2, 2, 4)), once.build(x.shape)
    once.set_weights(layer.get_weights()[: len(once.weights)])
    halves = [layer(x[:, :2]), layer(x[:, 2:])]
    assert error(tf.concat(halves, axis=1), once(x)) < 1e-5


def test_kernels_are_as_wide_as_their_gates():
    widths = {"lstm": 4, "lstm_coupled_gates": 3, "gru": 3, "lstm_no_output_gate": 3}
    for name, gates in widths.items():
        layer = GridLSTM(5, cells=name)
        layer.build((1, 2, 3))
        assert layer.block_weights[0].kernel.shape == (1, 10, gates * 5)


def test_an_input_enters_the_memory_of_a_gru_as_its_hidden_vector():
    layer = GridLSTM(3, cells=("lstm", SPLIT))
    layer.build((1, 2, 4))
    inputs = layer.core_inputs(normal(2, 1, 4, dtype=tf.float32))
    np.testing.assert_array_equal(inputs.hidden, inputs.memory)
    assert layer.kernel.shape == (4, 3)
