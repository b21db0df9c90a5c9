"""Every cell computes the equations of its paper: layers against NumPy, in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, normal
from numpy_cells import central_differences, grid, stacked

from model.cells.registry import MEMORY_CELLS, PLAIN_CELLS, find_cell
from model.layers import GridLSTM, StackedLSTM

STEPS, BATCH, UNITS, LAYERS = 3, 2, 2, 2
DEPTH_CELLS = [(name, name) for name in MEMORY_CELLS]
DEPTH_CELLS += [("lstm", "gru"), ("gru", "lstm_full_gate_recurrence"), ("lstm_peephole", "tanh")]
DEPTH_CELLS += [("gru", name) for name in PLAIN_CELLS[1:]]


def randomize(layer):
    """Gives all weights of a layer random values, and returns these in NumPy."""
    layer.set_weights([normal(*weight.shape, scale=0.5) for weight in layer.weights])


def weights_in_numpy(layer):
    return [np.array(variable) for variable in layer.trainable_variables]


def value_and_gradient(layer, x):
    """The outputs of a layer, and the gradient of the sum of their sines by its weights."""
    with tf.GradientTape() as tape:
        outputs = layer(x, training=True)
        total = tf.reduce_sum(tf.sin(outputs))
    return outputs, tape.gradient(total, layer.trainable_variables)


@pytest.mark.parametrize("cells", DEPTH_CELLS, ids="-".join)
def test_grids_are_those_of_the_equations(cells):
    layer = GridLSTM(
        UNITS, LAYERS, cells=cells, project_inputs=False, return_sequences=True, dtype="float64"
    )
    x = normal(BATCH, STEPS, layer.input_width)
    layer.build(x.shape)
    randomize(layer)
    weights = weights_in_numpy(layer)
    count = 2 + len(find_cell(cells[0]).parameters)
    depth_width = find_cell(cells[1]).memory_size * UNITS
    inputs = np.swapaxes(x, 0, 1)
    hidden, memory = inputs[..., :UNITS], inputs[..., UNITS:]
    if cells[1] == "gru":
        memory = hidden
    padding = np.zeros((STEPS, BATCH, max(depth_width - memory.shape[-1], 0)))
    bottom = hidden, np.concatenate([memory, padding], axis=-1)

    def tops():
        return grid(cells, bottom, weights[:count], weights[count:], layer.memory_width)

    outputs, gradients = value_and_gradient(layer, x)
    assert error(tf.transpose(outputs, [1, 0, 2]), tops()) < 1e-12
    expected = central_differences(lambda: np.sin(tops()).sum(), weights)
    assert error(gradients, expected) < 1e-6


@pytest.mark.parametrize("cell", [*MEMORY_CELLS, *PLAIN_CELLS])
def test_stacked_nets_are_those_of_the_equations(cell):
    layer = StackedLSTM(UNITS, LAYERS, cell=cell, return_sequences=True, dtype="float64")
    x = normal(BATCH, STEPS, UNITS)
    layer.build(x.shape)
    randomize(layer)
    weights = weights_in_numpy(layer)

    def outputs_in_numpy():
        return stacked(cell, np.swapaxes(x, 0, 1), weights, layer.memory_width)

    outputs, gradients = value_and_gradient(layer, x)
    assert error(tf.transpose(outputs, [1, 0, 2]), outputs_in_numpy()) < 1e-12
    expected = central_differences(lambda: np.sin(outputs_in_numpy()).sum(), weights)
    assert error(gradients, expected) < 1e-6


def test_a_stacked_gru_is_that_of_keras():
    layer = StackedLSTM(5, cell="gru", return_sequences=True)
    theirs = keras.layers.GRU(5, reset_after=True, return_sequences=True)
    x = normal(2, 4, 5, dtype=tf.float32)
    layer.build(x.shape)
    theirs.build(x.shape)
    layer.set_weights([normal(*weight.shape, dtype=tf.float32) for weight in layer.weights])
    kernel, bias = (one[0] for one in layer.get_weights())
    z, r, n, u = np.split(bias, 4)
    recurrent_bias = np.concatenate([np.zeros_like(z), np.zeros_like(r), u])
    biases = np.stack([np.concatenate([z, r, n]), recurrent_bias])
    theirs.set_weights([kernel[:5], kernel[5:], biases])
    assert error(layer(x), theirs(x)) < 1e-5
