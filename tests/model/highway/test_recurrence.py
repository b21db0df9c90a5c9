"""Recurrent highway networks: the equations of the paper, and all that executes them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, normal, value_and_gradients
from numpy_cells import central_differences, sigmoid

from model.core import CoreInputs, State
from model.decoding.highway_step import highway_decode_step, pack_highway
from model.execution.compilation import Compilation
from model.highway.recurrence import HighwayWeights, recurrent_highway
from model.layers import RecurrentHighway

STEPS, BATCH, UNITS, DEPTH = 4, 3, 4, 3
COMPILATIONS = [
    Compilation(jit="none"),
    Compilation(),
    Compilation(batch_shards=2),
    Compilation(jit="step"),
    Compilation(jit="step", prefetch=True),
]


def in_numpy(x, state, kernel, recurrent_kernel, bias, mask=1.0):
    """Zilly et al., section 4, with coupled gates: the states after all micro-layers."""
    outputs = []
    for inputs in x:
        for layer, (recurrent, shift) in enumerate(zip(recurrent_kernel, bias, strict=True)):
            z = (state * mask) @ recurrent + shift
            if layer == 0:
                z = z + inputs @ kernel
            transform, candidate = np.split(z, 2, axis=-1)
            transform, candidate = sigmoid(transform), np.tanh(candidate)
            state = transform * candidate + (1 - transform) * state
        outputs.append(state)
    return np.stack(outputs)


def random_net(depth=DEPTH, features=UNITS):
    """Inputs, a state and weights, float64."""
    state = normal(1, BATCH, UNITS)
    weights = HighwayWeights(
        kernel=normal(features, 2 * UNITS),
        recurrent_kernel=normal(depth, UNITS, 2 * UNITS),
        bias=normal(depth, 2 * UNITS),
    )
    return normal(STEPS, BATCH, features), State(hidden=state, memory=state), weights


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("drops", [False, True])
def test_it_is_that_of_the_equations(depth, drops):
    x, state, weights = random_net(depth, features=5)
    mask = np.array([0.0, 2.0, 2.0, 0.0]) if drops else np.ones(4)
    masks = tf.constant(np.tile(mask, [1, 1, BATCH, 1])) if drops else None
    outputs, final = recurrent_highway(x, state, weights, masks)
    arrays = [part.numpy() for part in (x, state.memory[0], *weights)]
    expected = in_numpy(*arrays, mask=mask)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(final.memory[0], outputs[-1])
    np.testing.assert_array_equal(final.hidden, final.memory)


def test_its_gradient_is_that_of_differences():
    x, state, weights = random_net()
    mask = normal(BATCH, UNITS)
    sources = [x, state.memory, *weights]
    upstream = normal(STEPS, BATCH, UNITS)

    def loss():
        # The state is one vector: as hidden it enters products, as memory it is carried.
        both = State(hidden=state.memory, memory=state.memory)
        return tf.reduce_sum(recurrent_highway(x, both, weights, mask[None, None])[0] * upstream)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        total = loss()
    gradients = tape.gradient(total, sources)
    arrays = [part.numpy() for part in (x, state.memory[0], *weights)]

    def in_float64():
        return np.sum(in_numpy(*arrays, mask=mask.numpy()) * upstream.numpy())

    for expected, gradient in zip(central_differences(in_float64, arrays), gradients, strict=True):
        np.testing.assert_allclose(tf.reshape(gradient, expected.shape), expected, atol=1e-7)


@pytest.mark.parametrize("remat_steps", [0, 2])
@pytest.mark.parametrize("compilation", COMPILATIONS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_every_execution_gives_what_the_decode_step_gives(compilation, remat_steps, training):
    x, state, weights = random_net()
    sources = tf.nest.flatten([x, state, weights])

    def by_decode_steps():
        decode = highway_decode_step(pack_highway(weights, tf.float64), weights)
        outputs, current = [], state
        for step in range(STEPS):
            output = decode(CoreInputs(x[step]), current)
            outputs.append(output.hidden)
            current = output.state
        return tf.stack(outputs), current

    def run():
        return value_and_gradients(
            lambda: recurrent_highway(
                x,
                state,
                weights,
                compilation=compilation,
                remat_steps=remat_steps,
                training=training,
            ),
            sources,
        )

    run = tf.function(run, autograph=False, jit_compile=compilation.jits_step)
    assert error(run(), value_and_gradients(by_decode_steps, sources)) < 1e-10


def test_masks_skip_steps():
    """Outputs, states and gradients are those of the sequence without the masked steps."""
    layer = RecurrentHighway(4, DEPTH, return_sequences=True, return_state=True, dtype="float64")
    x = normal(2, 6, 5)
    layer.build(x.shape)
    keep = np.array([True, False, True, True, False, True])
    mask = np.tile(keep, [2, 1])

    def skipped():
        outputs, *state = layer(tf.boolean_mask(x, keep, axis=1))
        return outputs, state

    def masked():
        outputs, *state = layer(x, mask=mask)
        return tf.boolean_mask(outputs, keep, axis=1), state

    sources = [variable.value for variable in layer.trainable_variables]
    actual = value_and_gradients(masked, sources)
    assert error(actual, value_and_gradients(skipped, sources)) < 1e-10


def test_a_layer_drops_the_same_units_of_its_state_at_all_steps():
    """Where the candidate is that of the state alone, a dropped unit halves at each step."""
    layer = RecurrentHighway(8, recurrent_dropout=0.5, return_sequences=True, seed=1)
    x = np.zeros([4, 6, 8], np.float32)
    layer.build(x.shape)
    kernel = np.zeros([1, 8, 16], np.float32)
    kernel[0, :, 8:] = np.eye(8)
    layer.recurrent_kernel.assign(kernel)
    layer.bias.assign(tf.fill([1, 16], 0.0))
    ones = np.ones([4, 1, 8], np.float32)
    rest = layer(x, initial_state=[ones, ones])
    outputs = layer(x, initial_state=[ones, ones], training=True).numpy()
    dropped = np.isclose(outputs, 0.5 ** np.arange(1, 7)[None, :, None])
    assert (dropped.all(axis=1) == dropped.any(axis=1)).all()
    assert 0 < dropped.mean() < 1 and not np.isclose(rest, outputs).all()


def test_new_layers_carry_their_state_and_draw_each_micro_layer_by_itself():
    layer = RecurrentHighway(64, depth=8, transform_bias=-3.0)
    layer.build((None, None, 16))
    transform, candidate = np.split(layer.bias.numpy(), 2, axis=1)
    assert (transform == -3).all() and (candidate == 0).all()
    bound = np.sqrt(6 / (64 + 128))
    largest = np.abs(layer.recurrent_kernel.numpy()).max(axis=(1, 2))
    assert (0.95 * bound < largest).all() and (largest <= bound).all()
    assert len(np.unique(layer.recurrent_kernel.numpy()[:, 0, 0])) == 8


def test_micro_layers_of_a_seeded_initializer_differ():
    layer = RecurrentHighway(4, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=7))
    layer.build((None, None, 4))
    first = [layer.kernel.numpy()[0, 0], *layer.recurrent_kernel.numpy()[:, 0, 0]]
    assert len(np.unique(first)) == 4, "the kernel of the inputs is drawn by itself, too"
