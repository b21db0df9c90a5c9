"""Grids with inputs and outputs at any side, against their equations in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, value_and_gradients
from numpy_cells import central_differences, grid_of_sides
from seeds import generator

from model.cells.registry import find_cell
from model.core import State
from model.errors import InputError
from model.layers import GridLSTMND, GridLSTMSides

EXECUTIONS = ["reference", "wavefront"]
TRANSLATION = {"cells": ("lstm", "lstm", "identity"), "priority": (), "input_memory": False}


def normal(*shape):
    return generator().normal(size=shape)


def random_weights(layer):
    """Gives a layer weights of which none, as biases at first, is a constant."""
    layer.set_weights([normal(*one.shape) / np.sqrt(one.shape[0]) for one in layer.weights])


def weights_of(layer):
    """The weights of the blocks, per dimension, as NumPy's equations take them."""
    return [
        [np.array(part) for part in (one.kernel, one.bias, *one.parameters)]
        for one in layer.block_weights
    ]


def in_numpy(layer, inputs, keep=None, weights=None):
    """What leaves each side, `[batch, ...]` hidden and memory, by `grid_of_sides`.

    Args:
      layer: The layer, with the weights of its projections.
      inputs: The inputs of `GridLSTMSides.call`.
      keep: The mask of all places, `[batch, *extents]`.
      weights: Weights of the blocks in place of the layer's own.
    """
    count, units, layers = len(inputs), layer.units, layer.layers
    sizes = {}
    for k, one in enumerate(inputs):
        for axis, other in enumerate([d for d in range(count - 1) if d != k]):
            if one is not None:
                sizes[other] = one.shape[1 + axis]
    batch = next(one.shape[0] for one in inputs if one is not None)
    extents = (*(sizes[d] for d in range(count - 1)), layers)
    words = layer.directions
    words = [words] * (count - 1) if isinstance(words, str) else words
    backward = [d for d, word in enumerate(words) if word == "backward"]
    axes = [[1 + d - (d > k) for d in backward if d != k] for k in range(count)]
    entering = []
    for k, one in enumerate(inputs):
        cell = find_cell(layer.equations.cells[k])
        width = cell.memory_size * units
        if one is None:
            others = (*extents[:k], *extents[k + 1 :], batch)
            entering.append((np.zeros((*others, units)), np.zeros((*others, width))))
            continue
        if k < count - 1 and one.ndim == count:
            one = np.stack([one] * layers, axis=-2)
        if layer.project_inputs:
            one = one @ np.array(getattr(layer, f"side{k}_kernel"))
            one = one + np.array(getattr(layer, f"side{k}_bias"))
        one = np.moveaxis(np.flip(one, axes[k]), 0, -2)
        hidden, given = one[..., :units], one[..., units:]
        memory = np.zeros((*one.shape[:-1], width))
        memory[..., : given.shape[-1]] = given
        entering.append((hidden, hidden if cell.memory_is_hidden else memory))
    if keep is not None:
        keep = np.moveaxis(np.flip(keep, [1 + d for d in backward]), 0, -1)
    leaving = grid_of_sides(
        layer.equations.cells,
        entering,
        weights or weights_of(layer),
        extents,
        layer.equations.priority,
        keep,
    )
    return [
        [np.flip(np.moveaxis(part, -2, 0), axes[k]) for part in parts]
        for k, parts in enumerate(leaving)
    ]


def hidden_of(leaving):
    return [hidden for hidden, _ in leaving]


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    "options,shapes",
    [
        ({"layers": 2, "cells": ("gru", "lstm")}, [(2, 5), (2, 4, 3)]),
        ({"layers": 2, "input_memory": False}, [(2, 2, 5), (2, 4, 3)]),
        ({"project_inputs": False}, [(2, 6), (2, 4, 6)]),
        (TRANSLATION, [(2, 4, 5), (2, 3, 2), None]),
        ({"layers": 2, "directions": ("backward", "forward")}, [(2, 4, 5), (2, 3, 2, 2), None]),
        ({"cells": ("lstm_full_gate_recurrence", "lstm", "gru")}, [None, (2, 3, 2), (2, 3, 4, 5)]),
        ({"directions": "backward", "priority": (2, 0)}, [None, None, (2, 3, 4, 5)]),
        ({"cells": "lstm_peephole"}, [(2, 2, 3, 2), (2, 2, 3, 2), None, None]),
    ],
    ids=str,
)
def test_what_leaves_each_side_is_what_the_equations_say(options, shapes, execution):
    layer = GridLSTMSides(3, return_sides=True, execution=execution, dtype="float64", **options)
    inputs = [None if shape is None else normal(*shape) for shape in shapes]
    layer.build(shapes)
    random_weights(layer)
    outputs = layer(inputs)
    expected = in_numpy(layer, inputs)
    assert error(outputs, hidden_of(expected)) < 1e-10
    assert [one.shape for one in outputs] == list(layer.compute_output_shape(shapes))
    single = GridLSTMSides(3, execution=execution, dtype="float64", **options)
    single.build(shapes)
    single.set_weights(layer.get_weights())
    np.testing.assert_array_equal(single(inputs), outputs[-1])


def test_an_input_at_depth_alone_is_the_grid_of_n_dimensions():
    options = {"layers": 2, "directions": ("forward", "backward"), "tied": "depth"}
    x = normal(2, 3, 4, 5)
    expected, layer = GridLSTMND(3, **options), GridLSTMSides(3, **options)
    expected.build(x.shape)
    layer.build([None, None, x.shape])
    layer.set_weights(expected.get_weights())
    np.testing.assert_array_equal(layer([None, None, x]), expected(x))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(None, None, None), (2, 3, None)])
def test_sizes_may_be_unknown(sizes):
    """Outputs and gradients of one graph are those of known sizes, whatever comes."""
    layer = GridLSTMSides(3, 2, return_sides=True, dtype="float64", **TRANSLATION)
    layer.build([(None, None, 2), (None, None, 2), None])
    batch, source, target = sizes
    signature = [tf.TensorSpec([batch, n, 2], tf.float64) for n in (target, source)]

    def run(words, source_words):
        keep = [words[..., 0] > -1, source_words[..., 0] > -1, None]
        with tf.GradientTape() as tape:
            tape.watch([words, source_words])
            outputs = layer([words, source_words, None], mask=keep)
            loss = tf.add_n([tf.reduce_sum(tf.sin(3 * one)) for one in outputs])
        return outputs, tape.gradient(loss, [words, source_words])

    unknown = tf.function(run, autograph=False, input_signature=signature)
    for target in (4, 1):
        words, source_words = (tf.constant(normal(2, n, 2)) for n in (target, 3))
        assert error(unknown(words, source_words), run(words, source_words)) < 1e-10


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_contents_of_padding_change_no_digit(execution):
    """Outputs, states and gradients, when whatever is in the padding is replaced."""
    layer = GridLSTMSides(
        3, 2, ("backward", "forward"), return_sides=True, execution=execution, **TRANSLATION
    )
    words, source = normal(2, 4, 2), normal(2, 3, 2)
    layer.build([words.shape, source.shape, None])
    kept = [np.array([[1, 1, 1, 0], [1, 0, 0, 0]]) > 0, np.array([[1, 1, 1], [1, 1, 0]]) > 0, None]

    def run(words, source):
        sides = [tf.constant(one, tf.float32) for one in (words, source)]
        variables = [one.value for one in layer.trainable_variables]
        return value_and_gradients(lambda: layer([*sides, None], mask=kept), [*variables, *sides])

    expected, gradients = run(words, source)
    changed = [
        np.where(mask[..., None], one, normal(*one.shape))
        for one, mask in zip((words, source), kept, strict=False)
    ]
    outputs, others = run(*changed)
    for actual, right in zip([*outputs, *others], [*expected, *gradients], strict=True):
        np.testing.assert_array_equal(actual, right)
    for gradient, mask in zip(gradients[-2:], kept, strict=False):
        assert not np.any(gradient.numpy()[~mask])
    target_mask, source_mask, _ = kept
    assert not np.any(expected[0].numpy()[~target_mask])
    assert not np.any(expected[1].numpy()[~source_mask])
    places = source_mask[:, :, None] & target_mask[:, None]
    assert not np.any(expected[2].numpy()[~places]) and np.all(expected[2].numpy()[places])


@pytest.mark.parametrize("execution,tolerance", [("reference", 0), ("wavefront", 1e-12)])
def test_padding_is_as_if_it_were_not_there(execution, tolerance):
    """The reference computes the same products with padding, and so gives the same digits."""
    layer = GridLSTMSides(
        3, 2, ("backward", "forward"), True, execution=execution, dtype="float64", **TRANSLATION
    )
    words, source = normal(1, 2, 2), normal(1, 3, 2)
    layer.build([words.shape, source.shape, None])
    expected = layer([words, source, None])
    padded = [np.pad(words, [(0, 0), (0, 2), (0, 0)]), np.pad(source, [(0, 0), (0, 3), (0, 0)])]
    mask = [[[True] * 2 + [False] * 2], [[True] * 3 + [False] * 3], None]
    mask = [one and np.array(one) for one in mask]
    first, second, top = layer([*padded, None], mask=mask)
    assert error([first[:, :2], second[:, :3], top[:, :3, :2]], expected) <= tolerance
    keep = mask[1][:, :, None] & mask[0][:, None]
    within_numpy = hidden_of(in_numpy(layer, [*padded, None], keep))
    assert error(first[:, :2], within_numpy[0][:, :2]) < 1e-10


def test_masks_come_through_keras_and_go_on():
    """Of embeddings to the layer, and from each of its outputs to what follows."""
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    layer = GridLSTMSides(4, return_sides=True, **TRANSLATION)
    target, source = np.array([[3, 1, 0], [2, 0, 0]]), np.array([[5, 6], [7, 0]])
    outputs = layer([embedding(target), embedding(source), None])
    alone = layer([embedding(target[1:, :1]), embedding(source[1:, :1]), None])
    assert error([outputs[0][1, 0], outputs[1][1, 0]], [alone[0][0, 0], alone[1][0, 0]]) < 1e-6
    masks = [keras.src.backend.get_keras_mask(one) for one in outputs]
    np.testing.assert_array_equal(masks[0], target > 0)
    np.testing.assert_array_equal(masks[1], source > 0)
    np.testing.assert_array_equal(masks[2], (source > 0)[:, :, None] & (target > 0)[:, None])


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        TRANSLATION,
        {"layers": 2, "cells": ("lstm", "lstm_full_gate_recurrence", "gru"), "priority": (-1, 0)},
        {"layers": 2, "directions": ("backward", "forward")},
    ],
    ids=str,
)
def test_steps_along_a_dimension_are_the_whole_grid(options, masked, execution):
    layer = GridLSTMSides(3, return_sides=True, execution=execution, dtype="float64", **options)
    words, source, bottom = normal(2, 4, 5), normal(2, 3, 2), normal(2, 3, 4, 2)
    layer.build([words.shape, source.shape, bottom.shape])
    random_weights(layer)
    mask = None
    if masked:
        mask = [generator().random([2, 4]) < 0.7, generator().random([2, 3]) < 0.7, None]
    whole = layer([words, source, bottom], mask=mask)
    state = layer.initial_state(1, source)
    for j in range(4):
        row = mask and [mask[0][:, j], mask[1], None]
        (first, second, top), state = layer.step(
            1, [words[:, j], None, bottom[:, :, j]], state, row
        )
        assert error([first, top], [whole[0][:, j], whole[2][:, :, j]]) < 1e-10
        assert masked or error(second, state.hidden) == 0
    keep = mask and mask[1][:, :, None] & mask[0][:, None]
    expected = in_numpy(layer, [words, source, bottom], keep)[1]
    assert error([*state], expected) < 1e-10


def test_steps_begin_with_zeros_where_nothing_enters():
    layer = GridLSTMSides(3, 2, dtype="float64")
    frames = normal(2, 5, 4, 3)  # a spectrogram of 5 steps and 4 blocks of bands
    layer.build([None, None, frames.shape])
    whole = layer([None, None, frames])
    state = layer.initial_state(0, sizes=(2, 4))
    for time in range(5):
        output, state = layer.step(0, [None, None, frames[:, time]], state)
        assert error(output, whole[:, time]) < 1e-10


def test_gradients_are_those_of_finite_differences():
    """Of weights that two dimensions share, through hyperplanes."""
    layer = GridLSTMSides(
        2,
        directions=("backward", "forward"),
        return_sides=True,
        tied_dimensions=((0, 1),),
        execution="wavefront",
        dtype="float64",
        **TRANSLATION,
    )
    words, source = normal(1, 2, 2), normal(1, 2, 2)
    layer.build([words.shape, source.shape, None])
    random_weights(layer)
    shared, _, depth = weights_of(layer)
    factors = [normal(*one.shape) for one in layer([words, source, None])]

    def loss():
        leaving = in_numpy(layer, [words, source, None], weights=[shared, shared, depth])
        return sum(np.sum(a * b) for a, b in zip(hidden_of(leaving), factors, strict=True))

    with tf.GradientTape() as tape:
        outputs = layer([words, source, None])
        total = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(outputs, factors, strict=True)])
    variables = [
        layer.block_weights[0].kernel,
        layer.block_weights[0].bias,
        layer.block_weights[2].kernel,
    ]
    actual = tape.gradient(total, [one.value for one in variables])
    expected = central_differences(loss, [*shared, depth[0]])
    assert error(actual, expected) < 1e-7


def test_keras_trains_saves_and_loads_it(tmp_path):
    """A model in whose calls nothing enters at one side, and whose sizes are unknown."""
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embed = keras.layers.Embedding(7, 6, mask_zero=True)
    options = {"cells": ("lstm", "lstm", "identity"), "tied_dimensions": ((0, 1),), "dropout": 0.1}
    options["execution"] = "reference"
    below = GridLSTMSides(6, **options)([embed(target), embed(source), None])
    layer = GridLSTMSides(6, 1, ("backward", "forward"), True, **options)
    scanned, _, _ = layer([embed(target), embed(source), below])
    model = keras.Model([source, target], keras.layers.Dense(7)(scanned[:, :, -1]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    words = generator().integers(1, 7, size=(32, 2))
    before = np.pad(words[:, :-1], [(0, 0), (1, 0)], constant_values=1)
    history = model.fit([words, before], words, epochs=12, batch_size=16, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again([words, before]), model([words, before]))


def test_a_checkpoint_holds_every_weight(tmp_path):
    x = [normal(2, 3, 5), normal(2, 4, 6), None]
    saved, loaded = (GridLSTMSides(4, 2, tied_dimensions=((0, 1),)) for _ in range(2))
    expected = saved(x)
    assert np.any(loaded(x) != expected)
    path = tf.train.Checkpoint(layer=saved).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(layer=loaded).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(loaded(x), expected)


def test_dropout_differs_from_side_to_side():
    layer = GridLSTMSides(
        32, return_sides=True, dropout=0.5, cells="identity", project_inputs=False, priority=()
    )
    ones = np.ones([1, 1, 32], "float32")
    layer.build([ones.shape, ones.shape, None])
    kernels = [np.zeros([1, 96, 32]) for _ in range(3)]
    for k in range(2):
        kernels[k][0, 32 * k : 32 * k + 32] = np.eye(32)  # each passes on what enters it
    layer.set_weights([part for kernel in kernels for part in (kernel, np.zeros([1, 32]))])
    first, second, _ = layer([ones, ones, None], training=True)
    assert set(np.unique(first)) <= {0, 2} and np.any(first != second)
    assert error(layer([ones, ones, None])[0], ones[:, :, None]) == 0


def build(shapes, **options):
    layer = GridLSTMSides(4, **options)
    layer.build(shapes)
    return layer


SHAPES = [(2, 3, 4), (2, 5, 4), None]


@pytest.mark.parametrize(
    "call,said",
    [
        (lambda: GridLSTMSides(4, directions="up"), "directions names 'up'"),
        (lambda: build(SHAPES, directions=("forward",)), "directions names 1 dimensions"),
        (lambda: build((2, 3, 4)), "a list with an entry for each dimension"),
        (lambda: build([None, None]), "at least one is a tensor"),
        (lambda: build([(2, 4), None])([np.ones([2, 4]), None]), "the extent of dimension 0"),
        (lambda: build([(2, 4), (2, 4), None]), "[batch, extent 1, features]"),
        (lambda: build([(2, 3, None), (2, 5, 4), None]), "last size of the input's shape"),
        (lambda: build(SHAPES, project_inputs=False), "without project_inputs it must be 8"),
        (lambda: build(SHAPES)([np.ones([2, 3, 4]), np.ones([9, 5, 4]), None]), "2, 9 for the"),
        (lambda: build(SHAPES)([np.ones([2, 3, 4]), None, np.ones([2, 5, 3, 4])]), "without an"),
        (lambda: build(SHAPES)(np.ones([3, 2, 4])), "not those of the 3 dimensions"),
        (lambda: build([(2, 3, 2, 4), *SHAPES[1:]])([np.ones([2, 3, 2, 4]), None, None]), "2 lay"),
        (
            lambda: build(SHAPES)([np.ones(s) for s in SHAPES[:2]] + [None], mask=np.ones([2, 3])),
            "mask must be a list of 3",
        ),
        (
            lambda: build(SHAPES)(
                [np.ones(s) for s in SHAPES[:2]] + [None], mask=[np.ones([2, 3, 1]), None, None]
            ),
            "the mask of dimension 0 has the shape (2, 3, 1)",
        ),
        (lambda: GridLSTMSides(4).initial_state(1), "no variables yet"),
        (lambda: build(SHAPES).initial_state(2), "dimension is 2"),
        (lambda: build(SHAPES, directions="backward").initial_state(1), "is read backward"),
        (
            lambda: build(SHAPES).step(1, [None, np.ones([2, 5, 4]), None], State(None, None)),
            "the entry must be None",
        ),
    ],
)
def test_mistakes_are_named(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value)
