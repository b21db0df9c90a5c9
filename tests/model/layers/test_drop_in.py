"""That the layers go wherever `keras.layers.LSTM` goes."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT
from grids import error
from keras.src.testing import TestCase
from seeds import generator

from model.layers.grid_lstm import GridLSTM
from model.layers.grid_lstm_cell import GridLSTMCell
from model.layers.grid_lstm_nd import GridLSTMND
from model.layers.recurrent_highway import RecurrentHighway
from model.layers.stacked_lstm import StackedLSTM

LAYERS = [
    (GridLSTM, {"layers": 2, "return_sequences": True}, (2, 3, 4)),
    (GridLSTM, {"layers": 2, "return_state": True, "dropout": 0.1}, (2, 3, 4)),
    (GridLSTM, {"layers": 2, "priority": (1, 0), "layer_normalization": True}, (2, 3, 4)),
    (GridLSTM, {"layers": 2, "mogrifier_rounds": 3, "mogrifier_rank": 2}, (2, 3, 4)),
    (GridLSTM, {"layers": 2, "execution": "reference"}, (2, 3, 4)),
    (GridLSTM, {"layers": 2, "remat_steps": 2}, (2, 3, 4)),
    (GridLSTMND, {"layers": 2}, (2, 4)),
    (GridLSTMND, {"layers": 2, "mogrifier_rounds": 4, "mogrifier_rank": 2}, (2, 2, 3, 4)),
    (GridLSTMND, {"layers": 2, "directions": ["forward", "backward"]}, (2, 2, 3, 4)),
    (StackedLSTM, {"layers": 2, "return_sequences": True}, (2, 3, 4)),
]


def inputs(*shape):
    return generator().normal(size=shape).astype(np.float32)


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("layer,arguments,shape", LAYERS)
def test_keras_own_checks_pass(layer, arguments, shape):
    """Keras' checks: configuration, serialisation, shapes, symbolic calls, training, precision."""
    TestCase().run_layer_test(
        layer,
        {"units": 4, **arguments},
        input_shape=shape,
        supports_masking=True,
        custom_objects={},
    )


def test_keras_own_checks_pass_for_the_cell():
    TestCase().run_layer_test(
        keras.layers.RNN,
        {"cell": GridLSTMCell(4, 2), "return_sequences": True},
        input_shape=(2, 3, 4),
        supports_masking=True,
        custom_objects={},
    )


CRASH = """
import numpy as np
import tensorflow as tf
from model import GridLSTM

layer = GridLSTM(3, 2, execution={execution!r}, return_sequences=True)
x = tf.constant(np.linspace(-1, 1, 12).reshape(1, 4, 3), tf.float32)
layer.build(x.shape)

@tf.function
def outputs(x):
    return layer(x)

with tf.GradientTape(persistent=True) as tape:
    tape.watch(x)
    y = outputs(x)
fast = tape.jacobian(y, x)
slow = tape.jacobian(y, x, experimental_use_pfor=False)
np.testing.assert_allclose(fast, slow, atol=1e-5)

@tf.function(input_signature=[tf.TensorSpec([1, {steps}, 3])])
def within_a_function(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return tape.jacobian(y, x)

np.testing.assert_allclose(within_a_function(x), slow, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["auto", "wavefront"])
@pytest.mark.parametrize("steps", [4, None])
def test_a_jacobian_does_not_crash(execution, steps):
    """In a process of its own, which an error of memory would end."""
    finished = run(CRASH.format(execution=execution, steps=steps))
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_derivatives_of_each_example(training):
    layer = GridLSTM(3, 2)
    x = tf.constant(inputs(3, 4, 2))
    layer.build(x.shape)

    def gradient(one):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(layer(one[None], training=training) ** 2)
        return tape.gradient(value, layer.block_weights[0].kernel.value)

    each = tf.function(lambda: tf.vectorized_map(gradient, x))()
    assert error(each, tf.stack([gradient(one) for one in x])) < 1e-5
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
    by_row = tape.batch_jacobian(outputs, x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
    whole = tape.jacobian(outputs, x, experimental_use_pfor=False)
    assert error(by_row, tf.stack([whole[at, :, at] for at in range(3)])) < 1e-5


@pytest.mark.parametrize("execution", ["auto", pytest.param("reference", marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", [None, 5])
def test_fit_with_a_short_last_batch_and_export(execution, steps, tmp_path):
    model = keras.Sequential(
        [keras.Input((steps, 3)), GridLSTM(4, 2, execution=execution), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    x = inputs(5, 5, 3)
    model.fit(x, x.mean(axis=(1, 2))[:, None], batch_size=2, verbose=0)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    assert error(served.serve(x[:3]), model(x[:3])) < 1e-5


@pytest.mark.parametrize("execution", ["auto", "reference"])
def test_images_of_unknown_size(execution):
    layer = GridLSTMND(3, 2, execution=execution, directions=("backward", "forward"))
    x = inputs(2, 3, 2, 4)
    layer.build(x.shape)
    run = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 4])])
    assert error(run(x), layer(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer,shape",
    [
        (GridLSTM(4, 2), (2, 3, 4)),
        (GridLSTM(4, 2, priority=(1, 0)), (2, 3, 4)),
        (GridLSTM(4, 2, execution="wavefront"), (2, 3, 4)),
        (GridLSTM(4, 2, remat_steps=3), (2, 3, 4)),
        (GridLSTMND(4, 2), (2, 3, 2, 4)),
        (GridLSTMND(4, 2), (2, 4)),
        (StackedLSTM(4, 2), (2, 3, 4)),
        (RecurrentHighway(4, 2), (2, 3, 4)),
    ],
)
def test_xla_takes_them(layer, shape):
    x = tf.constant(inputs(*shape))
    layer.build(shape)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        return outputs, tape.gradient(outputs, x)

    assert error(tf.function(step, jit_compile=True)(x), step(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("layer", [GridLSTM(4, 2), StackedLSTM(4, 2), RecurrentHighway(4, 2)])
def test_keras_compiles_them_if_it_is_told_to(layer):
    model = keras.Sequential([keras.Input((3, 4)), layer])
    model.compile("sgd", "mse", jit_compile=True)
    assert model.jit_compile
    model.fit(inputs(5, 3, 4), inputs(5, 4), batch_size=2, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer,shape",
    [
        (GridLSTM(4, 2), (3, 4)),
        (GridLSTM(4, 2, execution="reference"), (3, 4)),
        (GridLSTMND(4, 2), (4,)),
        (StackedLSTM(4, 2), (3, 4)),
        (StackedLSTM(4, 2, connection="highway"), (3, 4)),
        (RecurrentHighway(4, 2), (3, 4)),
    ],
)
def test_tflite_takes_them_with_operations_of_its_own(layer, shape):
    model = keras.Sequential([keras.Input(batch_shape=(1, *shape)), layer])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    x = inputs(1, *shape)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    actual = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert error(actual, model(x)) < 1e-4


def test_numbers_of_numpy_are_numbers():
    layer = GridLSTM(np.int64(4), np.int32(2), dropout=np.float32(0.5), seed=np.int64(3))
    assert type(layer.get_config()["units"]) is int
    assert GridLSTM.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer(inputs(2, 3, 4)).shape == (2, 4)
    assert StackedLSTM(np.int64(4)).get_config()["units"] == 4
    with pytest.raises(ValueError, match="units is True"):
        GridLSTM(True)


@pytest.mark.parametrize("layer", [GridLSTM(4, 2, return_state=True), StackedLSTM(4, 2)])
def test_states_are_known_as_those_of_an_lstm_are(layer):
    assert layer.state_size == [(2, 4), (2, 4)]
    x = inputs(3, 5, 4)
    zeros = layer.get_initial_state(3)
    assert error(layer(x, initial_state=zeros), layer(x)) == 0
    assert (
        error(layer(x, initial_state=layer.get_initial_state(batch_size=tf.constant(3))), layer(x))
        == 0
    )


def test_the_cell_of_a_layer_shares_its_weights():
    layer = GridLSTM(4, 2, return_sequences=True)
    x = inputs(2, 3, 5)
    layer.build(x.shape)
    assert error(keras.layers.RNN(layer.cell, return_sequences=True)(x), layer(x)) < 1e-5


@pytest.mark.parametrize("sequences,zero", itertools.product([False, True], repeat=2))
def test_masked_outputs_are_those_of_keras(sequences, zero):
    options = {"return_sequences": sequences, "zero_output_for_mask": zero}
    ours, theirs = StackedLSTM(4, 1, **options), keras.layers.LSTM(4, **options)
    x = inputs(2, 5, 4)
    ours.build(x.shape)
    theirs.build(x.shape)
    order = np.concatenate([np.arange(4) + 4 * gate for gate in (0, 1, 3, 2)])  # theirs to ours
    kernel, recurrent, bias = theirs.get_weights()
    ours.kernel.assign(np.concatenate([kernel, recurrent])[None, :, order])
    ours.bias.assign(bias[None, order])
    mask = np.array([[True, False, True, True, False], [False, True, True, True, True]])
    assert error(ours(x, mask=mask), theirs(x, mask=mask)) < 1e-5
    grid = GridLSTM(4, 2, **options)
    outputs = grid(x, mask=mask).numpy()
    last = outputs[:, -1] if sequences else outputs
    assert (not last[0].any()) == zero and last[1].any()


def test_masks_of_images_skip_places():
    """What is masked has no influence, and rows that are masked as a whole are as if not there."""
    layer = GridLSTMND(3, 2, directions=("forward", "backward"))
    x = inputs(1, 4, 3, 2)
    mask = np.ones((1, 4, 3), bool)
    mask[:, 2] = False
    expected = layer(x[:, [0, 1, 3]])
    actual = layer(x, mask=mask).numpy()
    assert error(actual[:, [0, 1, 3]], expected) < 1e-5
    assert not actual[:, 2].any()
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Masking(), GridLSTMND(3)])
    masked = x[:, 0].copy()
    masked[:, 1] = 0
    assert not model(masked).numpy()[:, 1].any()
    with pytest.raises(ValueError, match="mask's shape"):
        layer(x, mask=mask[0])


def test_a_decoder_starts_from_the_state_of_an_encoder():
    source, target = keras.Input((None, 3)), keras.Input((None, 4))
    _, *state = GridLSTM(5, 2, return_state=True)(source)
    decoded = GridLSTM(5, 2, return_sequences=True)(target, initial_state=state)
    model = keras.Model([source, target], decoded)
    model.compile("sgd", "mse")
    x, y = inputs(3, 4, 3), inputs(3, 6, 4)
    model.fit([x, y], inputs(3, 6, 5), verbose=0)
    assert model([x, y]).shape == (3, 6, 5)


@pytest.mark.slow
def test_other_backends_are_named_with_the_remedy():
    other = "keras.backend.backend = lambda: 'numpy'"  # what others need is not installed
    finished = run(f"import keras; {other}; from model import GridLSTM")
    last = finished.stderr.strip().splitlines()[-1]
    assert "Keras runs on 'numpy'" in last and "KERAS_BACKEND=tensorflow" in last


@pytest.mark.slow
def test_importing_the_package_registers_the_layers(tmp_path):
    model = keras.Sequential([keras.Input((3, 4)), GridLSTM(4), StackedLSTM(4)][:2])
    model.save(tmp_path / "net.keras")
    loads = f"import keras, model; keras.models.load_model({str(tmp_path / 'net.keras')!r})"
    finished = run(loads)
    assert finished.returncode == 0, finished.stderr
