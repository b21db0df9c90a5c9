"""Residual and highway LSTMs: the equations of the papers, and every way to execute them."""

import numpy as np
import pytest
import tensorflow as tf
from grids import error, normal, value_and_gradients
from numpy_cells import central_differences, sigmoid

from model.core import CoreInputs, State
from model.decoding.stacked_step import pack_stacked, stacked_decode_step
from model.errors import InputError
from model.execution.compilation import Compilation
from model.layers import StackedLSTM
from model.stacked.highway_lstm import HIGHWAY_LSTM
from model.stacked.recurrence import stacked_lstm
from model.stacked.weights import StackedWeights

STEPS, BATCH, UNITS, LAYERS = 4, 3, 3, 3
OPTIONS = {"residual": {"is_residual": True}, "highway": {"cell": HIGHWAY_LSTM}}


def in_numpy(connection, x, hidden, memory, kernel, bias, *peepholes):
    """The outputs of the top layer; `[steps, batch, units]` in, all layers step by step."""
    outputs = []
    hidden, memory = list(hidden), list(memory)
    for entering in x:
        below, lower = entering, np.zeros_like(entering)
        for layer in range(len(kernel)):
            z = np.concatenate([below, hidden[layer]], axis=1) @ kernel[layer] + bias[layer]
            i, f, o, g, *depth = np.split(z, 5 if connection == "highway" else 4, axis=1)
            old = memory[layer]
            new = sigmoid(f) * old + sigmoid(i) * np.tanh(g)
            if connection == "highway":
                own, under = np.split(peepholes[0][layer], 2)
                new = new + sigmoid(depth[0] + own * old + under * lower) * lower
            hidden[layer], memory[layer], lower = sigmoid(o) * np.tanh(new), new, new
            adds = connection == "residual" and layer > 0
            below = hidden[layer] + below if adds else hidden[layer]
        outputs.append(below)
    return np.stack(outputs)


def random_net(connection):
    """Inputs, a state and weights, float64."""
    gates = 5 if connection == "highway" else 4
    peepholes = (normal(LAYERS, 2 * UNITS),) if connection == "highway" else ()
    weights = StackedWeights(
        normal(LAYERS, 2 * UNITS, gates * UNITS), normal(LAYERS, gates * UNITS), peepholes
    )
    state = State(normal(LAYERS, BATCH, UNITS), normal(LAYERS, BATCH, UNITS))
    return normal(STEPS, BATCH, UNITS), state, weights


@pytest.mark.parametrize("connection", OPTIONS)
def test_they_are_those_of_the_equations(connection):
    x, state, weights = random_net(connection)
    sources = tf.nest.flatten([x, state, weights])

    def outputs():
        return stacked_lstm(x, state, weights, **OPTIONS[connection])[0]

    with tf.GradientTape() as tape:
        tape.watch(sources)
        found = outputs()
        total = tf.reduce_sum(tf.sin(found))
    arrays = [source.numpy() for source in sources]
    np.testing.assert_allclose(found, in_numpy(connection, *arrays), rtol=1e-12, atol=1e-12)

    def loss():
        return np.sum(np.sin(in_numpy(connection, *arrays)))

    differences = central_differences(loss, arrays)
    for expected, gradient in zip(differences, tape.gradient(total, sources), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("connection", OPTIONS)
@pytest.mark.parametrize("remat_steps", [0, 2])
@pytest.mark.parametrize(
    "compilation",
    [Compilation(jit="none"), Compilation(batch_shards=2), Compilation(jit="step", prefetch=True)],
    ids=str,
)
def test_every_execution_gives_what_the_decode_step_gives(connection, remat_steps, compilation):
    x, state, weights = random_net(connection)
    sources = tf.nest.flatten([x, state, weights])
    options = OPTIONS[connection]

    def by_decode_steps():
        packed = pack_stacked(weights, tf.float64, **options)
        decode = stacked_decode_step(packed, weights, **options)
        outputs, current = [], state
        for step in range(STEPS):
            output = decode(CoreInputs(x[step]), current)
            outputs.append(output.hidden)
            current = output.state
        return tf.stack(outputs), current

    def run():
        return value_and_gradients(
            lambda: stacked_lstm(
                x, state, weights, None, compilation, remat_steps=remat_steps, **options
            ),
            sources,
        )

    run = tf.function(run, autograph=False, jit_compile=compilation.jits_step)
    assert error(run(), value_and_gradients(by_decode_steps, sources)) < 1e-10


@pytest.mark.parametrize("connection", OPTIONS)
def test_masks_skip_steps(connection):
    layer = StackedLSTM(
        4, 3, connection=connection, return_sequences=True, return_state=True, dtype="float64"
    )
    x = normal(2, 6, 4)
    layer.build(x.shape)
    keep = np.array([True, False, True, True, False, True])

    def skipped():
        outputs, *state = layer(tf.boolean_mask(x, keep, axis=1))
        return outputs, state

    def masked():
        outputs, *state = layer(x, mask=np.tile(keep, [2, 1]))
        return tf.boolean_mask(outputs, keep, axis=1), state

    sources = [variable.value for variable in layer.trainable_variables]
    actual = value_and_gradients(masked, sources)
    assert error(actual, value_and_gradients(skipped, sources)) < 1e-10
    assert layer.state_size == [(3, 4), (3, 4)]
    assert StackedLSTM.from_config(layer.get_config()).connection == connection


@pytest.mark.parametrize(
    "options,told",
    [
        ({"connection": "highwy"}, "connection is 'highwy'"),
        ({"connection": "highway", "cell": "gru"}, "cell is 'gru' and connection 'highway'"),
    ],
)
def test_connections_that_do_not_exist(options, told):
    with pytest.raises(InputError, match=told):
        StackedLSTM(4, **options)


def test_sums_of_residual_layers_are_too_large_for_integers():
    layer = StackedLSTM(4, 2, connection="residual")
    layer.build((None, None, 4))
    with pytest.raises(InputError, match=r"residual layers.*within 1 of 0"):
        layer.pack("int8")
