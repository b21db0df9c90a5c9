"""The export in TensorFlow Serving's own loading path, a Session, against the model itself."""

import os
import shutil
import threading
import time
from typing import NamedTuple, get_args

import numpy as np
import pytest
import tensorflow as tf
from conftest import LETTERS, inputs, needs_integer_products
from tensorflow_serving.apis import prediction_log_pb2

from model.decoding.packed_kernels import has_integer_products
from model.errors import InputError
from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import Architecture, ModelConfig
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING
from serving.graph.batching import Batching
from serving.graph.export import WARM_UP, export, set_batching
from serving.messages import plain
from serving.server.servable import Servable
from serving.server.warm_up import warm_up


@pytest.fixture(scope="module", params=["bytes", pytest.param("unicode", marks=pytest.mark.slow)])
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "signature,name,value,shape,dimensions",
    [
        ("generate", "prompt", "a", "", "one dimension"),
        ("generate", "state", np.ones([3], np.float32), "3", "two dimensions"),
        ("complete", "seed", np.array([[1]]), "1, 1", "one dimension"),
        ("score", "text", [["a", "b"]], "1, 2", "one dimension"),
        ("classify", "inputs", b"", "", "one dimension"),
    ],
)
def test_the_graph_itself_says_which_ranks_it_wants(
    loaded, signature, name, value, shape, dimensions
):
    """Neither a Session nor TensorFlow Serving compares shapes."""
    info = loaded.signatures[signature].inputs[name]
    assert len(info.tensor_shape.dim) == {"one dimension": 1, "two dimensions": 2}[dimensions]
    known = loaded.signatures[signature].inputs
    feeds = {key: each for key, each in inputs(["a"]).items() if key in known}
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        loaded(signature, {**feeds, name: value})
    expected = f"{name} has the shape [{shape}]; give {dimensions}, with a row for each text"
    assert plain(caught.value.message) == expected


def test_a_text_goes_on_from_its_state(loaded):
    whole = loaded("generate", inputs(["abc", ""], 12))
    first = loaded("generate", inputs(["abc", ""], 5))
    second = loaded("generate", {**inputs(["", ""], 7), "state": first["state"]})
    joined = [a + b for a, b in zip(first["text"], second["text"], strict=True)]
    assert joined == whole["text"].tolist()
    np.testing.assert_allclose(second["state"], whole["state"], rtol=1e-5, atol=1e-6)
    assert whole["state"].shape[1] == 4 + 16 + 2 * 2 * 12


@pytest.mark.slow
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
    state[:, 2:] = np.finfo(np.float32).max
    assert len(loaded("generate", {**inputs(["a"]), "state": state})["text"]) == 1
    for number in (np.nan, np.inf, -np.inf):
        state[:, -1] = number
        with pytest.raises(tf.errors.InvalidArgumentError, match="a number that is not finite"):
            loaded("generate", {**inputs(["a"]), "state": state})


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


@pytest.mark.slow
def test_both_signatures_that_generate_fill_the_same_batch(base_path, tmp_path):
    """One request of each makes a batch complete that would else wait for another."""
    path = tmp_path / "1"
    shutil.copytree(base_path / "1", path)
    wait = 120  # seconds, of which a busy machine may take 30 to compile
    set_batching(str(path), {"max_batch_size": 2, "batch_timeout_micros": wait * 10**6})
    loaded = Loaded(path)
    values = inputs(["a"], 1)
    default = {name: values[name] for name in values if name != "alternatives"}
    begun = time.monotonic()
    at_the_same_time(loaded, [("generate", values), ("serving_default", default)])
    assert time.monotonic() - begun < wait


@pytest.mark.slow
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_compiled_sampling_writes_the_same_text(tmp_path, vocabulary, architecture):
    config = ModelConfig(architecture=architecture, layers=2, units=12)
    model = CharacterModel(config, vocabulary.size)
    names = {False: "plain", True: "compiled"}
    for is_compiled, name in names.items():
        export(model, vocabulary, str(tmp_path / name / "1"), is_compiled=is_compiled)
    plain_one, compiled = (Loaded(tmp_path / name / "1") for name in names.values())
    # Three rows are padded to four, and 40 characters are three chunks; one row stops early.
    values = inputs(["abc", "", "é a"], 40, alternatives=2) | {"stop": np.array([b"b"], object)}
    values["length"] = np.array([40, 0, 17], np.int32)
    expected, found = plain_one("generate", values), compiled("generate", values)
    for name in ("text", "characters", "stopped", "alternatives"):
        assert found[name].tolist() == expected[name].tolist()
    for name in ("log_probabilities", "alternative_log_probabilities", "state"):
        np.testing.assert_allclose(found[name][..., 2:], expected[name][..., 2:], atol=1e-5)
    first = compiled("generate", values | {"length": np.array([5], np.int32)})
    again = {"prompt": np.array([b""] * 3, object), "state": first["state"]}
    second = compiled("generate", values | again | {"length": np.array([3], np.int32)})
    whole = plain_one("generate", values | {"length": np.array([8], np.int32)})
    for row in np.flatnonzero(~first["stopped"]):
        assert first["text"][row] + second["text"][row] == whole["text"][row]


@pytest.mark.slow
def test_a_compiled_model_is_warmed_up_for_every_size_of_a_batch(tmp_path, vocabulary):
    model = CharacterModel(ModelConfig(layers=1, units=4), vocabulary.size)
    export(model, vocabulary, str(tmp_path / "1"), is_compiled=True)
    assert warm_up_rows(tmp_path / "1") == [1, *Batching.compiled().generated_batch_sizes]
    # A request of more rows than a batch has would fail, and the version with it.
    set_batching(str(tmp_path / "1"), {"max_batch_size": 8})
    assert warm_up_rows(tmp_path / "1") == [1, 1, 4, 8]
    path = str(tmp_path / "1")
    warm_up(Servable(path, "letters", 1, None, lambda *_: None), path)


def warm_up_rows(path):
    """The number of rows of each warm-up request of `generate`."""
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path / WARM_UP))
    ]
    requests = [log.predict_log.request for log in logs]
    return [
        request.inputs["prompt"].tensor_shape.dim[0].size
        for request in requests
        if request.model_spec.signature_name == "generate"
    ]


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_documents_and_vocabulary_are_assets(model, vocabulary, tmp_path):
    export(model, vocabulary, str(tmp_path / "1"), {"model_card.md": "# Letters\n"})
    assert (tmp_path / "1/assets/model_card.md").read_text() == "# Letters\n"
    assert (tmp_path / "1/assets/vocabulary.txt").read_text() == vocabulary.to_text()


class Exported(NamedTuple):
    """An export in one precision: the size of its variables, a score, and a state."""

    size: int
    bits: float
    state: np.ndarray


def exported(model, vocabulary, path, precision):
    export(model, vocabulary, str(path), precision=precision, batching=Batching(8))
    files = (path / "variables").glob("variables.data*")
    loaded = Loaded(path)
    return Exported(
        size=sum(map(os.path.getsize, files)),
        bits=loaded("score", {"text": np.array([b"abc abc"], object)})["bits_per_character"][0],
        state=loaded("generate", inputs(["a"]))["state"],
    )


@pytest.fixture(scope="module", params=["none", "all"])
def wide(request, tmp_path_factory):
    """A wide model, its vocabulary, and its export in float32."""
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    model = CharacterModel(ModelConfig(layers=2, units=128, tied=request.param), vocabulary.size)
    path = tmp_path_factory.mktemp("wide") / "1"
    return model, vocabulary, exported(model, vocabulary, path, "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision,share",
    [("bfloat16", 0.55), pytest.param("int8", 0.35, marks=needs_integer_products)],
)
def test_smaller_kernels_score_nearly_the_same(wide, tmp_path, precision, share):
    model, vocabulary, full = wide
    small = exported(model, vocabulary, tmp_path / "1", precision)
    assert small.size < share * full.size
    assert (full.state[:, :2] != small.state[:, :2]).any()  # one does not go on from the other's
    assert full.bits != small.bits and abs(full.bits - small.bits) < 0.01 * full.bits


@pytest.mark.slow
@needs_integer_products
@pytest.mark.parametrize("architecture,tied", [("grid", "all"), ("stacked", "none")])
def test_a_quantized_model_answers_every_signature(tmp_path, architecture, tied):
    """Its text is the same in pieces and beside others, and scores what it was written with."""
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    model = CharacterModel(
        ModelConfig(architecture=architecture, layers=2, units=24, tied=tied), vocabulary.size
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


@pytest.mark.slow
@pytest.mark.parametrize("texts", [[], [""], ["a", ""]], ids=str)
def test_empty_texts_and_batches_are_answered_or_refused_in_a_sentence(base_path, texts):
    loaded = Loaded(base_path / "1")
    text = np.array([text.encode() for text in texts], object)
    for name in ("generate", "score", "embed", "inspect"):
        values = inputs(texts) if name == "generate" else {"text": text}
        if texts:
            rows = {output.shape[0] for output in loaded(name, values).values()}
            assert rows == {len(texts)}, name
        else:
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                loaded(name, values)
            assert plain(caught.value.message).endswith("has no rows; give at least one text")


def test_requests_that_would_take_much_memory_are_refused(loaded):
    few = {"layer": np.array([-1], np.int32), "unit": np.array([-1], np.int32)}
    many = np.full(1025, b"a", object)
    large = np.full(1024, b"a" * 1000, object)
    for name, values, told in (
        ("score", {"text": many}, "1025 rows are over the limit of 1024"),
        ("generate", {"prompt": many}, "1025 rows are over the limit of 1024"),
        ("inspect", {"text": large, **few}, "values are over the limit of 33554432"),
    ):
        if name == "generate":
            values = {**inputs(["a"]), **values}
        with pytest.raises(tf.errors.InvalidArgumentError, match=told):
            loaded(name, values)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(layers=2, units=8, cells=("lstm_full_gate_recurrence", "gru")),
        ModelConfig("stacked", layers=2, units=8, cells=("lstm_full_gate_recurrence",)),
    ],
    ids=lambda config: config.architecture,
)
def test_models_of_other_cells_answer_every_signature(tmp_path, config):
    """The state is as wide as the memory of the cell, and a text goes on from it."""
    vocabulary = TextVocabulary.of("bytes", LETTERS.encode())
    model = CharacterModel(config, vocabulary.size)
    export(model, vocabulary, str(tmp_path / "1"), batching=Batching(8))
    loaded = Loaded(tmp_path / "1")
    whole = loaded("generate", inputs(["abc"], 12, seed=3))
    first = loaded("generate", inputs(["abc"], 5, seed=3))
    assert first["state"].shape == (1, 20 + 2 * (8 + 4 * 8))
    rest = {**inputs([""], 7, seed=3), "state": first["state"]}
    assert first["text"][0] + loaded("generate", rest)["text"][0] == whole["text"][0]
    text = {"text": np.array([b"abc" + whole["text"][0]], object)}
    scored = loaded("score", text)["log_probabilities"][0, 3:]
    np.testing.assert_allclose(scored, whole["log_probabilities"][0], atol=1e-5)
    inspected = loaded("inspect", text)
    assert inspected["memories"].shape == (1, 15, 2, 8)
    assert inspected["gates"].shape[-2:] == (4, 8)
