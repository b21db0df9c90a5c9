"""The export in TensorFlow Serving's own loading path, a Session, against the model itself."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import LETTERS, inputs, needs_integer_products
from tensorflow_serving.apis import prediction_log_pb2

from model.decoding.packed_kernels import has_integer_products
from model.errors import InputError
from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING
from serving.graph.batching import Batching, set_batching
from serving.graph.export import WARM_UP, export
from serving.server.servable import Servable
from serving.server.warm_up import warm_up


@pytest.fixture(scope="module", params=["bytes", "unicode"])
def character_unit(request):
    """What a character is."""
    return request.param


class Loaded:
    """A SavedModel in a session."""

    def __init__(self, path):
        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = loaded.signature_def

    def __call__(self, name, feeds):
        signature = self.signatures[name]
        feed = {signature.inputs[key].name: value for key, value in feeds.items()}
        return self.session.run({k: v.name for k, v in signature.outputs.items()}, feed)


@pytest.fixture(scope="module")
def loaded(base_path):
    return Loaded(base_path / "1")


def test_no_function_asks_for_xla(loaded):
    """A stock TensorFlow Serving refuses those that do."""
    attributes = {
        key
        for function in loaded.session.graph_def.library.function
        for key in function.attr
        if function.attr[key].b
    }
    assert "_XlaMustCompile" not in attributes


def test_generate_equals_the_model(loaded, model, vocabulary):
    values = inputs(["abc", "", "é a"], 9, alternatives=2)
    generated = loaded("generate", values)
    ids = vocabulary.encode(tf.constant(values["prompt"]))
    names = ("length", "temperature", "top_k", "top_p", "seed")
    arguments = {name: tf.constant(values[name]) for name in names}
    expected = sampling.generate(model, ids, **arguments, alternatives=2)
    assert generated["text"].tolist() == vocabulary.decode(expected.ids).numpy().tolist()
    assert generated["characters"].tolist() == [9, 9, 9]
    likeliest = vocabulary.decode_each(expected.alternatives).numpy().tolist()
    assert generated["alternatives"].tolist() == likeliest
    for name in ("log_probabilities", "alternative_log_probabilities"):
        np.testing.assert_allclose(generated[name], getattr(expected, name), rtol=1e-5)
    default = loaded("serving_default", {"prompt": values["prompt"], "length": values["length"],
                                         "seed": values["seed"]})  # fmt: skip
    assert default["text"].tolist() == generated["text"].tolist()


def test_a_text_goes_on_from_its_state(loaded):
    whole = loaded("generate", inputs(["abc", ""], 12))
    first = loaded("generate", inputs(["abc", ""], 5))
    second = loaded("generate", {**inputs(["", ""], 7), "state": first["state"]})
    joined = [a + b for a, b in zip(first["text"], second["text"], strict=True)]
    assert joined == whole["text"].tolist()
    np.testing.assert_allclose(second["state"], whole["state"], rtol=1e-5, atol=1e-6)
    assert whole["state"].shape[1] == 4 + 16 + 2 * 2 * 12


def test_a_state_of_another_model_is_refused(loaded, vocabulary, tmp_path):
    other = CharacterModel(ModelConfig(layers=2, units=12), vocabulary.size)
    export(other, vocabulary, str(tmp_path / "1"))
    state = Loaded(tmp_path / "1")("generate", inputs(["a"]))["state"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="another model version"):
        loaded("generate", {**inputs(["a"]), "state": state})
    with pytest.raises(tf.errors.InvalidArgumentError, match="state has 3 numbers"):
        loaded("generate", {**inputs(["a"]), "state": np.zeros([1, 3], np.float32)})


def test_a_made_up_state_does_no_harm(loaded):
    state = loaded("generate", inputs(["a"]))["state"]
    state[:, 2:] = np.nan
    assert len(loaded("generate", {**inputs(["a"]), "state": state})["text"]) == 1


def test_a_stop_string_ends_the_text(loaded):
    text = loaded("generate", inputs(["a"], 40))["text"][0].decode(errors="replace")
    stop = text[20:22]
    found = loaded("generate", {**inputs(["a"], 40), "stop": np.array([stop.encode()], object)})
    if "�" in stop:
        pytest.skip("half a character")
    assert found["text"][0].decode(errors="replace") == text[: text.index(stop) + 2]
    assert found["stopped"].tolist() == [True]


def at_the_same_time(loaded, asked):
    """The answers to requests, each a signature and its inputs."""
    together = [None] * len(asked)

    def ask(n):
        together[n] = loaded(*asked[n])

    threads = [threading.Thread(target=ask, args=[n]) for n in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return together


def test_signatures_do_not_get_into_each_others_batches(loaded):
    text = {"text": np.array([b"abc", b"ab"], object)}
    kinds = [("score", text), ("embed", text), ("generate", inputs(["a", "b"]))]
    alone = [loaded(*kind) for kind in kinds]
    for _ in range(5):
        together = at_the_same_time(loaded, kinds * 8)
        for one, other in zip(alone * 8, together, strict=True):
            for name in one:
                if one[name].dtype == np.float32:
                    np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_requests_at_the_same_time_answer_as_alone(loaded):
    """They are merged within the graph; each has other prompts, lengths and seeds."""
    requests = [
        {**inputs(["abc é"[: n % 6], "b"], 5 + n, seed=n), "alternatives": np.array([n % 3])}
        for n in range(24)
    ]
    alone = [loaded("generate", request) for request in requests]
    together = at_the_same_time(loaded, [("generate", request) for request in requests])
    for one, other in zip(alone, together, strict=True):
        assert one["text"].tolist() == other["text"].tolist()
        assert one["alternatives"].shape == other["alternatives"].shape
        np.testing.assert_allclose(one["log_probabilities"], other["log_probabilities"], atol=1e-5)


def test_both_signatures_that_generate_fill_the_same_batch(base_path, tmp_path):
    """One request of each makes a batch complete that would else wait for another."""
    path = tmp_path / "1"
    shutil.copytree(base_path / "1", path)
    wait = 30
    set_batching(str(path), {"max_batch_size": 2, "batch_timeout_micros": wait * 10**6})
    loaded = Loaded(path)
    values = inputs(["a"], 1)
    default = {name: values[name] for name in values if name != "alternatives"}
    begun = time.monotonic()
    at_the_same_time(loaded, [("generate", values), ("serving_default", default)])
    assert time.monotonic() - begun < wait


def test_score_embed_and_inspect_equal_the_model(loaded, model, vocabulary):
    text = np.array(["abc é".encode(), b"a"], object)
    ids = vocabulary.encode(tf.constant(text))
    scored = loaded("score", {"text": text})
    bits, log_probabilities = sampling.score(model, ids)
    np.testing.assert_allclose(scored["bits_per_character"], bits, rtol=1e-5)
    np.testing.assert_allclose(scored["log_probabilities"], log_probabilities, rtol=1e-5)
    embedding = loaded("embed", {"text": text})["embedding"]
    np.testing.assert_allclose(embedding, sampling.embed(model, ids), rtol=1e-4, atol=1e-6)
    inspected = loaded("inspect", {"text": text})
    longest = int(tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)[0])
    assert inspected["memories"].shape == (2, longest, 2, 12)
    assert inspected["gates"].shape == (2, longest, 2, 2, 4, 12)
    unit = loaded("inspect", {"text": text, "layer": np.array([1]), "unit": np.array([5])})
    np.testing.assert_allclose(
        unit["memories"], inspected["memories"][:, :, 1:2, 5:6], rtol=1e-5, atol=1e-7
    )


def test_classify_and_regress_take_examples(loaded):
    example = tf.train.Example()
    example.features.feature["text"].bytes_list.value.append(b"abc")
    serialized = np.array([example.SerializeToString()], object)
    classified = loaded("classify", {"inputs": serialized})
    assert np.all(np.diff(classified["scores"]) <= 0)
    likeliest = loaded("generate", inputs(["abc"], 1, temperature=0))["text"][0]
    assert classified["classes"][0, 0] == likeliest
    regressed = loaded("regress", {"inputs": serialized})["outputs"]
    scored = loaded("score", {"text": np.array([b"abc"], object)})["bits_per_character"]
    np.testing.assert_allclose(regressed, scored, rtol=1e-6)
    methods = {name: loaded.signatures[name].method_name for name in ("classify", "regress")}
    assert methods == {name: f"tensorflow/serving/{name}" for name in methods}


def test_warm_up_requests_ask_what_the_model_answers(loaded, base_path):
    names = set()
    for record in tf.data.TFRecordDataset(str(base_path / "1" / WARM_UP)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = getattr(log, log.WhichOneof("log_type")).request
        names.add(request.model_spec.signature_name)
        if not log.HasField("predict_log"):
            continue
        loaded(
            request.model_spec.signature_name,
            {key: tf.make_ndarray(value) for key, value in request.inputs.items()},
        )
    assert names == set(loaded.signatures) - {"__saved_model_init_op"}


@pytest.mark.parametrize(
    "record,told",
    [
        (b"no log", "cannot be read; push the model again"),
        (
            prediction_log_pb2.PredictionLog(
                predict_log={"request": {"model_spec": {"signature_name": "absent"}}}
            ).SerializeToString(),
            "cannot answer a warm-up request of its own: ",
        ),
    ],
    ids=["unreadable", "refused"],
)
def test_a_failed_warm_up_says_what_is_wrong(base_path, tmp_path, record, told):
    records = tmp_path / WARM_UP
    records.parent.mkdir()
    with tf.io.TFRecordWriter(str(records)) as writer:
        writer.write(record)
    servable = Servable(str(base_path / "1"), "letters", 1, None, lambda *_: None)
    with pytest.raises(InputError) as failed:
        warm_up(servable, str(tmp_path))
    assert told in str(failed.value) and len(str(failed.value).splitlines()) == 1


def test_documents_and_vocabulary_are_assets(model, vocabulary, tmp_path):
    export(model, vocabulary, str(tmp_path / "1"), {"model_card.md": "# Letters\n"})
    assert (tmp_path / "1/assets/model_card.md").read_text() == "# Letters\n"
    assert (tmp_path / "1/assets/vocabulary.txt").read_text() == vocabulary.to_text()


@pytest.mark.parametrize("tied", ["none", "all"])
@pytest.mark.parametrize(
    "precision,share",
    [("bfloat16", 0.55), pytest.param("int8", 0.35, marks=needs_integer_products)],
)
def test_smaller_kernels_score_nearly_the_same(tmp_path, tied, precision, share):
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    wide = CharacterModel(ModelConfig(layers=2, units=128, tied=tied), vocabulary.size)
    sizes, bits, states = [], [], []
    for version, one in enumerate(("float32", precision), 1):
        path = tmp_path / str(version)
        export(wide, vocabulary, str(path), precision=one, batching=Batching(8))
        files = (path / "variables").glob("variables.data*")
        sizes.append(sum(map(os.path.getsize, files)))
        scored = Loaded(path)("score", {"text": np.array([b"abc abc"], object)})
        bits.append(scored["bits_per_character"][0])
        states.append(Loaded(path)("generate", inputs(["a"]))["state"])
    assert sizes[1] < share * sizes[0]
    assert (states[0][:, :2] != states[1][:, :2]).any()  # one does not go on from the other's
    assert bits[0] != bits[1] and abs(bits[0] - bits[1]) < 0.01 * bits[0]


@needs_integer_products
@pytest.mark.parametrize("architecture", ["grid", "stacked"])
def test_a_quantized_model_answers_every_signature(tmp_path, architecture):
    """Its text is the same in pieces and beside others, and scores what it was written with."""
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    model = CharacterModel(
        ModelConfig(architecture=architecture, layers=2, units=24, tied="all"), vocabulary.size
    )
    export(model, vocabulary, str(tmp_path / "1"), precision="int8", batching=Batching(8))
    loaded = Loaded(tmp_path / "1")
    whole = loaded("generate", inputs(["abc"], 12, seed=3))
    first = loaded("generate", inputs(["abc", "", "b"], 5, seed=3))
    assert first["text"][0] == whole["text"][0][:5]
    rest = {**inputs([""], 7, seed=3), "state": first["state"][:1]}
    assert loaded("generate", rest)["text"][0] == whole["text"][0][5:]
    text = {"text": np.array([b"abc" + whole["text"][0]], object)}
    scored = loaded("score", text)["log_probabilities"][0, 3:]
    np.testing.assert_allclose(scored, whole["log_probabilities"][0], atol=1e-5)
    embedding = loaded("embed", text)["embedding"]
    assert embedding.shape == (1, 48) and np.isfinite(embedding).all()
    assert loaded("inspect", text)["memories"].shape == (1, 15, 2, 24)


@pytest.mark.skipif(has_integer_products(), reason="the processor has VNNI")
def test_a_quantized_model_gives_no_wrong_answers_without_vnni(tmp_path):
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary.size)
    export(model, vocabulary, str(tmp_path / "1"), precision="int8", batching=Batching(8))
    loaded = Loaded(tmp_path / "1")
    text = {"text": np.array([b"abc"], object)}
    asked = {"generate": inputs(["abc"]), "score": text, "embed": text, "inspect": text}
    for signature, feeds in asked.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="no VNNI; serve the model in bf"):
            loaded(signature, feeds)
