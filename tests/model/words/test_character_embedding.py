"""Words from their characters: the layer against its equations in NumPy, one window at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error
from numpy_cells import central_differences, sigmoid
from seeds import generator

from model.errors import InputError
from model.words.character_embedding import CharacterWordEmbedding

CHARACTERS = 9
OPTIONS = {"character_width": 3, "widths": (1, 2, 4), "maps_per_width": 2, "max_maps": 5}
UNITS = 2 + 4 + 5


def make(highway_layers=2, dtype="float64", **options):
    layer = CharacterWordEmbedding(
        CHARACTERS, **{**OPTIONS, **options}, highway_layers=highway_layers, dtype=dtype
    )
    layer.build()
    layer.set_weights([generator().normal(size=one.shape) / 2 for one in layer.weights])
    return layer


def arrays_of(layer):
    """Copies of the weights in float64: E, the kernels, their biases, and the highway layers."""
    highway = () if layer.highway is None else (layer.highway.kernel, layer.highway.bias)
    parts = layer.embeddings, *layer.kernels, layer.bias, *highway
    return [np.array(part, np.float64) for part in parts]


def features_in_numpy(word, arrays, widths=OPTIONS["widths"]):
    """The features of one word without padding, by the equations."""
    embeddings, *kernels, bias = arrays
    features = []
    for width, kernel in zip(widths, kernels, strict=True):
        windows = []
        for first in range(len(word)):
            window = [
                embeddings[word[at]] if at < len(word) else np.zeros(embeddings.shape[1])
                for at in range(first, first + width)
            ]
            windows.append(np.concatenate(window) @ kernel)
        start = sum(map(len, features))
        own = bias[start : start + kernel.shape[1]]
        features.append(np.tanh(np.array(windows) + own).max(axis=0))
    return np.concatenate(features)


def highway_in_numpy(y, kernels, biases):
    units = len(y)
    for kernel, bias in zip(kernels, biases, strict=True):
        z = y @ kernel + bias
        gate = sigmoid(z[:units])
        y = gate * np.maximum(z[units:], 0) + (1 - gate) * y
    return y


def in_numpy(word, arrays, highway_layers):
    if not highway_layers:
        return features_in_numpy(word, arrays)
    *convolutions, kernels, biases = arrays
    return highway_in_numpy(features_in_numpy(word, convolutions), kernels, biases)


def words_of(*lengths, longest=None):
    """Random words of these lengths, padded."""
    longest = longest or max(lengths)
    words = generator().integers(1, CHARACTERS, size=[len(lengths), longest])
    for word, length in zip(words, lengths, strict=True):
        word[length:] = 0
    return words.astype(np.int32)


@pytest.mark.parametrize("highway_layers", [0, 1, 2])
def test_vectors_follow_the_equations(highway_layers):
    """Of words that are shorter than the widest window, as long, and longer."""
    layer = make(highway_layers)
    words = words_of(1, 2, 3, 4, 5, 8)
    arrays = arrays_of(layer)
    expected = [in_numpy(word[word > 0], arrays, highway_layers) for word in words]
    assert error(layer(words), np.stack(expected)) < 1e-12
    convolutions = arrays[:-2] if highway_layers else arrays
    features = [features_in_numpy(word[word > 0], convolutions) for word in words]
    assert error(layer.features(words), np.stack(features)) < 1e-12


def test_padding_changes_nothing():
    layer = make()
    words = words_of(1, 3, 6)
    expected = layer(words)
    assert error(layer(np.pad(words, [(0, 0), (0, 7)])), expected) < 1e-12
    for word, vector in zip(words, expected, strict=True):
        assert error(layer(word[None, word > 0])[0], vector) < 1e-12
    # The row of padding in the table is not used, whatever a training makes of it.
    layer.embeddings.assign(tf.concat([layer.embeddings[:1] + 9, layer.embeddings[1:]], axis=0))
    assert error(layer(words), expected) == 0


def test_a_row_of_padding_has_no_features():
    layer = make()
    words = np.concatenate([words_of(4), np.zeros([1, 4], np.int32)])
    assert np.all(layer.features(words)[1] == 0) and np.any(layer.features(words)[0] != 0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(words[1:]))
    assert all(
        np.isfinite(tf.convert_to_tensor(one)).all()
        for one in tape.gradient(loss, layer.trainable_variables)
    )


def test_batches_are_their_rows_in_any_shape():
    layer = make()
    words = words_of(*generator().integers(1, 7, size=12), longest=7)
    expected = np.stack([layer(word[None])[0] for word in words])
    assert error(layer(words.reshape(3, 4, 7)), expected.reshape(3, 4, UNITS)) < 1e-12
    assert layer(words.reshape(3, 4, 7)).shape == layer.compute_output_shape((3, 4, 7))
    assert layer(words[0]).shape == [UNITS]


@pytest.mark.parametrize("highway_layers", [0, 2])
def test_gradients_are_central_differences(highway_layers):
    layer = make(highway_layers, widths=(1, 3))
    words = words_of(1, 2, 5)
    arrays = arrays_of(layer)
    units = layer.units
    weights = generator().normal(size=(len(words), units))

    def loss():
        found = []
        for word in words:
            *convolutions, kernels, biases = arrays if highway_layers else (*arrays, [], [])
            features = features_in_numpy(word[word > 0], convolutions, (1, 3))
            found.append(highway_in_numpy(features, kernels, biases))
        return float((weights * np.stack(found)).sum())

    with tf.GradientTape() as tape:
        total = tf.reduce_sum(weights * layer(words))
    highway = [] if layer.highway is None else [layer.highway.kernel, layer.highway.bias]
    sources = [layer.embeddings, *layer.kernels, layer.bias, *highway]
    gradients = tape.gradient(total, sources)
    for gradient, expected in zip(gradients, central_differences(loss, arrays), strict=True):
        assert error(tf.convert_to_tensor(gradient), expected) < 1e-7


def test_maps_are_as_many_as_in_the_paper():
    layer = CharacterWordEmbedding(50)
    assert layer.maps == (25, 50, 75, 100, 125, 150) and layer.units == 525
    large = CharacterWordEmbedding(50, widths=range(1, 8), maps_per_width=50)
    assert large.maps == (50, 100, 150, 200, 200, 200, 200)


def test_weights_begin_within_a_twentieth_and_gates_closed():
    layer = CharacterWordEmbedding(50, highway_layers=2)
    layer.build()
    kernels = [layer.embeddings, *layer.kernels, layer.highway.kernel]
    for kernel in map(np.array, kernels):
        assert 0.045 < np.abs(kernel).max() <= 0.05
    assert len({np.array(kernel).ravel()[:9].tobytes() for kernel in kernels}) == len(kernels)
    gates, others = np.split(np.array(layer.highway.bias), 2, axis=1)
    assert np.all(gates == -2) and np.all(others == 0) and np.all(np.array(layer.bias) == 0)


def test_a_saved_model_computes_the_same(tmp_path):
    options = {**OPTIONS, "highway_layers": 2, "transform_bias": -1.0}
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, CharacterWordEmbedding(CHARACTERS, **options)(inputs))
    words = words_of(2, 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(words), model(words))
    config = loaded.layers[-1].get_config()
    assert {name: config[name] for name in options} == options


def test_it_runs_within_xla_and_in_mixed_precision():
    layer, words = make(dtype="float32"), words_of(2, 6)
    compiled = tf.function(layer, jit_compile=True)
    assert error(compiled(tf.constant(words)), layer(words)) < 1e-5
    mixed = CharacterWordEmbedding(CHARACTERS, **OPTIONS, dtype="mixed_bfloat16")
    assert mixed(words).dtype == tf.bfloat16 and mixed.embeddings.dtype == "float32"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"vocabulary_size": 1}, "vocabulary_size is 1; it must be an integer of at least 2"),
        ({"widths": ()}, "widths is empty; give a width for each convolution"),
        ({"widths": (1, 0)}, "widths is 0"),
        ({"character_width": 0}, "character_width is 0"),
        ({"maps_per_width": 0}, "maps_per_width is 0"),
        ({"max_maps": 0}, "max_maps is 0"),
        ({"highway_layers": -1}, "highway_layers is -1"),
    ],
)
def test_invalid_arguments_are_named(options, problem):
    with pytest.raises(InputError, match=problem):
        CharacterWordEmbedding(**{"vocabulary_size": 9, **options})
