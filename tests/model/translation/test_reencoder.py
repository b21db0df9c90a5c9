"""The Reencoder against its equations in NumPy, word by word."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error
from numpy_cells import central_differences, lstm
from seeds import generator

from model.errors import InputError
from model.translation.reencoder import Reencoder

NAMES = {
    "source": ("source_embedding", "embeddings"),
    "target": ("target_embedding", "embeddings"),
    "output": ("output_layer", "kernel"),
    "output_bias": ("output_layer", "bias"),
}


def make(units=3, **options):
    model = Reencoder(7, 6, units, **{"dtype": "float64", **options})
    model.set_weights([generator().normal(size=one.shape) / 2 for one in model.weights])
    return model


def weights_of(model):
    weights = {name: np.array(getattr(getattr(model, a), b)) for name, (a, b) in NAMES.items()}
    for number, grid in enumerate(model.grids):
        for part, one in zip(
            ("scan_source", "scan_target", "depth"), grid.block_weights, strict=True
        ):
            weights[part, number] = np.array(one.kernel[0])
            weights[part, number, "bias"] = np.array(one.bias[0])
    return weights


def logits_in_numpy(weights, source, target, directions=("forward", "backward"), is_tied=True):
    """The logits of one pair of sentences without padding, `[target, vocabulary]`."""
    units = weights["source"].shape[1]
    below = np.zeros([len(source), len(target), units])
    for number, direction in enumerate(directions):
        above = np.zeros_like(below)
        columns = [(weights["source"][word][None], np.zeros([1, units])) for word in source]
        rows = []
        for j, word in enumerate(target):
            h_source, m_source = weights["target"][word][None], np.zeros([1, units])
            order = range(len(source))
            for i in order if direction == "forward" else reversed(order):
                h_target, m_target = columns[i]
                h = np.concatenate([h_source, h_target, below[i, j][None]], axis=1)
                second = "scan_source" if is_tied else "scan_target"
                z = [
                    h @ weights[part, number] + weights[part, number, "bias"]
                    for part in ("scan_source", second, "depth")
                ]
                h_source, m_source = lstm("lstm", z[0], m_source, [])
                columns[i] = lstm("lstm", z[1], m_target, [])
                above[i, j] = z[2]
            rows.append(h_source[0])
        below = above
    return np.stack(rows) @ weights["output"] + weights["output_bias"]


@pytest.mark.parametrize("execution", ["reference", "wavefront"])
@pytest.mark.parametrize(
    "options",
    [{}, {"tied": False, "directions": ("backward",)}, {"directions": ("forward",) * 3}],
    ids=str,
)
def test_logits_are_those_of_the_equations(options, execution):
    """Of sentences of different lengths in one batch."""
    model = make(execution=execution, **options)
    source = np.array([[3, 1, 4, 2], [5, 6, 0, 0]])
    target = np.array([[1, 2, 0], [1, 5, 3]])
    logits = model([source, target])
    for row, (words, before) in enumerate(zip(source, target, strict=True)):
        words, before = words[words > 0], before[before > 0]
        expected = logits_in_numpy(
            weights_of(model), words, before, model.directions, options.get("tied", True)
        )
        assert error(logits[row, : len(before)], expected) < 1e-10


def test_padding_changes_no_digit():
    model = make(execution="reference")
    source, target = np.array([[3, 1, 4]]), np.array([[1, 2]])
    padded = model([np.pad(source, [(0, 0), (0, 3)]), np.pad(target, [(0, 0), (0, 2)])])
    np.testing.assert_array_equal(padded[:, :2], model([source, target]))


@pytest.mark.parametrize("priority", [(), (-1,)])
def test_steps_are_the_whole_grid(priority):
    model = make(priority=priority)
    source = np.array([[3, 1, 4, 2], [5, 6, 0, 0]])
    target = np.array([[1, 2, 4], [1, 5, 3]])
    expected = model([source, target])
    state = model.initial_state(source)
    assert state.grids[0].hidden.shape == (2, 4, 1, 3)
    for j in range(3):
        logits, state = model.step(target[:, j], state)
        assert error(logits, expected[:, j]) < 1e-10
        # As a beam search does: the rows of the batch in another order.
        state = tf.nest.map_structure(lambda part: tf.gather(part, [1, 0]), state)
        target, expected = target[::-1], expected[::-1]


def test_gradients_are_those_of_finite_differences():
    model = make(units=2)
    source, target = np.array([2, 5]), np.array([1, 4])
    weights = weights_of(model)
    factors = generator().normal(size=[2, 6])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model([source[None], target[None]])[0] * factors)
    variables = [getattr(getattr(model, a), b) for a, b in NAMES.values()]
    arrays = [weights[name] for name in NAMES]
    for number, grid in enumerate(model.grids):
        for part, one in (("scan_source", grid.block_weights[0]), ("depth", grid.block_weights[2])):
            variables += [one.kernel, one.bias]
            arrays += [weights[part, number], weights[part, number, "bias"]]
    gradients = tape.gradient(loss, [one.value for one in variables])
    actual = [tf.reshape(tf.convert_to_tensor(one), [-1]) for one in gradients]
    expected = central_differences(
        lambda: np.sum(logits_in_numpy(weights, source, target) * factors), arrays
    )
    assert error(actual, [one.ravel() for one in expected]) < 1e-7


def test_it_learns_is_saved_and_loaded(tmp_path):
    """Each target is its source backwards, which takes both words and their order."""
    model = Reencoder(6, 6, 16, dropout=0.1, execution="reference")
    words = generator().integers(1, 6, size=(128, 2))
    before = np.pad(words[:, :0:-1], [(0, 0), (1, 0)], constant_values=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    history = model.fit([words, before], words[:, ::-1], epochs=10, verbose=0)
    assert history.history["loss"][-1] < 0.6 * history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again([words, before]), model([words, before]))


@pytest.mark.parametrize(
    "arguments,said",
    [
        ({"units": 0}, "units is 0"),
        ({"source_vocabulary_size": 1}, "source_vocabulary_size is 1"),
        ({"directions": "backward"}, "a direction for each grid"),
        ({"directions": ("up",)}, "directions names 'up'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_mistakes_are_named(arguments, said):
    given = {"source_vocabulary_size": 5, "target_vocabulary_size": 5, "units": 4, **arguments}
    with pytest.raises(InputError, match=said):
        Reencoder(**given)
