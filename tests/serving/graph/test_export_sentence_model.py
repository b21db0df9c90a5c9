"""The signatures of an autoencoder of sentences, by TensorFlow alone, against the model."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from tensorflow_serving.apis import prediction_log_pb2

from model.errors import InputError
from model.language_model.config import ModelConfig
from model.sentences import decoding
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import PADDING
from model.text.word_vocabulary import END, WordVocabulary
from serving.graph.export import WARM_UP
from serving.graph.export_sentence_model import MAX_POINTS, export_sentence_model

VOCABULARY = WordVocabulary(("the", "a", "cat", "dog", "sleeps", "sees", "naïve"))
LATENT, LONGEST = 3, 6
TEXTS = ["the  cat sleeps", "a dog sees the naïve bird", "the"]


def make(decoder, encoder="stacked"):
    encoder, decoder = (
        one and ModelConfig(architecture=one, layers=2, units=5) for one in (encoder, decoder)
    )
    model = SentenceModel(SentenceModelConfig(decoder, encoder, LATENT), VOCABULARY.size)
    model.set_weights([generator().normal(size=one.shape) for one in model.weights])
    # A model that is trained writes no word of those that stand for none: padding and beginnings.
    bias = model.decoder.output_bias
    bias.assign(tf.where(tf.range(VOCABULARY.size) < END, -100.0, tf.convert_to_tensor(bias)))
    return model


@pytest.fixture(scope="module", params=["stacked", pytest.param("grid", marks=pytest.mark.slow)])
def model(request):
    return make(request.param, request.param)


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("sentences") / "1"
    export_sentence_model(model, VOCABULARY, str(path), LONGEST)
    return path


@pytest.fixture(scope="module")
def signatures(directory):
    loaded = tf.saved_model.load(str(directory))
    yield loaded.signatures
    del loaded


def ids_of(text, ended=True):
    return tf.constant([[*VOCABULARY.ids(text), *[END] * ended]], tf.int32)


def text_of(ids):
    return VOCABULARY.text(int(one) for one in np.ravel(ids) if one != PADDING)


def shown(texts):
    return [text.decode() for text in np.ravel(texts.numpy())]


def write(model, latent, length, temperature=0.0, seed=0):
    return decoding.decode(
        model,
        tf.constant(latent[None], tf.float32),
        END,
        tf.constant([length]),
        tf.constant([temperature]),
        tf.constant([seed], tf.int64),
    )


def test_posteriors_are_those_of_the_model_for_sentences_of_any_length(model, signatures):
    found = signatures["encode"](texts=tf.constant(TEXTS))
    for row, text in enumerate(TEXTS):
        mean, log_variance = model.encode(ids_of(text))
        np.testing.assert_allclose(found["means"][row], mean[0], atol=1e-5)
        np.testing.assert_allclose(found["log_variances"][row], log_variance[0], atol=1e-5)


def test_sentences_are_those_that_the_model_writes(model, signatures):
    latent = generator().normal(size=(3, LATENT)).astype(np.float32)
    lengths, temperatures, seeds = [4, 1, LONGEST], [0.0, 1.0, 0.7], [0, 5, 6]
    found = signatures["decode"](
        latent=tf.constant(latent),
        length=tf.constant(lengths),
        temperature=tf.constant(temperatures),
        seed=tf.constant(seeds, tf.int64),
    )
    rows = zip(latent, lengths, temperatures, seeds, strict=True)
    assert shown(found["texts"]) == [text_of(write(model, *row)) for row in rows]
    one_for_all = signatures["decode"](
        latent=tf.constant(latent),
        length=tf.constant([LONGEST]),
        temperature=tf.constant([1.0]),
        seed=tf.constant([9], tf.int64),
    )
    expected = [text_of(write(model, vector, LONGEST, 1.0, 9)) for vector in latent]
    assert shown(one_for_all["texts"]) == expected


def test_a_line_runs_through_the_vectors_between(model, signatures):
    found = signatures["interpolate"](
        first=tf.constant(TEXTS[:2]), second=tf.constant(TEXTS[1:]), count=tf.constant([4])
    )
    assert found["texts"].shape == (2, 4)
    expected = []
    for first, second in itertools.pairwise(TEXTS):
        line = decoding.interpolate(model, ids_of(first), ids_of(second), 4)[0]
        expected += [text_of(write(model, latent.numpy(), LONGEST)) for latent in line]
    assert shown(found["texts"]) == expected


def test_ends_are_those_that_the_model_imputes(model, signatures):
    found = signatures["impute"](texts=tf.constant(TEXTS), length=tf.constant([2, 5, LONGEST]))
    expected = [
        text_of(decoding.impute(model, ids_of(text, ended=False), END, tf.constant([length])))
        for text, length in zip(TEXTS, (2, 5, LONGEST), strict=True)
    ]
    assert shown(found["ends"]) == expected


LATENTS = {"latent": [[0.0] * LATENT], "length": [2], "temperature": [0.0], "seed": [0]}
LINE = {"first": ["the cat"], "second": ["a dog"], "count": [3]}


@pytest.mark.parametrize(
    "name,inputs,said",
    [
        ("encode", {"texts": ["the", " \t"]}, r"texts\[1\] has no word; leave it out"),
        ("encode", {"texts": ["cat " * 7]}, r"texts\[0\] has 7 words, of which 6 are allowed"),
        ("encode", {"texts": ["cat"] * 65}, "texts has 65 rows; give at most 64"),
        ("decode", {**LATENTS, "latent": [[0.0] * 2]}, "latent has 2 columns; give the 3 of enc"),
        ("decode", {**LATENTS, "latent": [[0.0, np.nan, 0.0]]}, "a number that is not finite"),
        ("decode", {**LATENTS, "latent": [[0.0] * 3] * 65}, "latent has 65 rows; give at most 64"),
        ("decode", {**LATENTS, "length": [0]}, "length 0 must be from 1 to 6"),
        ("decode", {**LATENTS, "length": [7]}, "length 7 must be from 1 to 6"),
        ("decode", {**LATENTS, "length": [2, 2]}, "length has 2 rows for 1 vectors"),
        ("decode", {**LATENTS, "temperature": [-1.0]}, "temperature -1 must be finite"),
        ("decode", {**LATENTS, "temperature": [np.inf]}, "temperature inf must be finite"),
        ("interpolate", {**LINE, "count": [1]}, r"count is \[1\]; it must be one number from 2 to"),
        ("interpolate", {**LINE, "count": [MAX_POINTS + 1]}, r"count is \[33\]; .* from 2 to 32"),
        ("interpolate", {**LINE, "count": [2, 3]}, r"count is \[2, 3\]; it must be one number"),
        ("interpolate", {**LINE, "count": []}, r"count is \[\]; it must be one number"),
        ("interpolate", {**LINE, "second": ["dog "] * 2}, "first and second differ in the number"),
        ("interpolate", {**LINE, "second": ["dog " * 7]}, r"second\[0\] has 7 words, of which 6"),
        (
            "interpolate",
            {"first": ["cat"] * 3, "second": ["dog"] * 3, "count": [32]},
            "3 lines have 96 sentences, of which 64 are allowed; give fewer pairs",
        ),
        ("impute", {"texts": ["cat " * 7], "length": [2]}, r"texts\[0\] has 7 words, of which 6"),
        ("impute", {"texts": ["cat"], "length": [0]}, "length 0 must be from 1 to 6"),
        ("impute", {"texts": ["a", "a"], "length": [1] * 3}, "length has 3 rows for 2 texts"),
    ],
)
def test_bad_requests_are_refused_in_one_line(signatures, name, inputs, said):
    specs = signatures[name].structured_input_signature[1]
    given = {key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        signatures[name](**given)


def test_warm_up_requests_and_the_vocabulary_lie_beside_it(directory, signatures):
    records = tf.data.TFRecordDataset(str(directory / WARM_UP))
    logs = [prediction_log_pb2.PredictionLog.FromString(one.numpy()) for one in records]
    names = {log.predict_log.request.model_spec.signature_name for log in logs}
    served = {"encode", "decode", "interpolate", "impute", "serving_default"}
    assert names == set(signatures) == served
    for log in logs:
        request = log.predict_log.request
        given = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        assert signatures[request.model_spec.signature_name](**given)
    words = (directory / "assets" / "words.txt").read_text(encoding="utf-8")
    assert WordVocabulary.from_text(words) == VOCABULARY


def test_what_does_not_fit_the_model_is_refused(tmp_path):
    path = str(tmp_path / "1")
    with pytest.raises(InputError, match="a language model without an encoder"):
        export_sentence_model(make("stacked", None), VOCABULARY, path)
    with pytest.raises(InputError, match="the model has 11 ids of words, and the vocabulary 6"):
        export_sentence_model(make("stacked"), WordVocabulary(("a", "b")), path)
    with pytest.raises(InputError, match="max_words is 0"):
        export_sentence_model(make("stacked"), VOCABULARY, path, max_words=0)
    assert not (tmp_path / "1").exists()
