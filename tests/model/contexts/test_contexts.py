"""Character models with the contexts of the registry, against NumPy and against themselves."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from conftest import needs_integer_products
from numpy_contexts import losses, weights_of
from seeds import generator

from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState
from model.language_model.frozen import freeze
from model.language_model.inspection import inspect
from model.language_model.losses import character_losses
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING

VOCABULARY = TextVocabulary.of("bytes", b"abc \n")
ALL = ("output:6", "word:4", "ngrams:3")
CONTEXTS = [("output:6",), ("word:4",), ("ngrams:4",), ALL]


def random_ids(batch, steps):
    """Texts in which some characters, and so some contexts, are much more frequent than others."""
    shares = [0.35, 0.2, 0.1, 0.3, 0.05]
    return generator().choice(len(shares), (batch, steps), p=shares).astype(np.int32)


def make_model(contexts, architecture="stacked", layers=1, **options):
    config = ModelConfig(
        architecture=architecture, layers=layers, units=6, contexts=contexts, **options
    )
    model = CharacterModel(config, VOCABULARY.size)
    for weight in model.trainable_variables:  # biases that are zeros would not be seen
        weight.assign(generator().normal(size=weight.shape) * 0.5)
    model.adapt(VOCABULARY, [random_ids(4, 50)])
    return model


def equal_states(state, other):
    for one, two in zip(tf.nest.flatten(state), tf.nest.flatten(other), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("contexts", CONTEXTS, ids=str)
def test_losses_and_gradients_are_those_of_numpy(contexts):
    model, ids = make_model(contexts), random_ids(3, 23)
    with tf.GradientTape() as tape:
        logits, _ = model(ids, model.initial_state(3), training=True)
        characters = tf.reduce_sum(character_losses(logits, ids)[0])
        words = tf.add_n([tf.zeros([]), *model.losses])
        loss = characters + words
    gradients = tape.gradient(loss, model.trainable_variables)
    weights = weights_of(model)
    np.testing.assert_allclose(
        (characters, words), losses(weights, ids, VOCABULARY.size), rtol=2e-6, atol=1e-9
    )
    assert ("word:4" in contexts) == (float(words) > 0)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        array = weights[variable.path.partition("/")[2]]
        # Where gradients are, and two other places.
        places = np.argwhere(gradient != 0)
        chosen = [
            *generator().permutation(places)[:3],
            *(generator().integers(array.shape) for _ in "ab"),
        ]
        assert len(places), variable.path
        for place in map(tuple, chosen):
            value, step = array[place], 1e-5
            array[place] = value + step
            above = sum(losses(weights, ids, VOCABULARY.size))
            array[place] = value - step
            below = sum(losses(weights, ids, VOCABULARY.size))
            array[place] = value
            difference = (above - below) / (2 * step)
            np.testing.assert_allclose(gradient[place], difference, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["grid", "stacked", "rhn"])
def test_a_text_in_pieces_equals_the_whole(architecture):
    model, ids = make_model(ALL, architecture, layers=2), random_ids(3, 40)
    whole, after = model(ids, model.initial_state(3))
    state, pieces = model.initial_state(3), []
    for begin, end in ((0, 1), (1, 8), (8, 9), (9, 40)):
        logits, state = model(ids[:, begin:end], state)
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)
    equal_states(state, after)


@pytest.mark.parametrize(
    "precision", ["float32", "bfloat16", pytest.param("int8", marks=needs_integer_products)]
)
@pytest.mark.parametrize("contexts", CONTEXTS, ids=str)
def test_a_frozen_model_predicts_the_same_at_once_and_step_by_step(contexts, precision):
    model, ids = make_model(contexts, "grid", layers=2), random_ids(3, 20)
    expected, after = model(ids, model.initial_state(3))
    frozen = freeze(model, precision)
    tolerance = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.1}[precision]
    logits, state = tf.function(frozen)(tf.constant(ids), frozen.initial_state(3))
    np.testing.assert_allclose(logits, expected, atol=tolerance)
    step, at = tf.function(frozen.decode_step()), frozen.initial_state(3)
    for position in range(20):
        scores, output = step(at)
        np.testing.assert_allclose(scores, logits[position], atol=tolerance / 2)
        at = CharacterState.after(tf.constant(ids[:, position]), output)
    if precision == "float32":
        equal_states(state, after)
        equal_states(at, after)


def test_texts_of_different_lengths_do_not_change_each_other():
    model, ids = make_model(ALL, "grid"), random_ids(4, 30)
    for row, length in enumerate((30, 0, 7, 18)):
        ids[row, length:] = PADDING
    together = sampling.read(model, tf.constant(ids), sampling.initial_state(model, 4))
    for row, length in enumerate((30, 0, 7, 18)):
        alone = sampling.initial_state(model, 1)
        alone = sampling.read(model, tf.constant(ids[row : row + 1, :length]), alone)
        for one, two in zip(
            tf.nest.flatten(together.characters), tf.nest.flatten(alone.characters), strict=True
        ):
            axis = 1 if len(one.shape) == 3 else 0
            np.testing.assert_allclose(np.take(one, [row], axis), two, atol=1e-5)


@pytest.mark.parametrize("compiled_columns", [None, pytest.param(12, marks=pytest.mark.slow)])
def test_generation_in_pieces_equals_the_whole(compiled_columns):
    model = freeze(make_model(ALL, "grid"))
    prompts = tf.constant([[0, 3, 1, 2], [4, -1, -1, -1]])

    def generate(prompt, length, state=None):
        return sampling.generate(
            model,
            prompt,
            length=tf.fill([2], length),
            temperature=tf.fill([2], 0.9),
            top_k=tf.fill([2], 0),
            top_p=tf.fill([2], 1.0),
            seed=tf.constant([5, 6], tf.int64),
            state=state,
            compiled_columns=compiled_columns,
        )

    whole = generate(prompts, 12)
    first = generate(prompts, 5)
    second = generate(tf.zeros([2, 0], tf.int32), 7, first.state)
    ids = np.concatenate([first.ids[:, :5], second.ids[:, :7]], axis=1)
    np.testing.assert_array_equal(ids, whole.ids)
    scores = np.concatenate(
        [first.log_probabilities[:, :5], second.log_probabilities[:, :7]], axis=1
    )
    np.testing.assert_allclose(scores, whole.log_probabilities, atol=1e-5)
    _, scored = sampling.score(model, tf.concat([prompts[:1], whole.ids[:1]], axis=1))
    np.testing.assert_allclose(scored[:, 4:], whole.log_probabilities[:1], atol=1e-5)


def test_models_with_contexts_are_inspected_and_embedded():
    model, ids = make_model(ALL, "grid", layers=2), tf.constant(random_ids(2, 9))
    inspected = inspect(model, ids)
    _, state = model(ids[:, :-1], model.initial_state(2))
    _, after = model(ids[:, -1:], state)
    np.testing.assert_allclose(
        np.transpose(inspected.memories[:, -2], [1, 0, 2]), after.memory, atol=1e-5
    )
    assert sampling.embed(model, ids).shape == (2, 12)


def test_a_model_without_contexts_is_as_it_was():
    """The state has no further parts, and contexts draw their initial weights after all others."""
    config = ModelConfig(layers=1, units=6)
    tf.keras.utils.set_random_seed(3)
    plain = CharacterModel(config, 5)
    tf.keras.utils.set_random_seed(3)
    with_contexts = CharacterModel(dataclasses.replace(config, contexts=ALL), 5)
    for one, two in zip(plain.weights, with_contexts.weights, strict=False):
        np.testing.assert_array_equal(one, two)
    assert len(tf.nest.flatten(plain.initial_state(2))) == 3
    assert freeze(plain).packed.table and not freeze(with_contexts).packed.table


def test_output_kernels_are_those_of_the_most_frequent_contexts():
    model = CharacterModel(ModelConfig(layers=1, units=4, contexts=("output:4",)), 3)
    sample = np.array([[0, 1, 0, 1, 0, 1, 2, -1, 2, 3, 0, 1]], np.int32)
    model.adapt(VOCABULARY, [sample])
    # a and b are met four times, "ab" likewise, and "ba" twice as c is alone.
    pair = {"ab": 4 * (0 + 1) + 1, "ba": 4 * (1 + 1) + 0}
    assert model.contexts[0].keys.numpy().tolist() == [0, 1, pair["ab"], 2]


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_decreases_the_loss(jit_compile):
    model, ids = make_model(ALL, "grid"), tf.constant(random_ids(4, 30))
    optimizer = tf.keras.optimizers.Adam(0.02)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def gradients_of(ids):
        with tf.GradientTape() as tape:
            logits, _ = model(ids, model.initial_state(4), training=True)
            characters = tf.reduce_mean(character_losses(logits, ids)[0])
            words = tf.add_n(model.losses)
            total = characters + words / 120
        gradients = tape.gradient(total, [one.value for one in model.trainable_variables])
        return characters, words, list(map(tf.convert_to_tensor, gradients))

    first = None
    for _ in range(40):
        characters, words, gradients = gradients_of(ids)
        first = first or (float(characters), float(words))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    assert float(characters) < 0.8 * first[0] and float(words) < 0.8 * first[1]
