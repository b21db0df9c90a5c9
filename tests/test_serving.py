"""The export in TensorFlow Serving's own loading path, and the embedded server over the wire."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, run_module
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from model import sampling
from model.alphabet import Alphabet
from model.character_model import CharacterModel
from model.config import ModelConfig
from serving.export import export
from serving.launch import free_port

TEXT = "abc é\n"
NAMES = ("prompt", "length", "temperature", "top_k", "top_p", "seed")


@pytest.fixture(scope="module", params=["bytes", "unicode"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def alphabet(kind):
    return Alphabet.of(kind, TEXT.encode() if kind == "bytes" else map(ord, TEXT))


@pytest.fixture(scope="module")
def model(alphabet):
    tf.keras.utils.set_random_seed(1)
    return CharacterModel(ModelConfig(layers=2, units=12), alphabet.size)


@pytest.fixture(scope="module")
def base_path(model, alphabet, tmp_path_factory):
    path = tmp_path_factory.mktemp("served")
    export(model, alphabet, str(path / "1"))
    return path


def inputs(prompts, length=8, temperature=1.0, top_k=0, top_p=1.0, seed=7):
    rows = len(prompts)
    values = (
        np.array([prompt.encode() for prompt in prompts], object),
        np.full(rows, length, np.int32),
        np.full(rows, temperature, np.float32),
        np.full(rows, top_k, np.int32),
        np.full(rows, top_p, np.float32),
        np.full(rows, seed, np.int64),
    )
    return dict(zip(NAMES, values, strict=True))


def test_the_export_in_a_session_equals_the_model(base_path, model, alphabet):
    """`tf.compat.v1.saved_model.load` into a Session is what TensorFlow Serving does."""
    values = inputs(["abc", "", "é a"], 9)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(base_path / "1"))

        def run(name, feeds):
            signature = graph.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in feeds.items()}
            return session.run({k: v.name for k, v in signature.outputs.items()}, feed)

        assert {"generate", "score", "serving_default"} <= set(graph.signature_def)
        generated = run("generate", values)
        again = run("serving_default", values)
        scored = run("score", {"text": generated["text"]})
        attributes = {
            key
            for function in session.graph_def.library.function
            for key in function.attr
            if function.attr[key].b
        }
    assert "_XlaMustCompile" not in attributes

    tensors = {name: tf.constant(value) for name, value in values.items()}
    ids = alphabet.encode(tensors["prompt"])
    choice = sampling.Choice(*(tensors[name] for name in NAMES[2:]))
    expected = sampling.generate(model, ids, tensors["length"], choice)
    assert generated["text"].tolist() == alphabet.decode(expected.ids).numpy().tolist()
    assert generated["text"].tolist() == again["text"].tolist()
    np.testing.assert_allclose(
        generated["log_probabilities"], expected.log_probabilities, rtol=1e-5
    )
    np.testing.assert_allclose(
        generated["state"], sampling.flatten_state(expected.state), rtol=1e-4, atol=1e-6
    )
    assert generated["state"].shape == (3, 2 * 2 * 12 + 1)
    bits, log_probabilities = sampling.score(model, alphabet.encode(generated["text"]))
    np.testing.assert_allclose(scored["bits_per_character"], bits, rtol=1e-5)
    np.testing.assert_allclose(scored["log_probabilities"], log_probabilities, rtol=1e-5)


def start_server(base_path, port, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "serving", "serve", f"--port={port}", "--model_name=letters",
         f"--model_base_path={base_path}", *arguments],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (grpc.RpcError, OSError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(base_path):
    ports = free_port(), free_port()
    process = start_server(base_path, ports[0], f"--rest_api_port={ports[1]}")
    channel = grpc.insecure_channel(f"127.0.0.1:{ports[0]}")
    wait_until(lambda: status(channel).model_version_status)
    yield channel, ports
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def status(channel, name="letters"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=10)


def predict(channel, signature, values, name="letters", version=None):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in values.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=30)
    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}, response


def test_predict_equals_the_export(server, base_path):
    channel, _ = server
    values = inputs(["ab", "é"])
    outputs, response = predict(channel, "", values)
    loaded = tf.saved_model.load(str(base_path / "1"))
    expected = loaded.signatures["generate"](**{k: tf.constant(v) for k, v in values.items()})
    assert outputs["text"].tolist() == expected["text"].numpy().tolist()
    np.testing.assert_allclose(outputs["state"], expected["state"], rtol=1e-5, atol=1e-7)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("letters", 1, "serving_default")


def test_metadata_status_and_health(server):
    channel, _ = server
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "letters"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"generate", "score", "serving_default"}
    assert set(signatures.signature_def["generate"].inputs) == set(NAMES)
    for info in signatures.signature_def["generate"].outputs.values():
        assert info.tensor_shape.dim[0].size == -1
    (version,) = status(channel).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert (version.version, version.state) == (1, available)
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    "change,code,words",
    [
        (
            {"temperature": np.array([-1], np.float32)},
            "INVALID_ARGUMENT",
            "temperature -1 must not",
        ),
        ({"length": np.array([10_001], np.int32)}, "INVALID_ARGUMENT", "over the limit of 10000"),
        ({"top_p": np.array([0], np.float32)}, "INVALID_ARGUMENT", "top_p 0 must be above 0"),
        ({"prompt": np.array([b"ab~"], object)}, "INVALID_ARGUMENT", "lacks the character"),
        ({"seed": np.array([1], np.float32)}, "INVALID_ARGUMENT", "expects int64"),
        ({"other": np.array([1], np.float32)}, "INVALID_ARGUMENT", "alias not found"),
        ({"length": None}, "INVALID_ARGUMENT", "Missing but required: {length}"),
        ({"name": "others"}, "NOT_FOUND", "Servable not found for request: Latest(others)"),
        ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(letters, 9)"),
        ({"signature": "none"}, "INVALID_ARGUMENT", 'key "none" not found'),
    ],
)
def test_what_is_wrong_with_a_request_is_said(server, change, code, words):
    channel, _ = server
    arguments = {"signature": "generate", "values": inputs(["a"])}
    for key, value in change.items():
        if key in ("name", "version", "signature"):
            arguments[key] = value
        elif value is None:
            del arguments["values"][key]
        else:
            arguments["values"][key] = value
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, **arguments)
    assert caught.value.code().name == code
    assert words in caught.value.details()
    assert "\n" not in caught.value.details()


def rest(server, path, body=None):
    url = f"http://127.0.0.1:{server[1][1]}/v1/models/{path}"
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(url, data, timeout=30) as response:
        return json.load(response)


def test_rest_answers_as_grpc_does(server):
    row = {"prompt": "ab", "length": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 7}
    expected, _ = predict(server[0], "generate", inputs(["ab"]))
    body = {"signature_name": "generate", "instances": [row, row]}
    for prediction in rest(server, "letters:predict", body)["predictions"]:
        text = prediction["text"]
        decoded = (
            tf.io.decode_base64(text["b64"]).numpy() if isinstance(text, dict) else text.encode()
        )
        assert decoded == expected["text"][0]
    columns = {"signature_name": "score", "inputs": ["abc", "a"]}
    outputs = rest(server, "letters/versions/1:predict", columns)["outputs"]
    scored, _ = predict(server[0], "score", {"text": np.array([b"abc", b"a"], object)})
    np.testing.assert_allclose(outputs["bits_per_character"], scored["bits_per_character"])
    assert rest(server, "letters")["model_version_status"][0]["state"] == "AVAILABLE"
    assert "score" in rest(server, "letters/metadata")["metadata"]["signature_def"]["signature_def"]


@pytest.mark.parametrize(
    "path,body,code", [("others", None, 404), ("letters:predict", [], 400), ("a/b/c", None, 404)]
)
def test_rest_errors_are_json(server, path, body, code):
    with pytest.raises(urllib.error.HTTPError) as caught:
        rest(server, path, body)
    assert caught.value.code == code
    assert json.load(caught.value)["error"]


def test_a_new_version_replaces_the_old_one(kind, model, alphabet, tmp_path):
    if kind == "unicode":
        pytest.skip("one alphabet is enough")
    export(model, alphabet, str(tmp_path / "1"))
    port = free_port()
    process = start_server(tmp_path, port, "--file_system_poll_wait_seconds=0.1")
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        wait_until(lambda: status(channel).model_version_status[0].version == 1)
        export(model, alphabet, str(tmp_path / ".2"))
        (tmp_path / ".2").rename(tmp_path / "2")
        wait_until(lambda: status(channel).model_version_status[0].version == 2)
        (tmp_path / "3").mkdir()
        (tmp_path / "3" / "saved_model.pb").write_bytes(b"no model")
        assert any("3 cannot be loaded" in line for line in iter(process.stderr.readline, ""))
        predict(channel, "generate", inputs(["a"]), version=2)
    finally:
        process.kill()
        process.wait()


def test_a_port_in_use_is_one_line(server, base_path):
    finished = run_module(
        "serving", "serve", f"--port={server[1][0]}", f"--model_base_path={base_path}"
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: port {server[1][0]} is in use; choose another with --port\n"


def test_the_client_prints_text_scores_and_refusals(server, kind):
    at = ("--server", f"127.0.0.1:{server[1][0]}", "--model_name", "letters")
    first, second = (
        run_module("serving", "sample", *at, "--prompt", "abc", "--length", 20, "--seed", 3)
        for _ in range(2)
    )
    assert first.returncode == 0 and first.stdout == second.stdout
    assert first.stdout.startswith("abc")
    scored = run_module("serving", "score", *at, "abc é")
    assert scored.stdout.endswith(" bits per character\n")
    refused = run_module("serving", "sample", *at, "--prompt", "abz")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "0x7A" in refused.stderr if kind == "bytes" else "code point 122" in refused.stderr
