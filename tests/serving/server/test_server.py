"""TensorFlow Serving's gRPC protocol over the wire, by a stock client."""

import signal
import time

import grpc
import numpy as np
import pytest
import servers
import tensorflow as tf
from commands import run_module
from conftest import inputs
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from servers import (
    AVAILABLE,
    PATIENCE,
    is_embedded,
    of,
    predict,
    predict_request,
    require_embedded,
    running,
    status,
    wait_until,
)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from pipeline.stages.infra_validator import SIGNATURES


def test_predict_equals_the_export(server, base_path):
    channel = server.channel
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


def test_metadata_and_status(server):
    channel = server.channel
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "letters"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) >= SIGNATURES
    assert set(signatures.signature_def["serving_default"].inputs) == set(inputs(["a"])) - {
        "alternatives"
    }
    outputs = signatures.signature_def["generate"].outputs
    assert all(info.tensor_shape.dim[0].size == -1 for info in outputs.values())
    assert [dim.size for dim in outputs["state"].tensor_shape.dim] == [-1, 4 + 16 + 2 * 2 * 12]
    (version,) = status(channel).model_version_status
    assert (version.version, version.state) == (1, AVAILABLE)


def test_the_standard_health_service_answers(server):
    require_embedded()
    channel = server.channel
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
        ({"seed": np.array(1)}, "INVALID_ARGUMENT", "seed has the shape []; give one dimension"),
        ({"state": np.ones([3], np.float32)}, "INVALID_ARGUMENT", "the shape [3]; give two"),
        ({"length": np.array(40, np.int32)}, "INVALID_ARGUMENT", "length has the shape []"),
        ({"prompt": np.array([], object)}, "INVALID_ARGUMENT", "prompt has no rows; give at least"),
        (
            {"seed": np.array([[1]])},
            "INVALID_ARGUMENT",
            "seed has the shape [1, 1]; give one dimension",
        ),
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
    channel = server.channel
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
    if is_embedded():  # TensorFlow Serving says where in the graph that was, too
        assert "\n" not in caught.value.details()


def test_a_port_in_use_is_one_line(server, base_path):
    require_embedded()
    finished = run_module(
        "serving", "serve", f"--port={server.port}", f"--model_base_path={base_path}"
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: port {server.port} is in use; choose another with --port\n"


def example(text):
    made = tf.train.Example()
    made.features.feature["text"].bytes_list.value.append(text)
    return made


def test_classify_regress_and_multi_inference(server):
    channel = server.channel
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    classification = classification_pb2.ClassificationRequest()
    classification.model_spec.name = "letters"
    classification.model_spec.signature_name = "classify"
    classification.input.example_list.examples.extend([example(b"abc"), example(b"a")])
    classified = stub.Classify(classification, timeout=PATIENCE)
    assert (classified.model_spec.version.value, classified.model_spec.signature_name) == (
        1,
        "classify",
    )
    rows = classified.result.classifications
    assert len(rows) == 2 and rows[0].classes[0].score >= rows[0].classes[1].score
    regression = regression_pb2.RegressionRequest(input=classification.input)
    regression.model_spec.name = "letters"
    regression.model_spec.signature_name = "regress"
    regressed = [one.value for one in stub.Regress(regression, timeout=PATIENCE).result.regressions]
    scored, _ = predict(channel, "score", {"text": np.array([b"abc", b"a"], object)})
    np.testing.assert_allclose(regressed, scored["bits_per_character"], rtol=1e-6)

    multi = inference_pb2.MultiInferenceRequest(input=classification.input)
    for signature, method in (("regress", "regress"), ("classify", "classify")):
        task = multi.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = "letters"
        task.model_spec.signature_name = signature
    first, second = stub.MultiInference(multi, timeout=PATIENCE).results
    assert [one.value for one in first.regression_result.regressions] == regressed
    assert second.classification_result == classified.result

    regression.model_spec.signature_name = "classify"
    with pytest.raises(grpc.RpcError, match=r"Expected one output Tensor\."):
        stub.Regress(regression, timeout=PATIENCE)
    with pytest.raises(grpc.RpcError, match="Input is empty"):
        classification.ClearField("input")
        stub.Classify(classification, timeout=PATIENCE)


def test_an_output_filter_chooses(server):
    channel = server.channel
    request = predict_pb2.PredictRequest(output_filter=["text"])
    request.model_spec.name = "letters"
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(["ab"]))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    assert set(stub.Predict(request, timeout=PATIENCE).outputs) == {"text"}
    request.output_filter.append("text")
    with pytest.raises(grpc.RpcError, match="duplicate output tensor alias: text"):
        stub.Predict(request, timeout=PATIENCE)


def test_reflection_names_the_services(server):
    require_embedded()
    channel = server.channel
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE)
    names = {service.name for service in response.list_services_response.service}
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= names


def counted(server, status):
    page = servers.page(server, "/monitoring/prometheus/metrics")
    found = [line for line in page.splitlines() if f'status="{status}"' in line]
    return sum(float(line.split()[-1]) for line in found if ":request_count{" in line)


def test_metrics_count_requests_by_status(server):
    channel = server.channel

    before = counted(server, "OK"), counted(server, "INVALID_ARGUMENT")
    predict(channel, "generate", inputs(["a"]))
    with pytest.raises(grpc.RpcError):
        predict(channel, "generate", inputs(["a"], temperature=-1))
    after = counted(server, "OK"), counted(server, "INVALID_ARGUMENT")
    assert after == (before[0] + 1, before[1] + 1)


def test_a_request_whose_deadline_has_passed_is_not_worked_on(server):
    before = counted(server, "DEADLINE_EXCEEDED")
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        predict(server.channel, "generate", inputs(["a"] * 64, 10_000), timeout=0.2)
    # To the end it would take minutes.
    wait_until(lambda: counted(server, "DEADLINE_EXCEEDED") == before + 1, 20)


@pytest.mark.slow
def test_running_requests_finish_when_the_server_is_told_to_stop(base_path):
    require_embedded("TensorFlow Serving ends at once")
    with running(*of(base_path), fresh=True) as server:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
        request = predict_request("generate", inputs(["a"], 6000))
        future = stub.Predict.future(request, timeout=PATIENCE)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert tf.make_ndarray(future.result().outputs["characters"]).tolist() == [6000]
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "flags,words",
    [
        (["--model_config_file=/none"], "/none cannot be read"),
        (["--model_base_path=/none"], "/none holds no model version"),
        ([], "give --model_base_path or --model_config_file"),
        (["--model_base_path=/none", "--ssl_config_file=/none"], "/none cannot be read"),
        (["--model_base_path=/none", "--port=65536"], "65536 is no port; give one from 1 to 65535"),
        (["--model_base_path=/none", "--rest_api_port=-1"], "-1 is no port"),
        (["--model_base_path=/none", "--port=\uff18500"], "is no port"),
        (["--model_base_path=/none", "--port=0"], "nothing to listen on; give --port"),
        (["--model_base_path=/none", "--rest_api_port=8500"], "give REST a port of its own"),
        (["--model_base_path=/none", "--host=256.0.0.1"], "--host 256.0.0.1 is no address"),
        (["--model_base_path=/none", "--grpc_socket_path=/none/x"], "no directory for /none/x"),
        (["--model_base_path=/none", f"--grpc_socket_path=/{'x' * 200}"], "is longer than the 107"),
        (["--model_base_path=/none", "--grpc_max_threads=0"], "grpc_max_threads"),
        (["--model_base_path=/none", "--file_system_poll_wait_seconds=inf"], "poll_wait_seconds"),
        (
            [
                "--model_base_path=/none",
                "--grpc_channel_arguments=grpc.max_metadata_size=9999999999",
            ],
            "is beyond 32 bits",
        ),
    ],
)
def test_bad_flags_are_one_line(flags, words):
    finished = run_module("serving", "serve", *flags)
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1
    assert words in finished.stderr
