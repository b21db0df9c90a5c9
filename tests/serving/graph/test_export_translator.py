"""The signature `translate`, by TensorFlow alone and by TensorFlow Serving, against the search."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from tensorflow_serving.apis import prediction_log_pb2

from model.errors import InputError
from model.text.word_vocabulary import BEGIN, END, WordVocabulary
from model.translation.beam_search import beam_search
from model.translation.reencoder import Reencoder
from serving.graph.export import WARM_UP
from serving.graph.export_translator import export_translator

SOURCE = WordVocabulary(("猫", "は", "犬", "が"))
TARGET = WordVocabulary(("the", "cat", "a", "dog", "."))
LONGEST = 6


@pytest.fixture(scope="module")
def model():
    made = Reencoder(SOURCE.size, TARGET.size, 5)
    made.set_weights([generator().normal(size=one.shape) for one in made.weights])
    bias = made.output_layer.bias
    bias.assign(tf.tensor_scatter_nd_update(bias, [[END]], [-9.0]))  # no translation is empty
    return made


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("translator") / "1"
    export_translator(model, SOURCE, TARGET, str(path), 3, LONGEST, 0.5)
    return path


@pytest.fixture(scope="module")
def translate(directory):
    """The signature, by TensorFlow alone."""
    loaded = tf.saved_model.load(str(directory))
    yield loaded.signatures["translate"]
    del loaded


def test_texts_and_scores_are_those_of_the_search(model, translate):
    """Of sentences of different lengths at once, with an unknown word and odd spaces."""
    sentences = ["猫 は  犬", "犬\u3000が\t猫 鳥 猫", "は"]
    found = translate(sources=tf.constant(sentences))
    texts = [text.decode() for text in found["translations"].numpy()]
    for number, sentence in enumerate(sentences):
        ids = np.array([SOURCE.ids(sentence)], np.int32)
        alone = beam_search(model, ids, 3, LONGEST, 0.5)
        assert texts[number] == TARGET.text(alone.ids[0, 0].numpy())
        assert float(found["scores"][number]) == pytest.approx(float(alone.scores[0, 0]), abs=1e-4)
    assert all(texts)


def test_given_translations_have_the_probabilities_of_their_words(model, directory):
    """Of both sides of different lengths at once, with an unknown word."""
    sources, targets = ["猫 は  犬", "は"], ["the", "a dog mouse ."]
    loaded = tf.saved_model.load(str(directory))
    found = loaded.signatures["score_translations"](
        sources=tf.constant(sources), targets=tf.constant(targets)
    )
    assert found["words"].numpy().tolist() == [2, 5]
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        ids = [*TARGET.ids(target), END]
        logits = model([tf.constant([SOURCE.ids(source)]), tf.constant([[BEGIN, *ids[:-1]]])])
        log_p = tf.nn.log_softmax(logits)[0].numpy()
        expected = sum(log_p[place, one] for place, one in enumerate(ids))
        assert float(found["log_probabilities"][number]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow  # imports TensorFlow once more
def test_it_needs_nothing_of_this_project(directory):
    code = (
        "import sys, tensorflow as tf\n"
        f"translate = tf.saved_model.load({str(directory)!r}).signatures['serving_default']\n"
        "print(translate(sources=tf.constant(['猫 は']))['scores'].shape)\n"
        "assert not any(name.split('.')[0] in ('model', 'serving') for name in sys.modules)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=directory
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "(1,)"


@pytest.mark.slow
def test_tensorflow_serving_loads_it(model, directory):
    """In a Session, which initializes the tables of the words by itself."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
        signature = loaded.signature_def["translate"]
        assert signature.inputs["sources"].tensor_shape.dim[0].size == -1
        feed = {signature.inputs["sources"].name: ["犬 が 猫"]}
        found = session.run(signature.outputs["translations"].name, feed)
    alone = beam_search(model, np.array([SOURCE.ids("犬 が 猫")], np.int32), 3, LONGEST, 0.5)
    assert found[0].decode() == TARGET.text(alone.ids[0, 0].numpy())


def test_no_request_yields_no_translation(translate):
    assert translate(sources=tf.zeros([0], tf.string))["translations"].shape == [0]


@pytest.mark.parametrize(
    "sources,said",
    [
        (["猫", " \t"], r"sources\[1\] has no word; leave it out"),
        (["猫", "猫 " * 7], r"sources\[1\] has 7 words, of which 6 are allowed"),
        (["猫"] * 65, "sources has 65 rows; give at most 64"),
        ([["猫"]], r"sources has the shape \[1, 1\]; give one dimension"),
    ],
)
def test_bad_requests_are_refused_in_one_line(translate, sources, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        translate(sources=tf.constant(sources))


def test_warm_up_requests_and_vocabularies_lie_beside_it(directory):
    records = tf.data.TFRecordDataset(str(directory / WARM_UP))
    logs = [prediction_log_pb2.PredictionLog.FromString(one.numpy()) for one in records]
    names = [log.predict_log.request.model_spec.signature_name for log in logs]
    assert names == ["translate", "serving_default", "score_translations"]
    words = (directory / "assets" / "source_words.txt").read_text(encoding="utf-8")
    assert WordVocabulary.from_text(words) == SOURCE


def test_vocabularies_of_another_model_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="8 source and 9 target ids, and the vocabularies 9 and 8"):
        export_translator(model, TARGET, SOURCE, str(tmp_path / "1"))
    with pytest.raises(InputError, match="beam_width is 0"):
        export_translator(model, SOURCE, TARGET, str(tmp_path / "1"), beam_width=0)
    assert not (tmp_path / "1").exists()
