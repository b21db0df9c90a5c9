"""The embedded server over the wire: TensorFlow Serving's protocol, by a stock client."""

import datetime
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, inputs, run_module
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.export import export
from serving.launch import free_port


@pytest.fixture(scope="module")
def kind():
    """One alphabet is enough here."""
    return "bytes"


SIGNATURES = {
    "generate", "score", "embed", "inspect", "classify", "regress", "serving_default"
}  # fmt: skip


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
    del values["alternatives"]
    outputs, response = predict(channel, "", values)
    loaded = tf.saved_model.load(str(base_path / "1"))
    tensors = {name: tf.constant(value) for name, value in values.items()}
    expected = loaded.signatures["serving_default"](**tensors)
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
    assert set(signatures.signature_def) == SIGNATURES
    assert set(signatures.signature_def["serving_default"].inputs) == set(inputs(["a"])) - {
        "alternatives"
    }
    outputs = signatures.signature_def["generate"].outputs
    assert all(info.tensor_shape.dim[0].size == -1 for info in outputs.values())
    assert [dim.size for dim in outputs["state"].tensor_shape.dim] == [-1, 4 + 16 + 2 * 2 * 12]
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
        ({"other": np.array([1], np.float32)}, "INVALID_ARGUMENT", "Inputs contains invalid name"),
        ({"prompt": None}, "INVALID_ARGUMENT", "Signature input alias: prompt"),
        ({"stop": np.array([b"a" * 17], object)}, "INVALID_ARGUMENT", "over the limit of 16"),
        ({"alternatives": np.array([21], np.int32)}, "INVALID_ARGUMENT", "from 0 to 20"),
        ({"temperature": np.array([np.nan], np.float32)}, "INVALID_ARGUMENT", "temperature nan"),
        ({"seed": np.array([1, 2])}, "INVALID_ARGUMENT", "seed has 2 rows for 1 prompts"),
        ({"seed": np.array([[1]])}, "INVALID_ARGUMENT", "input seed has shape (1, 1)"),
        ({"prompt": np.array([b"a" * 10_001], object)}, "INVALID_ARGUMENT", "limit of 10000"),
        ({"name": "others"}, "NOT_FOUND", "Servable not found for request: Latest(others)"),
        ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(letters, 9)"),
        (
            {
                "signature": "inspect",
                "values": {"text": np.array([b"a"]), "unit": np.array([12], np.int32)},
            },
            "INVALID_ARGUMENT",
            "unit 12 must be from 0 to 11, or -1 for all",
        ),
        ({"signature": "none"}, "FAILED_PRECONDITION", 'key "none" not found'),
    ],
)
def test_what_is_wrong_with_a_request_is_said(server, change, code, words):
    channel, _ = server
    arguments = {"signature": "generate", "values": inputs(["a"])}
    for key, value in change.items():
        if key in ("name", "version", "signature", "values"):
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
    row = {"prompt": "ab", "length": 8, "seed": 7}
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
    "path,body,code", [("others", None, 404), ("letters:predict", [], 400), ("a/b/c", None, 400)]
)
def test_rest_errors_are_json(server, path, body, code):
    with pytest.raises(urllib.error.HTTPError) as caught:
        rest(server, path, body)
    assert caught.value.code == code
    assert json.load(caught.value)["error"]


def test_a_new_version_replaces_the_old_one(model, alphabet, tmp_path):
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
        shutil.rmtree(tmp_path / "3")
        shutil.rmtree(tmp_path / "2")  # back to the version before
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        wait_until(lambda: status(channel).model_version_status[-1].state == available)
        predict(channel, "generate", inputs(["a"]), version=1)
    finally:
        process.kill()
        process.wait()


def test_a_port_in_use_is_one_line(server, base_path):
    finished = run_module(
        "serving", "serve", f"--port={server[1][0]}", f"--model_base_path={base_path}"
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: port {server[1][0]} is in use; choose another with --port\n"


def example(text):
    made = tf.train.Example()
    made.features.feature["text"].bytes_list.value.append(text)
    return made


def test_classify_regress_and_multi_inference(server):
    channel, _ = server
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    classification = classification_pb2.ClassificationRequest()
    classification.model_spec.name = "letters"
    classification.model_spec.signature_name = "classify"
    classification.input.example_list.examples.extend([example(b"abc"), example(b"a")])
    classified = stub.Classify(classification, timeout=30)
    assert (classified.model_spec.version.value, classified.model_spec.signature_name) == (
        1,
        "classify",
    )
    rows = classified.result.classifications
    assert len(rows) == 2 and rows[0].classes[0].score >= rows[0].classes[1].score
    regression = regression_pb2.RegressionRequest(input=classification.input)
    regression.model_spec.name = "letters"
    regression.model_spec.signature_name = "regress"
    regressed = [one.value for one in stub.Regress(regression, timeout=30).result.regressions]
    scored, _ = predict(channel, "score", {"text": np.array([b"abc", b"a"], object)})
    np.testing.assert_allclose(regressed, scored["bits_per_character"], rtol=1e-6)

    multi = inference_pb2.MultiInferenceRequest(input=classification.input)
    for signature, method in (("regress", "regress"), ("classify", "classify")):
        task = multi.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = "letters"
        task.model_spec.signature_name = signature
    first, second = stub.MultiInference(multi, timeout=30).results
    assert [one.value for one in first.regression_result.regressions] == regressed
    assert second.classification_result == classified.result

    regression.model_spec.signature_name = "classify"
    with pytest.raises(grpc.RpcError, match="Expected regression signature method_name"):
        stub.Regress(regression, timeout=30)
    with pytest.raises(grpc.RpcError, match="Input is empty"):
        classification.ClearField("input")
        stub.Classify(classification, timeout=30)


def test_an_output_filter_chooses(server):
    channel, _ = server
    request = predict_pb2.PredictRequest(output_filter=["text"])
    request.model_spec.name = "letters"
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(["ab"]))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    assert set(stub.Predict(request, timeout=30).outputs) == {"text"}
    request.output_filter.append("text")
    with pytest.raises(grpc.RpcError, match="duplicate output tensor alias: text"):
        stub.Predict(request, timeout=30)


def test_reflection_names_the_services(server):
    channel, _ = server
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=10)
    names = {service.name for service in response.list_services_response.service}
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= names


def test_metrics_count_requests_by_status(server):
    channel, ports = server

    def counted(status):
        url = f"http://127.0.0.1:{ports[1]}/monitoring/prometheus/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = response.read().decode()
        found = [line for line in page.splitlines() if f'status="{status}"' in line]
        return sum(float(line.split()[-1]) for line in found if ":request_count{" in line)

    before = counted("OK"), counted("INVALID_ARGUMENT")
    predict(channel, "generate", inputs(["a"]))
    with pytest.raises(grpc.RpcError):
        predict(channel, "generate", inputs(["a"], temperature=-1))
    assert (counted("OK"), counted("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)


def post(server, path, body):
    try:
        return 200, rest(server, path, body)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    "body,words",
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [], "inputs": {}}, "only one of 'inputs' or 'instances'"),
        ({"instances": {}}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [{"prompt": "a"}, {"length": 1}]}, "Failed to process element: 1"),
        ({"instances": [{"prompt": "a"}, "b"]}, "Expecting object but got list at item 1"),
        ({"inputs": {"prompt": [["a"], "b"]}}, "found at incorrect level"),
        ({"inputs": {"prompt": ["a"], "length": [1.5]}}, "is not of expected type: int32"),
        ({"inputs": {"prompt": [{"b64": "!"}]}}, "Unable to base64 decode"),
        ({"inputs": {"prompt": [True]}}, "is not of expected type: string"),
        ({"inputs": {"length": [1]}}, "Missing named input: prompt"),
        ({"inputs": {"prompt": ["a"], "temperature": [1e300]}}, "without loss of precision"),
        ({"signature_name": 3}, "'signature_name' key must be a string value"),
        ({"signature_name": "none", "inputs": ["a"]}, '"none" not found in signature def'),
    ],
)
def test_what_is_wrong_with_json_is_said(server, body, words):
    code, answer = post(server, "letters:predict", body)
    assert code == 400 and words in answer["error"]


def test_rest_classifies_and_regresses(server):
    body = {"signature_name": "classify", "context": {"text": "ab"}, "examples": [{}]}
    code, answer = post(server, "letters:classify", body)
    assert code == 200 and isinstance(answer["results"][0][0][0], str)
    body = {"signature_name": "regress", "examples": [{"text": {"b64": "YWI="}}]}
    _, answer = post(server, "letters/versions/1:regress", body)
    scored, _ = predict(server[0], "score", {"text": np.array([b"ab"], object)})
    np.testing.assert_allclose(answer["results"], scored["bits_per_character"], rtol=1e-6)
    body = {"signature_name": "regress", "examples": [{"text": [1, "a"]}]}
    code, answer = post(server, "letters:regress", body)
    assert code == 400 and "Unexpected element type in feature: text" in answer["error"]


def test_a_configuration_file_names_models_policies_and_labels(base_path, tmp_path):
    for version in ("3", "5", "8"):
        shutil.copytree(base_path / "1", tmp_path / "many" / version)
    shutil.copytree(base_path / "1", tmp_path / "one" / "1")
    file = tmp_path / "models.config"
    text = f"""model_config_list {{
      config {{ name: "many" base_path: "{tmp_path}/many" model_platform: "tensorflow"
        model_version_policy {{ specific {{ versions: 3 versions: 8 }} }}
        version_labels {{ key: "stable" value: 3 }} }}
      config {{ name: "one" base_path: "{tmp_path}/one" model_platform: "tensorflow" }} }}"""
    file.write_text(text)
    port = free_port()
    socket = tmp_path / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "serve", f"--port={port}", f"--model_config_file={file}",
         f"--grpc_socket_path={socket}", "--model_config_file_poll_wait_seconds=0.2",
         "--allow_version_labels_for_unavailable_models=true"],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        channel = grpc.insecure_channel(f"unix:{socket}")
        wait_until(lambda: status(channel, "one").model_version_status)
        assert [one.version for one in status(channel, "many").model_version_status] == [8, 3]
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "many"
        request.model_spec.version_label = "stable"
        request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(["ab"]))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(request, timeout=30).model_spec.version.value == 3
        request.model_spec.version_label = "canary"
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: canary"):
            stub.Predict(request, timeout=30)
        file.write_text(text.replace('"stable" value: 3', '"canary" value: 8'))
        wait_until(lambda: stub.Predict(request, timeout=30).model_spec.version.value == 8)
        file.write_text("model_config_list { nonsense")
        assert any("no ModelServerConfig" in line for line in iter(process.stderr.readline, ""))
        assert stub.Predict(request, timeout=30).model_spec.version.value == 8

        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(
            name="other", base_path=f"{tmp_path}/one", model_platform="tensorflow"
        )
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        models.HandleReloadConfigRequest(reload, timeout=60)
        assert status(channel, "other").model_version_status[0].version == 1
        with pytest.raises(grpc.RpcError, match="Could not find any versions of model one"):
            status(channel, "one")
    finally:
        process.kill()
        process.wait()


def test_no_request_fails_while_versions_are_rolled_in(base_path, tmp_path):
    shutil.copytree(base_path / "1", tmp_path / "1")
    port = free_port()
    process = start_server(tmp_path, port, "--file_system_poll_wait_seconds=0.1")
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    wait_until(lambda: status(channel).model_version_status)
    answered, failures, done = Counter(), [], threading.Event()

    def ask():
        while not done.is_set():
            try:
                _, response = predict(channel, "generate", inputs(["ab"], 4))
                answered[response.model_spec.version.value] += 1
            except grpc.RpcError as error:
                failures.append(error.details())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in (2, 3):
            shutil.copytree(base_path / "1", tmp_path / f".{version}")
            (tmp_path / f".{version}").rename(tmp_path / str(version))
            wait_until(lambda version=version: answered[version] > 5)
        states = {one.version: one.state for one in status(channel).model_version_status}
        end = get_model_status_pb2.ModelVersionStatus.END
        wait_until(lambda: states[1] == end)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        process.kill()
        process.wait()
    assert not failures and set(answered) == {1, 2, 3}


def test_running_requests_finish_when_the_server_is_told_to_stop(base_path):
    port = free_port()
    process = start_server(base_path, port)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    wait_until(lambda: status(channel).model_version_status)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "letters"
    for key, value in inputs(["a"], 6000).items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    request.ClearField("model_spec")
    request.model_spec.name = "letters"
    request.model_spec.signature_name = "generate"
    future = stub.Predict.future(request, timeout=60)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert tf.make_ndarray(future.result().outputs["characters"]).tolist() == [6000]
    assert process.wait(30) == 0


def test_tls(base_path, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    config, authority = tmp_path / "ssl.config", tmp_path / "ca.pem"
    fields = {"server_key": private, "server_cert": certificate}
    config.write_text("".join(f"{name}: {json.dumps(pem)}\n" for name, pem in fields.items()))
    authority.write_text(certificate)
    port = free_port()
    process = start_server(base_path, port, f"--ssl_config_file={config}")
    try:
        credentials = grpc.ssl_channel_credentials(certificate.encode())
        channel = grpc.secure_channel(f"localhost:{port}", credentials)
        wait_until(lambda: status(channel).model_version_status)
        finished = run_module(
            "serving", "score", "--server", f"localhost:{port}", "--model_name", "letters",
            "--ssl_ca_file", authority, "abc",
        )  # fmt: skip
        assert finished.stdout.endswith(" bits per character\n")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "flags,words",
    [
        (["--model_config_file=/none"], "/none cannot be read"),
        (["--model_base_path=/none"], "/none holds no model version"),
        ([], "give either --model_base_path or --model_config_file"),
        (["--model_base_path=/none", "--ssl_config_file=/none"], "/none cannot be read"),
    ],
)
def test_bad_flags_are_one_line(flags, words):
    finished = run_module("serving", "serve", *flags)
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1
    assert words in finished.stderr
