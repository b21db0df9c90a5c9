"""Language models over words: against NumPy, by windows, by rows, and saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error
from numpy_cells import lstm
from seeds import generator

from model.core import State
from model.errors import InputError
from model.language_model.config import CORES, ModelConfig
from model.words.config import WordModelConfig
from model.words.word_model import WordModel

WORDS, CHARACTERS, LONGEST = 11, 8, 5
INPUTS = ("words", "characters")


def make(inputs="characters", architecture="stacked", dtype="float64", layers=2, **core):
    config = WordModelConfig(
        ModelConfig(architecture=architecture, layers=layers, units=4, **core),
        inputs=inputs,
        character_width=3,
        widths=(1, 2),
        maps_per_width=2,
    )
    model = WordModel(config, WORDS, CHARACTERS, dtype=dtype)
    model.set_weights([generator().normal(size=one.shape) / 2 for one in model.weights])
    return model


def texts(inputs, batch=3, steps=6):
    """Random texts as a model of these inputs takes them; some of their words are the same."""
    words = generator().integers(0, WORDS, size=[batch, steps]).astype(np.int32)
    if inputs == "words":
        return words
    spelled = generator().integers(1, CHARACTERS, size=[WORDS, LONGEST]).astype(np.int32)
    spelled[::2, 3:] = 0
    return spelled[words]


@pytest.mark.parametrize("inputs", INPUTS)
def test_logits_are_those_of_the_equations(inputs):
    """Of one layer of the stacked LSTM, which reads the vectors of the words."""
    model = make(inputs, layers=1)
    given = texts(inputs)
    if inputs == "words":
        embedded = np.array(model.embedding.embeddings)[given]
    else:
        embedded = np.array(model.embedding(given)) @ np.array(model.projection.kernel)
    kernel, bias = np.array(model.core.kernel[0]), np.array(model.core.bias[0])
    hidden = memory = np.zeros([3, 4])
    expected = []
    for step in range(6):
        z = np.concatenate([embedded[:, step], hidden], axis=1) @ kernel + bias
        hidden, memory = lstm("lstm", z, memory, [])
        expected.append(hidden)
    output = np.stack(expected, axis=1) @ np.array(model.output_layer.kernel)
    logits, state = model(given, model.initial_state(3))
    assert error(logits, output + np.array(model.output_layer.bias)) < 1e-12
    assert error(state.hidden[0], hidden) < 1e-12 and error(state.memory[0], memory) < 1e-12


@pytest.mark.parametrize("architecture", CORES)
@pytest.mark.parametrize("inputs", INPUTS)
def test_a_state_that_is_carried_over_continues_the_text(inputs, architecture):
    model = make(inputs, architecture)
    given = texts(inputs)
    whole, last = model(given, model.initial_state(3))
    state, parts = model.initial_state(3), []
    for part in (given[:, :1], given[:, 1:4], given[:, 4:]):
        logits, state = model(part, state)
        parts.append(logits)
    assert error(tf.concat(parts, axis=1), whole) < 1e-12
    assert isinstance(state, State)
    for found, expected in zip(state, last, strict=True):
        assert error(found, expected) < 1e-12


@pytest.mark.parametrize("architecture", ["stacked", "grid"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_rows_of_a_batch_do_not_mix(inputs, architecture):
    """And words that several rows share, which are computed once, are the same in each."""
    model = make(inputs, architecture)
    given = texts(inputs)
    together, _ = model(given, model.initial_state(3))
    for row, logits in zip(given, together, strict=True):
        alone, _ = model(row[None], model.initial_state(1))
        assert error(alone[0], logits) < 1e-12


@pytest.mark.parametrize("architecture", ["stacked", "grid"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_gradients_are_central_differences(inputs, architecture):
    """Along a random direction in the space of all weights."""
    model = make(inputs, architecture)
    given, targets = texts(inputs), texts("words")

    def loss():
        logits, _ = model(given, model.initial_state(3), training=True)
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))

    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        value = loss()
    gradients = [tf.convert_to_tensor(one) for one in tape.gradient(value, variables)]
    for _ in range(3):
        steps = [generator().normal(size=one.shape) for one in variables]
        slope = sum(np.sum(a * b) for a, b in zip(gradients, steps, strict=True))
        weights = [np.array(one) for one in variables]
        sides = []
        for sign in (1, -1):
            for one, weight, step in zip(variables, weights, steps, strict=True):
                one.assign(weight + sign * 1e-6 * step)
            sides.append(float(loss()))
        for one, weight in zip(variables, weights, strict=True):
            one.assign(weight)
        assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(float(slope), rel=1e-5, abs=1e-6)


def test_dropout_follows_the_seed():
    model = make(dropout=0.5)
    given = texts("characters")

    def logits(*seed):
        seed = tf.constant(seed) if seed else None
        return model(given, model.initial_state(3), training=True, seed=seed)[0]

    assert error(logits(1, 2), logits(1, 2)) == 0
    assert error(logits(1, 2), logits(1, 3)) > 0.1
    assert error(logits(), model(given, model.initial_state(3))[0]) < 1e-12


@pytest.mark.parametrize("inputs", INPUTS)
def test_weights_begin_within_the_scale(inputs):
    config = WordModelConfig(
        ModelConfig(architecture="grid", units=20, init_scale=0.05, forget_bias=0.0), inputs=inputs
    )
    for one in WordModel(config, 100, 30).weights:
        values = np.array(one)
        if values.ndim > 1 and "bias" not in one.name:
            assert 0.04 < np.abs(values).max() <= 0.05, one.path


@pytest.mark.parametrize("inputs", INPUTS)
def test_a_saved_model_computes_the_same(tmp_path, inputs):
    model, given = make(inputs, "grid", dtype="float32"), texts(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    expected, _ = model(given, model.initial_state(3))
    assert error(loaded(given, loaded.initial_state(3))[0], expected) < 1e-6


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda core: WordModelConfig(core, inputs="letters"), "inputs is 'letters'; it must be"),
        (lambda core: WordModelConfig(core, widths=()), "widths is empty"),
        (lambda core: WordModelConfig(core, highway_layers=-1), "highway_layers is -1"),
        (lambda core: WordModel(WordModelConfig(core), 1, 30), "vocabulary_size is 1"),
        (lambda core: WordModel(WordModelConfig(core), 9), "character_count is 0"),
    ],
)
def test_invalid_arguments_are_named(make, problem):
    with pytest.raises(InputError, match=problem):
        make(ModelConfig(units=4))
