"""The signatures of a language model over words, by TensorFlow alone, against the model."""

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from tensorflow_serving.apis import prediction_log_pb2

from model.errors import InputError
from model.language_model.config import ModelConfig
from model.text.word_vocabulary import UNKNOWN, WordVocabulary
from model.words.config import WordModelConfig
from model.words.spelling import SENTENCE_END, Spelling
from model.words.word_model import WordModel
from serving.graph.export import WARM_UP
from serving.graph.export_word_model import export_word_model

VOCABULARY = WordVocabulary(("the", "cat", "cats", "sleep", "sleeps", "naïve"))
SPELLING = Spelling.of(VOCABULARY.words, max_length=6)
LONGEST = 4


def make(architecture, inputs="characters"):
    core = ModelConfig(architecture=architecture, layers=2, units=5)
    config = WordModelConfig(core, inputs=inputs, widths=(1, 2), maps_per_width=20)
    model = WordModel(config, VOCABULARY.size, SPELLING.size)
    model.set_weights([generator().normal(size=one.shape) for one in model.weights])
    return model


@pytest.fixture(scope="module", params=["stacked", "grid"])
def model(request):
    return make(request.param)


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "1"
    export_word_model(model, VOCABULARY, SPELLING, str(path), LONGEST)
    return path


@pytest.fixture(scope="module")
def signatures(directory):
    loaded = tf.saved_model.load(str(directory))
    yield loaded.signatures
    del loaded


def expected_scores(model, words):
    before = SPELLING.table([SENTENCE_END, *words[:-1]])[None]
    logits = np.array(model(before, model.initial_state(1))[0][0], float)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logs[range(len(words)), VOCABULARY.ids(" ".join(words))]


def test_scores_are_those_of_the_model_for_texts_of_any_length(model, signatures):
    """With unknown words, one that is cut, unknown characters and odd spaces."""
    texts = ["the  cats", "the\u3000sleepiest CAT sleeps", "naïve"]
    found = signatures["score_words"](texts=tf.constant(texts))
    for row, text in enumerate(texts):
        words = text.split()
        shown = [word.decode() for word in found["words"][row].numpy()]
        assert shown == words + [""] * (LONGEST - len(words))
        scores = found["log_probabilities"][row].numpy()
        np.testing.assert_allclose(scores[: len(words)], expected_scores(model, words), rtol=1e-4)
        assert not scores[len(words) :].any()
        is_known = [one != UNKNOWN for one in VOCABULARY.ids(text)]
        assert found["is_known"][row].numpy().tolist() == is_known + [False] * (4 - len(words))


def test_neighbours_are_those_of_the_vectors_also_of_unknown_words(model, signatures):
    vectors = np.array(model.embedding(SPELLING.table(VOCABULARY.words)), float)
    words = ["cats", "catz", "Zzz", "sleeper"]
    queries = np.array(model.embedding(SPELLING.table(words)), float)
    found = signatures["neighbours"](words=tf.constant(words), count=tf.constant([3]))
    for row, query in enumerate(queries):
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        order = np.argsort(-cosines)[:3]
        names = [VOCABULARY.words[place].encode() for place in order]
        assert found["neighbours"][row].numpy().tolist() == names
        np.testing.assert_allclose(found["cosines"][row], cosines[order], rtol=1e-4)
    assert found["neighbours"][0, 0].numpy() == b"cats"


@pytest.mark.parametrize(
    "name,inputs,said",
    [
        ("score_words", {"texts": ["the", " \t"]}, r"texts\[1\] has no word; leave it out"),
        ("score_words", {"texts": ["cat " * 5]}, r"texts\[0\] has 5 words, of which 4 are allowed"),
        ("score_words", {"texts": ["cat"] * 65}, "texts has 65 rows; give at most 64"),
        ("neighbours", {"words": ["a"], "count": [0]}, r"count is \[0\]; .* from 1 to 6"),
        ("neighbours", {"words": ["a"], "count": [7]}, r"count is \[7\]; .* from 1 to 6"),
        ("neighbours", {"words": ["a"], "count": [1, 2]}, r"count is \[1, 2\]; it must be one"),
        ("neighbours", {"words": ["a"] * 65, "count": [1]}, "words has 65 rows"),
    ],
)
def test_bad_requests_are_refused_in_one_line(signatures, name, inputs, said):
    given = {key: tf.constant(value) for key, value in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        signatures[name](**given)


def test_warm_up_requests_and_vocabularies_lie_beside_it(directory, signatures):
    records = tf.data.TFRecordDataset(str(directory / WARM_UP))
    logs = [prediction_log_pb2.PredictionLog.FromString(one.numpy()) for one in records]
    names = {log.predict_log.request.model_spec.signature_name for log in logs}
    assert names == set(signatures) == {"score_words", "neighbours", "serving_default"}
    words = (directory / "assets" / "words.txt").read_text(encoding="utf-8")
    assert WordVocabulary.from_text(words) == VOCABULARY
    lines = (directory / "assets" / "characters.txt").read_text().splitlines()
    assert "".join(chr(int(line[2:], 16)) for line in lines) == SPELLING.characters


def test_what_does_not_fit_the_model_is_refused(tmp_path):
    path = str(tmp_path / "1")
    with pytest.raises(InputError, match="the model has a table of words and reads no characters"):
        export_word_model(make("stacked", "words"), VOCABULARY, SPELLING, path)
    other = WordVocabulary(("a", "b"))
    with pytest.raises(InputError, match="10 ids of words and"):
        export_word_model(make("stacked"), other, SPELLING, path)
    with pytest.raises(InputError, match="max_words is 0"):
        export_word_model(make("stacked"), VOCABULARY, SPELLING, path, max_words=0)
    assert not (tmp_path / "1").exists()
