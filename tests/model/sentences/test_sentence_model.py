"""The autoencoder of sentences: against NumPy, sentence by sentence, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_sentences import (
    LATENT,
    SIZE,
    NumpySentences,
    make_model,
    normal,
    random_sentences,
    sentence,
)
from seeds import generator

from model.errors import InputError
from model.language_model.config import CORES, ModelConfig
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import Posterior, SentenceModel


def test_posteriors_and_predictions_are_those_of_numpy():
    model, ids, latent = make_model(), random_sentences(), normal(3, LATENT)
    reference = NumpySentences(model)
    posterior = model.encode(tf.constant(ids))
    seen = generator().random(ids.shape) < 0.5
    logits = model(tf.constant(ids), tf.constant(latent), seen=tf.constant(seen))
    logs = tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()
    for row, given in enumerate(ids):
        for found, expected in zip(posterior, reference.posterior(sentence(given)), strict=True):
            np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)
        found = sum(logs[at, row, token] for at, token in enumerate(sentence(given)))
        expected = reference.log_likelihood(sentence(given), latent[row].astype(float), seen[row])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_samples_have_the_moments_of_the_posterior():
    posterior = Posterior(tf.constant([[1.0, -2.0]]), tf.math.log([[4.0, 0.25]]))
    drawn = posterior.sample(tf.constant(normal(20_000, 2)))
    np.testing.assert_allclose(np.mean(drawn, axis=0), [1, -2], atol=0.1)
    np.testing.assert_allclose(np.std(drawn, axis=0), [2, 0.5], rtol=0.05)


@pytest.mark.parametrize("decoder", CORES)
@pytest.mark.parametrize("encoder", ["stacked", "grid"])
def test_sentences_of_a_batch_do_not_change_each_other(encoder, decoder):
    model, ids, latent = make_model(encoder, decoder, layers=2), random_sentences(), normal(3, 3)
    posterior, logits = model.encode(tf.constant(ids)), model(tf.constant(ids), latent)
    for row, given in enumerate(ids):
        alone = tf.constant(sentence(given)[None])
        for found, expected in zip(posterior, model.encode(alone), strict=True):
            np.testing.assert_allclose(found[row], expected[0], atol=1e-5)
        expected = model(alone, latent[row : row + 1])[:, 0]
        np.testing.assert_allclose(logits[: len(expected), row], expected, atol=1e-5)


@pytest.mark.parametrize("cells", [("lstm",), ("gru",), ("lstm_full_gate_recurrence",)])
def test_a_decoder_begins_from_the_vector_whatever_its_cell_remembers(cells):
    decoder = ModelConfig(architecture="stacked", layers=2, units=4, cells=cells)
    model = SentenceModel(SentenceModelConfig(decoder, decoder, LATENT), SIZE)
    latent = normal(2, LATENT)
    state = model.initial_state(2, latent)
    kernel = np.array(model.decoder.contexts[0].hidden_kernel)
    expected = np.tanh(latent @ kernel).reshape(2, 2, 4).transpose(1, 0, 2)
    np.testing.assert_allclose(state.hidden, expected, atol=1e-6)
    copies = model.decoder.memory_width // 4
    np.testing.assert_allclose(state.memory, np.tile(expected, copies), atol=1e-6)


def test_gradients_reach_all_weights_through_the_vector():
    model, ids, noise = make_model("grid", "grid", layers=2), random_sentences(), normal(3, LATENT)
    with tf.GradientTape() as tape:
        latent = model.encode(tf.constant(ids), training=True).sample(tf.constant(noise))
        loss = tf.reduce_sum(model(tf.constant(ids), latent, training=True) ** 2)
    names = [one.path for one in model.trainable_variables]
    for name, gradient in zip(names, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None and np.any(tf.convert_to_tensor(gradient) != 0), name


def test_a_language_model_has_no_vector():
    model, ids = make_model(encoder=None), random_sentences()
    assert model(tf.constant(ids)).shape == (7, 3, SIZE)
    assert not model.decoder.contexts
    with pytest.raises(InputError, match="the model has no encoder; give"):
        model.encode(ids)


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda core: SentenceModelConfig(core, core, latent=0), "latent is 0"),
        (lambda core: SentenceModelConfig(core, core, latent=5000), "latent is 5000; .* most 4096"),
        (
            lambda _: SentenceModelConfig(ModelConfig(contexts=("latent:4",))),
            "name latent, which it has by itself; leave it out",
        ),
        (
            lambda core: SentenceModelConfig(core, ModelConfig(contexts=("word",))),
            "contexts of the encoder is word, which only the decoder has; leave it out",
        ),
        (lambda core: SentenceModel(SentenceModelConfig(core), 1), "vocabulary_size is 1"),
    ],
)
def test_what_cannot_be_a_model_is_refused_in_a_line(make, said):
    with pytest.raises(InputError, match=said) as caught:
        make(ModelConfig(layers=1, units=4))
    assert "\n" not in str(caught.value)
