"""Contexts of sentences and documents, against NumPy and against themselves."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_contexts import weights_of
from numpy_documents import logits_of
from seeds import generator

from model.contexts.registry import check_vocabulary
from model.errors import InputError
from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState
from model.language_model.frozen import freeze
from model.language_model.losses import character_losses
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING, Vocabulary

VOCABULARY = TextVocabulary.of("bytes", b"\nabc")
END, UNITS = 0, 5
NAMES = {
    "sentence": 0,
    "document": 0,
    "sentence_input": 0,
    "sentence_output": 0,
    "sentence_net": 4,
    "sentence_attention": 3,
}
"""The contexts of sentences, with a size."""
CONTEXTS = [f"{name}:{size}" if size else name for name, size in NAMES.items()]
ALL = tuple(one for one in CONTEXTS if one not in ("sentence", "document"))


def random_ids(batch, steps):
    """Texts of short sentences, some of them empty."""
    return generator().choice(4, (batch, steps), p=[0.3, 0.3, 0.2, 0.2]).astype(np.int32)


def make_model(*contexts, architecture="stacked", layers=1, **options):
    config = ModelConfig(
        architecture=architecture, layers=layers, units=UNITS, contexts=contexts, **options
    )
    model = CharacterModel(config, VOCABULARY.size)
    for weight in model.trainable_variables:
        weight.assign(generator().normal(size=weight.shape) * 0.5)
    model.adapt(VOCABULARY, [random_ids(2, 9)])
    return model


def numpy_loss(weights, ids, context):
    name = context.partition(":")[0]
    loss = 0.0
    for text in ids:
        logits, _ = logits_of(weights, text, END, name, NAMES[name])
        loss += np.sum(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(text)), text])
    return loss


def equal_states(state, other):
    for one, two in zip(tf.nest.flatten(state), tf.nest.flatten(other), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("context", CONTEXTS)
def test_logits_and_gradients_are_those_of_numpy(context):
    model, ids = make_model(context), random_ids(3, 24)
    ids[0, 4:9] = [1, 2, END, END, 3]  # a document ends
    with tf.GradientTape() as tape:
        logits, _ = model(ids, model.initial_state(3), training=True)
        loss = tf.reduce_sum(character_losses(logits, ids)[0])
    gradients = tape.gradient(loss, model.trainable_variables)
    weights = weights_of(model)
    name = context.partition(":")[0]
    for row, text in enumerate(ids):
        expected, _ = logits_of(weights, text, END, name, NAMES[name])
        np.testing.assert_allclose(logits[:, row], expected, atol=1e-5)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        array = weights[variable.path.partition("/")[2]]
        places = np.argwhere(gradient != 0)
        assert len(places), variable.path
        for place in map(tuple, generator().permutation(places)[:2]):
            value, step, sides = array[place], 1e-5, []
            for sign in (1, -1):
                array[place] = value + sign * step
                sides.append(numpy_loss(weights, ids, context))
            array[place] = value
            difference = (sides[0] - sides[1]) / (2 * step)
            np.testing.assert_allclose(gradient[place], difference, atol=2e-4, rtol=1e-3)


def test_attention_weights_are_those_of_numpy():
    model, ids = make_model("sentence_attention:3"), random_ids(1, 40)
    _, expected = logits_of(weights_of(model), ids[0], END, "sentence_attention", 3)
    context, state = model.contexts[0], model.initial_state(1)
    for at in range(40):
        found = context.attend(context.weight_tensors(), state.previous, state.contexts[0]).weights
        padded = np.pad(expected[at], (3 - len(expected[at]), 0))
        np.testing.assert_allclose(found[0], padded, atol=1e-5)
        _, state = model(ids[:, at : at + 1], state)
    assert max(map(len, expected)) == 3 and min(map(len, expected)) == 0


@pytest.mark.parametrize(
    "architecture",
    ["stacked", *(pytest.param(one, marks=pytest.mark.slow) for one in ("grid", "rhn"))],
)
def test_a_text_in_pieces_and_in_batches_equals_the_whole(architecture):
    model = make_model("output:3", *ALL, architecture=architecture, layers=2)
    ids = random_ids(3, 30)
    whole, after = model(ids, model.initial_state(3))
    state, pieces = model.initial_state(3), []
    for begin, end in ((0, 1), (1, 8), (8, 9), (9, 30)):
        logits, state = model(ids[:, begin:end], state)
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)
    equal_states(state, after)
    alone, _ = model(ids[1:2], model.initial_state(1))
    np.testing.assert_allclose(alone[:, 0], whole[:, 1], atol=1e-5)


def test_texts_of_different_lengths_do_not_change_each_other():
    model, ids = make_model(*ALL), random_ids(3, 20)
    lengths = (20, 0, 7)
    for row, length in enumerate(lengths):
        ids[row, length:] = PADDING
    together = sampling.read(model, tf.constant(ids), sampling.initial_state(model, 3))
    for row, length in enumerate(lengths):
        alone = sampling.read(
            model, tf.constant(ids[row : row + 1, :length]), sampling.initial_state(model, 1)
        )
        for one, two in zip(
            tf.nest.flatten(together.characters), tf.nest.flatten(alone.characters), strict=True
        ):
            np.testing.assert_allclose(
                np.take(one, [row], 1 if len(one.shape) == 3 else 0), two, atol=1e-5
            )


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-5), pytest.param("bfloat16", 0.1, marks=pytest.mark.slow)],
)
def test_a_frozen_model_predicts_the_same_at_once_and_step_by_step(precision, tolerance):
    model, ids = make_model(*ALL), random_ids(2, 16)
    expected, after = model(ids, model.initial_state(2))
    frozen = freeze(model, precision)
    signature = [tf.TensorSpec([2, None], tf.int32)]
    read = tf.function(lambda ids: frozen(ids, frozen.initial_state(2)), signature)
    np.testing.assert_allclose(read(ids)[0], expected, atol=tolerance)
    state, step = frozen.initial_state(2), tf.function(frozen.decode_step())
    for at in range(16):
        scores, output = step(state)
        np.testing.assert_allclose(scores, expected[at], atol=tolerance)
        state = CharacterState.after(tf.constant(ids[:, at]), output)
    if precision == "float32":
        equal_states(state, after)


def test_generation_in_pieces_equals_the_whole():
    model = freeze(make_model(*ALL))

    def generate(prompt, length, state=None):
        return sampling.generate(
            model,
            prompt,
            length=tf.fill([2], length),
            temperature=tf.ones([2]),
            top_k=tf.zeros([2], tf.int32),
            top_p=tf.ones([2]),
            seed=tf.constant([5, 6], tf.int64),
            state=state,
        )

    prompts = tf.constant([[1, END, 1, 2], [3, -1, -1, -1]])
    whole, first = generate(prompts, 14), generate(prompts, 6)
    second = generate(tf.zeros([2, 0], tf.int32), 8, first.state)
    ids = np.concatenate([first.ids[:, :6], second.ids[:, :8]], axis=1)
    np.testing.assert_array_equal(ids, whole.ids)


def test_sentences_of_a_sentence_model_are_independent_and_others_are_not():
    text = np.array([[1, 2, END, 3, 1, 1, END, 2, END]], np.int32)
    swapped = np.array([[3, 1, 1, END, 1, 2, END, 2, END]], np.int32)
    for context in CONTEXTS:
        # At the beginning of a text another character stands before the first sentence.
        model = make_model(context)
        model.embedding.assign(tf.concat([model.embedding[:-1], model.embedding[END][None]], 0))
        one, two = (
            float(tf.reduce_sum(character_losses(model(ids, model.initial_state(1))[0], ids)[0]))
            for ids in (text, swapped)
        )
        assert (abs(one - two) < 1e-4) == (context == "sentence"), context


@pytest.mark.slow
def test_xla_compiles_the_gradient():
    model, ids = make_model(*ALL), tf.constant(random_ids(2, 9))

    def gradients():
        with tf.GradientTape() as tape:
            logits, _ = model(ids, model.initial_state(2), training=True)
            loss = tf.reduce_sum(character_losses(logits, ids)[0])
        found = tape.gradient(loss, [one.value for one in model.trainable_variables])
        return list(map(tf.convert_to_tensor, found))

    compiled = tf.function(gradients, autograph=False, jit_compile=True)()
    for one, two in zip(gradients(), compiled, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_dropout_draws_a_mask_for_each_step():
    model, ids = make_model("sentence_input", layers=2, dropout=0.5), random_ids(2, 9)
    state, seeds = model.initial_state(2), [tf.constant([one, 7]) for one in (1, 1, 2)]
    one, same, other = (model(ids, state, training=True, seed=seed)[0] for seed in seeds)
    np.testing.assert_array_equal(one, same)
    assert np.all(np.any(np.abs(one - other) > 1e-3, axis=(1, 2)))


def test_states_that_clients_made_up_do_no_harm():
    model = make_model(*ALL)
    state = model.initial_state(1)
    for number in (1e30, -1e30, 2.5):
        contexts = tuple(tf.fill(one.shape, number) for one in state.contexts)
        made_up = state._replace(contexts=contexts)
        model(np.array([[END, 1, END]], np.int32), made_up)


def test_a_text_without_the_end_of_sentences_is_refused():
    check_vocabulary(CONTEXTS, VOCABULARY)
    for context in CONTEXTS:
        with pytest.raises(InputError, match=r"no '\\n'.*line of its own, or leave out") as error:
            check_vocabulary([context], Vocabulary.of("unicode", map(ord, "ab ")))
        assert "\n" not in str(error.value)
