"""Stacks of fully connected layers: their equations and gradients, their gates, and lesions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.config import DenseConnection
from model.errors import InputError
from model.layers.stacked_dense import StackedDense

CONNECTIONS = DenseConnection.__args__
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "linear": lambda z: z}
UNITS, LAYERS, BATCH = 5, 4, 3


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def formulas(x, kernel, bias, connection, activation, lesioned=None):
    """The outputs and gates of all layers, in float64, by the formulas of the paper."""
    outputs, gates = [], []
    for layer, (w, b) in enumerate(zip(kernel, bias, strict=True)):
        first = w.shape[1] - UNITS
        hidden = ACTIVATIONS[activation](x @ w[:, first:] + b[first:])
        gate = sigmoid(x @ w[:, :first] + b[:first]) if first else np.ones([len(x), 1])
        y = {
            "highway": gate * hidden + (1 - gate) * x,
            "highway_layerwise": gate * hidden + (1 - gate) * x,
            "residual": hidden + x,
            "plain": hidden,
        }[connection]
        if layer == lesioned:
            y, gate = x, 0 * gate
        outputs.append(y)
        gates.append(gate)
        x = y
    return np.stack(outputs), np.stack(gates)


def stack(connection, activation="tanh", dtype="float64"):
    """A stack with random weights and biases, and inputs for it."""
    layer = StackedDense(UNITS, LAYERS, connection, activation, -1.5, dtype=dtype)
    layer.build((None, UNITS))
    layer.bias.assign(layer.bias + generator().normal(size=layer.bias.shape))
    return layer, generator().normal(size=(BATCH, UNITS))


@pytest.mark.parametrize("lesioned", [None, 0, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_outputs_and_gates_follow_the_formulas(connection, activation, lesioned):
    layer, x = stack(connection, activation)
    weights = layer.kernel.numpy(), layer.bias.numpy()
    outputs, gates = formulas(x, *weights, connection, activation, lesioned)
    found = layer.trace(tf.constant(x), lesioned)
    np.testing.assert_allclose(found.outputs, outputs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.gates, gates, rtol=1e-12, atol=1e-12)
    lesion = None if lesioned is None else tf.constant(lesioned)
    np.testing.assert_allclose(layer(tf.constant(x), lesioned=lesion), outputs[-1], rtol=1e-12)


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_gradients_are_central_differences(connection):
    layer, x = stack(connection)
    values = [x, layer.kernel.numpy(), layer.bias.numpy()]
    weights = generator().normal(size=(BATCH, UNITS))

    def loss(x, kernel, bias):
        return float((weights * formulas(x, kernel, bias, connection, "tanh")[0][-1]).sum())

    with tf.GradientTape() as tape:
        entering = tf.constant(x)
        tape.watch(entering)
        total = tf.reduce_sum(weights * layer(entering))
    gradients = tape.gradient(total, [entering, layer.kernel, layer.bias])
    step = 1e-5
    for position, gradient in enumerate(gradients):
        expected = np.zeros(gradient.shape)
        for place in np.ndindex(*gradient.shape):
            sides = []
            for sign in (-1, 1):
                moved = [value.copy() for value in values]
                moved[position][place] += sign * step
                sides.append(loss(*moved))
            expected[place] = (sides[1] - sides[0]) / (2 * step)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_saved_model_computes_the_same(tmp_path, connection):
    options = {"layers": 3, "connection": connection, "activation": "tanh", "transform_bias": -3.0}
    model = keras.Sequential([keras.Input((UNITS,)), StackedDense(UNITS, **options)])
    x = generator().normal(size=(BATCH, UNITS)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    config = loaded.layers[-1].get_config()
    assert {name: config[name] for name in options} == options


def test_layers_begin_with_kernels_of_their_own_and_the_bias_given():
    layer = StackedDense(50, 6, transform_bias=-4.0, kernel_initializer="he_normal")
    layer.build((None, 50))
    kernels = layer.kernel.numpy()
    assert len({kernel.tobytes() for kernel in kernels}) == 6
    deviations = kernels.std(axis=(1, 2))
    np.testing.assert_allclose(deviations, (2 / 50) ** 0.5, rtol=0.1)  # fans of one layer
    np.testing.assert_array_equal(layer.bias, [[-4.0] * 50 + [0.0] * 50] * 6)


def test_a_stack_trains_within_a_model_of_mixed_precision():
    layer = StackedDense(8, 3, dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((8,)), layer, keras.layers.Dense(1, dtype="float32")])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = generator().normal(size=(256, 8)).astype(np.float32)
    losses = model.fit(x, x[:, :1] * x[:, 1:2], epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert layer.kernel.dtype == "float32" and layer(x).dtype == tf.bfloat16


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: StackedDense(0), "units is 0"),
        (lambda: StackedDense(4, layers=0), "layers is 0"),
        (lambda: StackedDense(4, connection="dense"), "connection is 'dense'; it must be one of"),
        (lambda: StackedDense(4)(np.zeros([2, 3])), r"3 wide; a StackedDense of 4 .* Dense\(4\)"),
    ],
)
def test_invalid_arguments_are_named(make, problem):
    with pytest.raises(InputError, match=problem):
        make()


def test_a_layer_that_does_not_exist_cannot_be_lesioned():
    layer = StackedDense(4, layers=2)
    for lesioned in (-1, 2):
        with pytest.raises(InputError, match=f"lesioned is {lesioned}; the layers are 0 to 1"):
            layer(np.zeros([1, 4], np.float32), lesioned=lesioned)
