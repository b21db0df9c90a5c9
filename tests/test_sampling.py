"""Sampling and scoring against plain Python."""

import numpy as np
import pytest
import tensorflow as tf

from model.alphabet import PADDING, Alphabet
from model.character_model import CharacterModel
from model.config import ModelConfig
from model.errors import InputError
from model.sampling import Choice, choose, generate, score

TEXTS = ["", "abba", "a"]


@pytest.fixture(params=["grid", "stacked"], scope="module")
def model(request):
    return CharacterModel(ModelConfig(kind=request.param, layers=2, units=8), 3)


@pytest.fixture
def alphabet():
    return Alphabet.of("bytes", b"abc")


def choice(batch, temperature=1.0, top_k=0, top_p=1.0, seed=0):
    return Choice(
        tf.fill([batch], float(temperature)),
        tf.fill([batch], top_k),
        tf.fill([batch], float(top_p)),
        seed + tf.range(batch, dtype=tf.int64),
    )


def generate_text(model, alphabet, prompts, lengths, **arguments):
    generated = generate(
        model,
        alphabet.assert_known(tf.constant(prompts)),
        tf.constant(lengths),
        choice(len(prompts), **arguments),
    )
    return alphabet.decode(generated.ids).numpy(), generated


def test_a_row_does_not_depend_on_the_rest_of_the_batch(model, alphabet):
    together, generated = generate_text(model, alphabet, TEXTS, [5, 9, 0], seed=3)
    assert [len(text) for text in together] == [5, 9, 0]
    alone, _ = generate_text(model, alphabet, TEXTS[1:2], [9], seed=4)
    assert alone[0] == together[1]
    np.testing.assert_array_equal(generated.log_probabilities[0, 5:], 0)


def test_log_probabilities_of_generated_text_are_its_score(model, alphabet):
    texts, generated = generate_text(model, alphabet, [""], [12])
    bits, scores = score(model, alphabet.encode(tf.constant(texts)))
    np.testing.assert_allclose(generated.log_probabilities, scores, rtol=1e-5)
    np.testing.assert_allclose(bits[0], -np.mean(scores) / np.log(2), rtol=1e-5)


def test_temperature_zero_takes_the_likeliest(model, alphabet):
    first, _ = generate_text(model, alphabet, ["ab"], [6], temperature=0, seed=1)
    second, _ = generate_text(model, alphabet, ["ab"], [6], temperature=0, seed=2)
    assert first == second


def test_draws_follow_the_distribution():
    probabilities = np.array([0.5, 0.1, 0.4])
    draws = 20_000
    logits = tf.tile(tf.constant(np.log(probabilities)[None], tf.float32), [draws, 1])
    uniform = tf.constant(np.random.default_rng().random(draws), tf.float32)

    def frequencies(**arguments):
        ids = choose(logits, choice(draws, **arguments), uniform)
        return np.bincount(ids, minlength=3) / draws

    np.testing.assert_allclose(frequencies(), probabilities, atol=0.02)
    np.testing.assert_allclose(frequencies(top_k=2), [5 / 9, 0, 4 / 9], atol=0.02)
    np.testing.assert_allclose(frequencies(top_p=0.45), [1, 0, 0])
    np.testing.assert_allclose(frequencies(top_p=0.6), [5 / 9, 0, 4 / 9], atol=0.02)
    squared = probabilities**2 / np.sum(probabilities**2)
    np.testing.assert_allclose(frequencies(temperature=0.5), squared, atol=0.02)


@pytest.mark.parametrize("kind,text", [("bytes", b"\x00 \\n\n\t\xff'"), ("unicode", "aé\n'𝄞\\")])
def test_vocabulary_file_round_trip(kind, text):
    symbols = text if kind == "bytes" else map(ord, text)
    alphabet = Alphabet.of(kind, symbols)
    assert Alphabet.from_text(alphabet.to_text(), "vocabulary.txt") == alphabet
    encoded = alphabet.encode(tf.constant([text, text[:1]]))
    assert encoded[1].numpy().tolist()[1:] == [PADDING] * (len(text) - 1)
    expected = text if kind == "bytes" else text.encode()
    assert alphabet.decode(encoded).numpy()[0] == expected
    np.testing.assert_array_equal(alphabet.encode_one(tf.constant(text)), encoded[0])


def test_a_file_that_is_no_vocabulary_is_refused():
    with pytest.raises(InputError, match=r"vocabulary\.txt"):
        Alphabet.from_text("hello\n", "vocabulary.txt")


@pytest.mark.parametrize(
    "kind,text,name", [("bytes", "ab~", "0x7E"), ("unicode", "abé", "code point 233")]
)
def test_an_unknown_character_is_named(kind, text, name):
    encode = tf.function(Alphabet.of(kind, b"ab").assert_known)
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        encode(tf.constant([text]))


def test_a_text_that_begins_has_nothing_before_it():
    """An embedding that training hardly ever moves must not push the net where it never was."""
    model = CharacterModel(ModelConfig(layers=1, units=4), 5)
    np.testing.assert_array_equal(model.embedding[-1], 0)
    assert np.abs(model.embedding[:-1]).min() > 0
