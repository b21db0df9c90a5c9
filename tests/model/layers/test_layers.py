"""The Keras layers: what they equal, and that they do what Keras users expect."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, normal, value_and_gradients
from seeds import generator

from model.core import CoreInputs, State
from model.decoding.stacked_step import pack_stacked, stacked_decode_step
from model.errors import InputError
from model.execution.compilation import Compilation
from model.execution.plan import Plan
from model.layers.grid_lstm import GridLSTM
from model.layers.grid_lstm_cell import GridLSTMCell
from model.layers.grid_lstm_nd import GridLSTMND
from model.layers.recurrent_highway import RecurrentHighway
from model.layers.stacked_lstm import StackedLSTM
from model.stacked.recurrence import stacked_lstm
from model.stacked.weights import StackedWeights


def inputs(*shape):
    return generator().normal(size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_grid_with_a_plain_depth_is_keras_stacked_lstm():
    """Section 3.2: an identity along depth that passes on time's new hidden vector."""
    units, layers, features = 5, 3, 5
    reference = keras.Sequential(
        [keras.layers.LSTM(units, return_sequences=True) for _ in range(layers)]
    )
    x = inputs(4, 7, features)
    expected = reference(x)
    grid = GridLSTM(
        units,
        layers,
        cells=("lstm", "identity"),
        return_sequences=True,
        project_inputs=False,
    )
    grid.build(x.shape)
    order = np.concatenate([np.arange(units) + units * gate for gate in (0, 1, 3, 2)])  # i f o g
    time, depth = grid.block_weights
    time.kernel.assign(
        np.stack(
            [
                np.concatenate([recurrent, kernel])[:, order]
                for kernel, recurrent, _ in (layer.get_weights() for layer in reference.layers)
            ]
        )
    )
    time.bias.assign(np.stack([layer.get_weights()[2][order] for layer in reference.layers]))
    depth.kernel.assign(
        np.broadcast_to(np.eye(2 * units, units, dtype=np.float32), (layers, 2 * units, units))
    )
    assert error(grid(x), expected) < 1e-5


def test_one_dimension_is_a_gated_feed_forward_net():
    units, layers = 4, 5
    layer = GridLSTMND(units, layers, tied="none")
    x = inputs(3, 6)
    actual = layer(x)
    h, m = np.split(x @ layer.kernel.numpy() + layer.bias.numpy(), 2, axis=1)
    (depth,) = layer.block_weights
    for at in range(layers):
        z = h @ depth.kernel[at].numpy() + depth.bias[at].numpy()
        i, f, o, g = np.split(z, 4, axis=1)
        m = sigmoid(f) * m + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(m)
    assert error(actual, h) < 1e-5


def test_a_backward_scan_is_a_forward_scan_of_the_reverse():
    x = inputs(2, 3, 4, 5)
    there = GridLSTMND(4, 2, directions=("forward", "backward"))
    expected = there(x)
    plain = GridLSTMND(4, 2)
    plain.build(x.shape)
    plain.set_weights(there.get_weights())
    assert error(tf.reverse(plain(x[:, :, ::-1]), [2]), expected) < 1e-5
    assert error(plain(x), expected) > 1e-3


@pytest.mark.parametrize("execution", ["reference", "wavefront"])
def test_the_cell_in_a_keras_rnn_is_the_layer(execution):
    x = inputs(3, 6, 5)
    layer = GridLSTM(4, 3, tied="depth", return_sequences=True, execution=execution)
    expected = layer(x)
    rnn = keras.layers.RNN(GridLSTMCell(4, 3, tied="depth"), return_sequences=True)
    rnn.build(x.shape)
    rnn.set_weights(layer.get_weights())
    assert error(rnn(x), expected) < 1e-5


def test_masked_steps_are_as_if_they_were_not_there():
    x = inputs(1, 9, 5)
    mask = np.array([[True, False, True, True, False, False, True, True, False]])
    layer = GridLSTM(4, 3, return_sequences=True, return_state=True)
    outputs, *states = layer(x, mask=tf.constant(mask))
    expected, *expected_states = layer(x[:, mask[0]])
    assert error(outputs.numpy()[:, mask[0]], expected) < 1e-5
    assert error(states, expected_states) < 1e-5
    assert error(outputs[:, 4], outputs[:, 3]) == 0
    leading = layer(x, mask=tf.constant([[False] * 2 + [True] * 7]))[0]
    assert not np.any(leading[:, :2])


def test_masks_come_through_keras():
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 8, mask_zero=True),
            GridLSTM(6, 2),
            keras.layers.Dense(3),
        ]
    )
    ids = np.array([[4, 7, 2, 0, 0], [1, 0, 0, 0, 0]])
    alone = model(ids[:1, :3])
    assert error(model(ids)[:1], alone) < 1e-5


def test_stateful_goes_on_and_reset_begins_again():
    x = inputs(2, 8, 3)
    layer = GridLSTM(4, 2, stateful=True, return_sequences=True)
    pieces = [layer(x[:, :5]), layer(x[:, 5:])]
    layer.reset_state()
    assert error(np.concatenate(pieces, axis=1), layer(x)) < 1e-5


def test_what_calls_a_stateful_layer_is_saved(tmp_path):
    class Reader(tf.Module):
        def __init__(self):
            super().__init__()
            self.layer = GridLSTM(4, 2, stateful=True)

        @tf.function(input_signature=[tf.TensorSpec([2, 3, 3], tf.float32)])
        def __call__(self, x):
            return self.layer(x)

    reader, x = Reader(), tf.constant(inputs(2, 3, 3), tf.float32)
    whole = [reader(x), reader(x)]
    assert error(*whole) > 1e-3
    assert len(reader.layer.weights) == 6
    reader.layer.reset_state()
    tf.saved_model.save(reader, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for expected in whole:
        assert error(loaded(x), expected) < 1e-5


def test_initial_state_and_go_backwards():
    x = inputs(2, 6, 3)
    layer = GridLSTM(4, 2, return_sequences=True, return_state=True)
    whole, *_ = layer(x)
    first, *state = layer(x[:, :2])
    second, *_ = layer(x[:, 2:], initial_state=state)
    assert error(np.concatenate([first, second], axis=1), whole) < 1e-5
    back = GridLSTM(4, 2, return_sequences=True, go_backwards=True)
    back.build(x.shape)
    back.set_weights(layer.get_weights())
    assert error(back(x), layer(x[:, ::-1])[0]) < 1e-5


def test_every_argument_of_keras_lstm_is_known():
    theirs = set(inspect.signature(keras.layers.LSTM.__init__).parameters)
    known = {
        name for one in GridLSTM.__mro__ for name in inspect.signature(one.__init__).parameters
    }
    assert theirs <= known


def test_constraints_hold_while_keras_trains():
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            GridLSTM(
                4,
                2,
                kernel_constraint=keras.constraints.MaxNorm(0.2),
                recurrent_constraint="non_neg",
                bias_constraint=keras.constraints.MaxNorm(0.1),
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(inputs(8, 5, 3), inputs(8, 4), verbose=0)
    (layer,) = model.layers
    assert np.linalg.norm(layer.kernel, axis=0).max() < 0.2 + 1e-5
    for one in layer.block_weights:
        assert np.min(one.kernel) >= 0
        assert np.linalg.norm(one.bias, axis=0).max() < 0.1 + 1e-5
    again = GridLSTM.from_config(layer.get_config())
    assert again.kernel_constraint.max_value == 0.2


@pytest.mark.parametrize("options", [{"cell": "lstm_peephole"}, {"connection": "highway"}])
def test_an_initializer_of_matrices_takes_vectors_of_cells_too(options):
    layer = StackedLSTM(4, 3, kernel_initializer="orthogonal", **options)
    layer.build((None, None, 4))
    norms = np.linalg.norm(layer.parameters[0].numpy(), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_given_memories_stay_in_the_dtype_of_the_weights():
    layer = StackedLSTM(4, 2, return_state=True, dtype="mixed_bfloat16")
    x = inputs(2, 3, 4)
    zeros = layer.get_initial_state(2)
    assert [one.dtype for one in zeros] == [tf.bfloat16, tf.float32]
    low = [tf.cast(one, tf.bfloat16) for one in zeros]
    outputs, hidden, memory = layer(x, initial_state=low)
    assert memory.dtype == tf.float32
    for found, expected in zip((outputs, hidden, memory), layer(x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GridLSTM(4, layers=2, layer_normalization=True, mogrifier_rounds=3),
        lambda: GridLSTMND(4, layers=2),
        lambda: StackedLSTM(5, layers=2),
        lambda: RecurrentHighway(4, depth=2),
        lambda: keras.layers.RNN(GridLSTMCell(4, layers=2)),
    ],
    ids=["GridLSTM", "GridLSTMND", "StackedLSTM", "RecurrentHighway", "GridLSTMCell"],
)
def test_a_checkpoint_holds_every_weight(tmp_path, make):
    x = generator().normal(size=(2, 3, 5)).astype("float32")
    saved, loaded = make(), make()
    expected = saved(x)
    loaded(x)
    path = tf.train.Checkpoint(layer=saved).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(layer=loaded).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(loaded(x), expected)


@pytest.mark.slow
def test_keras_trains_saves_and_loads_it(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Bidirectional(GridLSTM(8, 2, return_sequences=True, dropout=0.1)),
            GridLSTM(8, 2, recurrent_dropout=0.1, dropout_masks="sequence"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    x = inputs(64, 6, 3)
    history = model.fit(x, x.mean(axis=(1, 2))[:, None], epochs=12, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    path = tmp_path / "model.keras"
    model.save(path)
    assert error(keras.models.load_model(path)(x), model(x)) < 1e-6


@pytest.mark.parametrize(
    "layer",
    [
        GridLSTM(4, 2, tied="all", priority=(), dropout=0.2, remat_steps=3, return_state=True),
        GridLSTMND(4, 2, cells=("lstm", "tanh", "lstm"), directions=("forward", "backward")),
        GridLSTMCell(4, 2, layer_normalization=True, forget_bias=2.0),
        GridLSTM(4, 2, mogrifier_rounds=4, mogrifier_rank=3),
        StackedLSTM(4, 2, dropout=0.1, return_state=True, go_backwards=True, forget_bias=2.0),
        RecurrentHighway(4, 2, recurrent_dropout=0.1, return_state=True, transform_bias=-4.0),
    ],
)
def test_config_is_all_there_is(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_dropout_masks_by_step_and_by_sequence():
    """Where all steps are alike, only the masks can make them differ."""
    x = np.ones([1, 30, 8], np.float32)
    for masks, distinct in (("step", True), ("sequence", False)):
        layer = GridLSTMND(8, 1, dropout=0.5, dropout_masks=masks, cells="identity")
        layer.build(x.shape)
        _, depth = layer.block_weights
        depth.kernel.assign(np.eye(16, 8, -8)[None])
        drawn = layer(x, training=True)[0]
        assert bool(tf.reduce_any(drawn != drawn[:1])) == distinct
    layer = GridLSTM(8, 3, dropout=0.5, return_sequences=True)
    assert error(layer(x), layer(x)) == 0


@pytest.mark.parametrize("steps,layers,remat_steps", [(1, 1, 0), (4, 1, 2), (5, 3, 0), (6, 2, 3)])
@pytest.mark.parametrize(
    "compilation",
    [
        pytest.param(Compilation(jit="none"), marks=pytest.mark.slow),
        Compilation(),
        pytest.param(Compilation(jit="step"), marks=pytest.mark.slow),
        Compilation(jit="step", prefetch=True),
    ],
)
def test_stacked_lstm_equals_its_decode_steps(steps, layers, remat_steps, compilation):
    batch, units = 3, 4
    weights = StackedWeights(normal(layers, 2 * units, 4 * units), normal(layers, 4 * units))
    state = State(normal(layers, batch, units), normal(layers, batch, units))
    hidden = normal(steps, batch, units)
    sources = tf.nest.flatten([hidden, state, weights])

    def by_decode_steps():
        decode = stacked_decode_step(pack_stacked(weights, tf.float64), weights)
        outputs, current = [], state
        for step in range(steps):
            top, current, *_ = decode(CoreInputs(hidden[step]), current)
            outputs.append(top)
        return tf.stack(outputs), current

    def run():
        return value_and_gradients(
            lambda: stacked_lstm(
                hidden, state, weights, compilation=compilation, remat_steps=remat_steps
            ),
            sources,
        )

    run = tf.function(run, autograph=False, jit_compile=compilation.jits_step)
    assert error(run(), value_and_gradients(by_decode_steps, sources)) < 1e-10


@pytest.mark.parametrize("plain", ["relu", "identity"])
def test_integers_are_for_bounded_hidden_vectors(plain):
    grid = GridLSTM(4, 2, cells=("lstm", plain))
    grid.build((2, 3, 4))
    with pytest.raises(InputError, match=f"{plain}.*within 1 of 0"):
        grid.pack("int8")


def test_stacked_lstm_matches_keras_lstm():
    x = inputs(6, 4, 5)
    ours = StackedLSTM(5, 1, return_sequences=True)
    ours.build((4, 6, 5))
    theirs = keras.layers.LSTM(5, return_sequences=True)
    theirs.build((4, 6, 5))
    order = np.concatenate([np.arange(5) + 5 * gate for gate in (0, 1, 3, 2)])  # theirs to ours
    kernel, recurrent, bias = theirs.get_weights()
    ours.kernel.assign(np.concatenate([kernel, recurrent])[None, :, order])
    ours.bias.assign(bias[None, order])
    batch_major = x.transpose(1, 0, 2)
    assert error(ours(batch_major), theirs(batch_major)) < 1e-5
    mask = np.ones([4, 6], bool)
    mask[:, 4:] = False
    assert error(ours(batch_major, mask=mask), theirs(batch_major, mask=mask)) < 1e-5


@pytest.mark.parametrize("layers", [1, 3])
def test_masks_of_a_stacked_lstm_skip_steps(layers):
    """Outputs, states and gradients are those of the sequence without the masked steps."""
    layer = StackedLSTM(4, layers, return_sequences=True, return_state=True, dtype="float64")
    x = inputs(2, 6, 4).astype(np.float64)
    layer.build(x.shape)
    keep = np.array([True, False, True, True, False, True])
    mask = np.tile(keep, [2, 1])

    def skipped():
        outputs, *state = layer(x[:, keep])
        return outputs, state

    def masked():
        outputs, *state = layer(x, mask=mask)
        return tf.boolean_mask(outputs, keep, axis=1), state

    sources = [variable.value for variable in layer.trainable_variables]
    actual = value_and_gradients(masked, sources)
    assert error(actual, value_and_gradients(skipped, sources)) < 1e-10


def test_a_stacked_lstm_drops_its_inputs_and_between_its_layers():
    layer = StackedLSTM(8, 2, dropout=0.5, seed=1)
    x = inputs(3, 5, 8)
    assert error(layer(x), layer(x)) == 0
    assert error(layer(x, training=True), layer(x)) > 1e-3
    single = StackedLSTM(8, 1, dropout=0.5, seed=1)
    assert error(single(x, training=True), single(x)) > 1e-3


def test_a_stacked_lstm_keeps_its_state_between_batches():
    layer = StackedLSTM(4, 2, stateful=True)
    x = inputs(2, 6, 4)
    whole = StackedLSTM(4, 2)
    whole.build(x.shape)
    layer.build(x.shape)
    whole.set_weights(layer.get_weights())
    assert whole.count_params() == layer.count_params()
    layer(x[:, :2])
    assert error(layer(x[:, 2:]), whole(x)) < 1e-5
    layer.reset_state()
    assert error(layer(x), whole(x)) < 1e-5


def with_plan(layer):
    layer.plan = Plan("layerwise", Compilation("none"), "float32")


@pytest.mark.parametrize(
    "call,said",
    [
        (lambda: GridLSTM(0), "units is 0"),
        (lambda: GridLSTM(4, layers=1.5), "layers is 1.5"),
        (lambda: GridLSTM(4, tied="both"), "tied is 'both'"),
        (lambda: GridLSTM(4, dropout=1.0), "dropout is 1.0"),
        (lambda: GridLSTM(4, recurrent_dropout=-0.1), "recurrent_dropout is -0.1"),
        (lambda: GridLSTM(4, dropout_masks="row"), "dropout_masks is 'row'"),
        (
            lambda: GridLSTM(4, dropout_masks="sequence", recurrent_dropout=0.1).cell,
            "dropout_masks is 'sequence', and a cell sees one step at a time",
        ),
        (lambda: StackedLSTM(4, recurrent_dropout=0.5), "recurrent_dropout is not of a Stacked"),
        (lambda: StackedLSTM(0), "units is 0"),
        (lambda: StackedLSTM(4, dropout=1.0), "dropout is 1.0"),
        (lambda: StackedLSTM(4, dropout_masks="row"), "dropout_masks is 'row'"),
        (lambda: StackedLSTM(4)(inputs(2, 3, 5)), "needs inputs of that width"),
        (lambda: GridLSTM(4, execution="fast"), "execution is 'fast'"),
        (lambda: GridLSTM(4, activation="relu"), "activation is 'relu'"),
        (lambda: GridLSTM(4, priority=(2,)), "priority names dimension 2"),
        (lambda: GridLSTM(4, mogrifier_rounds=-1), "mogrifier_rounds is -1"),
        (
            lambda: GridLSTM(4, mogrifier_rounds=2, execution="layerwise"),
            "of 2 dimensions with priority (1,) and mogrifier_rounds 2 cannot do",
        ),
        (
            lambda: GridLSTM(4, execution="layerwise", remat_steps=5),
            "remat_steps is 5, and execution 'layerwise' keeps all activations; use 'auto'",
        ),
        (lambda: with_plan(GridLSTM(4, mogrifier_rounds=2)), "is 'layerwise', which a grid of 2"),
        (lambda: GridLSTM(4, cells=("lstm",)), "cells names 1 dimensions"),
        (lambda: GridLSTM(4)(inputs(2, 3)), "[batch, steps, features]"),
        (lambda: GridLSTM(4, project_inputs=False)(inputs(2, 3, 4)), "it must be 8"),
        (lambda: GridLSTM(4)(inputs(2, 3, 4), mask=tf.ones([2, 3, 1], tf.bool)), "mask's shape"),
        (lambda: GridLSTM(4)(inputs(2, 3, 4), [tf.zeros([2, 4])] * 2), "initial_state"),
        (lambda: GridLSTMND(4, directions="up"), "directions names 'up'"),
        (lambda: GridLSTMND(4, directions=["forward"])(inputs(2, 3, 3, 1)), "directions names 1"),
        (lambda: GridLSTMND(4, cells=("lstm",) * 3)(inputs(2, 3, 1)), "the grid has 2"),
    ],
)
def test_mistakes_are_named(call, said):
    with pytest.raises(ValueError) as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.parametrize("layers", [1, 3])
def test_constraints_and_regularizers_are_of_each_layer(layers):
    """Keras's norms are over the inputs of one kernel, its axis 0, and not over the layers."""
    layer = GridLSTM(
        4,
        layers,
        recurrent_constraint=keras.constraints.UnitNorm(axis=0),
        bias_constraint=keras.constraints.MaxNorm(0.5),
        recurrent_regularizer=keras.regularizers.OrthogonalRegularizer(0.1, mode="columns"),
    )
    layer.build((None, 5, 3))
    constrained = [
        one
        for one in layer.trainable_variables
        if one.constraint and len(one.shape) > 1  # those of the blocks
    ]
    assert len(constrained) == 4
    for one in constrained:
        one.assign(generator().normal(size=one.shape))
    expected = sum(
        float(keras.regularizers.OrthogonalRegularizer(0.1, mode="columns")(tf.constant(kernel)))
        for one in layer.trainable_variables
        if one.regularizer
        for kernel in one.numpy()
    )
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-5)
    for one in constrained:
        value = one.constraint(one).numpy()
        norms = np.linalg.norm(value, axis=1)
        if one.path.endswith("kernel"):
            np.testing.assert_allclose(norms, 1, rtol=1e-5)
        else:
            assert norms.max() < 0.5 + 1e-5


def test_a_generator_of_seeds_draws_other_numbers_for_each_weight():
    drawn = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(1))
    layer = GridLSTM(4, 2, recurrent_initializer=drawn, bias_initializer="random_normal")
    layer.build((None, 5, 3))
    for kind in ("kernel", "bias"):
        parts = [
            part[..., :4]  # without the forget gate, whose biases are equal
            for name in ("dimension0", "depth")
            for one in layer.trainable_variables
            if one.path.endswith(f"{name}_{kind}")
            for part in one.numpy()
        ]
        assert len(parts) == 4
        assert len({part.tobytes() for part in parts}) == 4
