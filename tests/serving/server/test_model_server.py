"""The cases by which tensorflow_model_server is tested, with models of half of x and something.

After tensorflow_serving/model_servers/tensorflow_model_server_test.py of TensorFlow Serving.
"""

import contextlib
import json
import time
import urllib.error
import urllib.request

import grpc
import pytest
import tensorflow as tf
from half_plus import DIRECTORY, VERSION, export_half_plus, export_native, is_of, prediction
from servers import (
    AVAILABLE,
    PATIENCE,
    own_flags,
    page,
    require_embedded,
    rest,
    running,
    states,
    status,
    wait_until,
)
from tensorflow.core.framework import types_pb2
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

BATCHING = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 64
allowed_batch_sizes: 128
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("half_plus")
    return {addend: export_half_plus(addend, root / f"half_plus_{addend}") for addend in (2, 3)}


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    batching = tmp_path_factory.mktemp("flags") / "batching.config"
    batching.write_text(BATCHING)
    socket = batching.parent / "socket"
    with running(
        f"--model_base_path={models[2]}",
        "--rest_api_timeout_in_ms=5000",
        f"--grpc_socket_path={socket}",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
        name="default",
    ) as server:
        yield server, grpc.insecure_channel(f"unix:{socket}")


def example():
    made = tf.train.Example()
    made.features.feature["x"].float_list.value.append(2.0)
    return made


def test_status(server):
    (one,) = status(server[0].channel, "default").model_version_status
    assert (one.version, one.state, one.status.error_code) == (VERSION, AVAILABLE, 0)


@pytest.mark.parametrize("specify_output", [True, False])
def test_predict(server, specify_output):
    assert prediction(server[0].channel, specify_output=specify_output) == 3.0


def test_predict_over_a_unix_socket(server):
    assert prediction(server[1]) == 3.0


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    path = export_native(tmp_path_factory.mktemp("native"))
    with running(f"--model_base_path={path}", name="default") as server:
        yield server


@pytest.mark.parametrize("made_by", ["tensorflow_1", "tensorflow_2"])
def test_classify_regress_and_multi_inference(server, native, made_by):
    channel = server[0].channel if made_by == "tensorflow_1" else native.channel
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    classification = classification_pb2.ClassificationRequest()
    regression = regression_pb2.RegressionRequest()
    multi = inference_pb2.MultiInferenceRequest()
    multi.input.example_list.examples.append(example())
    for request, kind in ((classification, "classify"), (regression, "regress")):
        request.model_spec.name = "default"
        request.model_spec.signature_name = f"{kind}_x_to_y"
        request.input.CopyFrom(multi.input)
        task = multi.tasks.add(method_name=f"tensorflow/serving/{kind}")
        task.model_spec.CopyFrom(request.model_spec)

    classified = stub.Classify(classification, timeout=PATIENCE)
    (row,) = classified.result.classifications
    assert [(one.label, one.score) for one in row.classes] == [("", 3.0)]
    assert is_of(classified.model_spec, "default", "classify_x_to_y")
    regressed = stub.Regress(regression, timeout=PATIENCE)
    assert [one.value for one in regressed.result.regressions] == [3.0]
    assert is_of(regressed.model_spec, "default", "regress_x_to_y")
    first, second = stub.MultiInference(multi, timeout=PATIENCE).results
    assert first.classification_result == classified.result
    assert second.regression_result == regressed.result
    assert is_of(second.model_spec, "default", "regress_x_to_y")


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as refused:
        call(request, timeout=PATIENCE)
    return refused.value.code().name, refused.value.details()


def test_what_no_signature_can_answer_is_refused(server):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server[0].channel)
    multi = inference_pb2.MultiInferenceRequest()
    multi.input.example_list.examples.append(example())
    expected = "INVALID_ARGUMENT", "ModelSpec has no name specified."
    assert refusal(stub.MultiInference, multi) == expected
    for call, request, signature, told in (
        (stub.Classify, classification_pb2.ClassificationRequest(), "regress_x_to_y", "scores"),
        (stub.Regress, regression_pb2.RegressionRequest(), "classify_x_to_y", "regression outputs"),
        (stub.Classify, classification_pb2.ClassificationRequest(), "", "classification inputs"),
        (stub.Regress, regression_pb2.RegressionRequest(), "", "No regression inputs found in "),
        (stub.Regress, regression_pb2.RegressionRequest(), "none", "found with the name: none"),
    ):
        request.input.CopyFrom(multi.input)
        request.model_spec.name, request.model_spec.signature_name = "default", signature
        code, details = refusal(call, request)
        assert code == "INVALID_ARGUMENT" and told in details
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "default"
    predict.inputs["x"].float_val.append(2.0)
    expected = "INVALID_ARGUMENT", "tensor parsing error: x"
    assert refusal(stub.Predict, predict) == expected


def test_the_label_of_a_status_is_ignored(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version_label = "default", "none"
    stub = model_service_pb2_grpc.ModelServiceStub(server[0].channel)
    (one,) = stub.GetModelStatus(request, timeout=PATIENCE).model_version_status
    assert one.version == VERSION


@pytest.mark.parametrize(
    "path,code",
    [("/v2", 404), ("/v1/models/default?x=1", 404), ("/v1/models/default/versions/0123", 200)],
)
def test_paths_over_rest(server, path, code):
    assert rest(server[0], path)[0] == code


@pytest.mark.parametrize(
    "method,body,expected",
    [
        (
            "classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]},
            {"results": [[["", 3.0]]]},
        ),
        (
            "regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]},
            {"results": [3.0]},
        ),
        ("predict", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ("predict", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
        ("predict", {"inputs": {"x": [2.0]}}, {"outputs": [3.0]}),
    ],
)
def test_rest(server, method, body, expected):
    assert rest(server[0], f"/v1/models/default:{method}", body) == (200, expected)


@pytest.mark.parametrize("x", ["NaN", "1e999", "-Infinity"])
@pytest.mark.parametrize("method", ["predict", "regress"])
def test_numbers_that_json_lacks_are_not_sent(server, method, x):
    body = f'{{"signature_name": "regress_x_to_y", "examples": [{{"x": {x}}}]}}'
    if method == "predict":
        body = f'{{"instances": [1.0, {x}]}}'
    request = urllib.request.Request(server[0].url(f"/v1/models/default:{method}"), body.encode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    assert refused.value.code == 400
    assert "which JSON cannot; ask over gRPC" in json.load(refused.value)["error"]


def test_status_over_rest(server):
    expected = {
        "version": "123",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    found = rest(server[0], "/v1/models/default")
    assert found == (200, {"model_version_status": [expected]})


def test_metadata_over_rest(server):
    _, found = rest(server[0], "/v1/models/default/metadata")
    assert found["model_spec"]["version"] == "123"
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"]["dim"][0]["size"] == "-1"
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_metadata_over_rest_lists_what_initializes(native):
    _, found = rest(native, "/v1/models/default/metadata")
    assert "__saved_model_init_op" in found["metadata"]["signature_def"]["signature_def"]


def test_a_configuration_of_two_models_is_read_and_put_in_place_of_another(models, tmp_path):
    file, monitoring = tmp_path / "models.config", tmp_path / "monitoring.config"
    named = {"half_plus_two": models[2], "half_plus_three": models[3]}
    text = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}\n'
        for name, path in named.items()
    )
    file.write_text(f"model_config_list {{ {text} }}")
    monitoring.write_text('prometheus_config: { enable: true, path: "/metrics" }')
    with running(
        f"--model_config_file={file}",
        f"--monitoring_config_file={monitoring}",
        *own_flags(f"--allow_reload={models[3].parent}"),
        name="half_plus_two",
    ) as server:
        channel = server.channel
        wait_until(lambda: AVAILABLE in states(channel, "half_plus_three").values())
        assert prediction(channel, "half_plus_two") == 3.0
        assert prediction(channel, "half_plus_three", specify_output=False) == 4.0
        assert "# TYPE" in page(server, "/metrics")

        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(
            name="half_plus_four", base_path=str(models[3]), model_platform="tensorflow"
        )
        models_of = model_service_pb2_grpc.ModelServiceStub(channel)
        models_of.HandleReloadConfigRequest(reload, timeout=PATIENCE)
        assert prediction(channel, "half_plus_four") == 4.0
        reload.config.model_config_list.config[0].base_path = "half_plus_three"
        code, details = refusal(models_of.HandleReloadConfigRequest, reload)
        expected = "to have an absolute path or URI; got base_path()=half_plus_three"
        assert code == "INVALID_ARGUMENT" and expected in details
        assert prediction(channel, "half_plus_four") == 4.0
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            prediction(channel, "half_plus_two")


def test_a_bad_configuration_is_named(tmp_path):
    file = tmp_path / "bad.config"
    file.write_text("improperly formatted file!\n")
    with running(f"--model_config_file={file}", wait=False) as server:
        assert server.process.wait(PATIENCE) == 255
        expected = "Error parsing text-format tensorflow.serving.ModelServerConfig"
        assert f"Invalid protobuf file: '{file}'" in server.log and expected in server.log


def test_a_bad_model_is_not_served(tmp_path):
    (tmp_path / str(VERSION)).mkdir()
    (tmp_path / str(VERSION) / "saved_model.pb").write_bytes(b"bad")
    with running(f"--model_base_path={tmp_path}", wait=False) as server:
        wait_until(lambda: states(server.channel, "default"))
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            prediction(server.channel)


def test_metadata_over_grpc(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "default"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server[0].channel)
    response = stub.GetModelMetadata(request, timeout=PATIENCE)
    assert response.model_spec.version.value == VERSION
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].inputs["x"].dtype == types_pb2.DT_FLOAT
    assert found.signature_def["regress_x_to_y"].method_name == "tensorflow/serving/regress"


def save_by_keras(path, by):
    """Saves half of x and two as Keras does."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"]) if by == "strategy" else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        dense = tf.keras.layers.Dense(1, kernel_initializer=tf.constant_initializer(0.5))
        model = tf.keras.Sequential([tf.keras.Input([1], name="x"), dense])
        dense.bias.assign([2.0])
    if by != "archive":
        model.export(path, verbose=False)
        return
    archive = tf.keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda x: {"y": model(x)},
        input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")],
    )
    archive.write_out(path, verbose=False)


@pytest.mark.parametrize(
    "by",
    [
        pytest.param("export", marks=pytest.mark.slow),
        "archive",
        pytest.param("strategy", marks=pytest.mark.slow),
    ],
)
def test_models_of_keras(by, tmp_path):
    save_by_keras(str(tmp_path / DIRECTORY), by)
    with running(f"--model_base_path={tmp_path}", name="default") as server:
        found = rest(server, "/v1/models/default:predict", {"instances": [[2.0], [4.0]]})
        assert found == (200, {"predictions": [[3.0], [4.0]]})


def config_of(name, path):
    return f'model_config_list {{ config {{ name: "{name}" base_path: "{path}" }} }}'


@pytest.mark.parametrize("seconds", [1, 0])
def test_a_configuration_that_changes_is_read_again_where_it_is_polled(models, tmp_path, seconds):
    file = tmp_path / "models.config"
    file.write_text(config_of("half_plus_two", models[2]))
    flags = f"--model_config_file={file}", f"--model_config_file_poll_wait_seconds={seconds}"
    with running(*flags, name="half_plus_two") as server:
        assert prediction(server.channel, "half_plus_two") == 3.0
        file.write_text(config_of("half_plus_three", models[3]))
        if seconds:
            wait_until(lambda: AVAILABLE in states(server.channel, "half_plus_three").values())
            assert prediction(server.channel, "half_plus_three") == 4.0
        else:
            time.sleep(2)  # as the case does: there is nothing to wait for
            with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
                prediction(server.channel, "half_plus_three")
            assert prediction(server.channel, "half_plus_two") == 3.0


def test_the_profiler_is_not_there(server):
    require_embedded("without the profiler of TensorFlow")
    profile = server[0].channel.unary_unary("/tensorflow.ProfilerService/Profile")
    assert refusal(profile, b"")[0] == "UNIMPLEMENTED"


def test_a_model_of_tensorflow_lite_is_not_served(models, tmp_path):
    require_embedded("without TensorFlow Lite")
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(models[2] / DIRECTORY), signature_keys=["serving_default"]
    )
    (tmp_path / DIRECTORY).mkdir()
    (tmp_path / DIRECTORY / "model.tflite").write_bytes(converter.convert())
    flags = f"--model_base_path={tmp_path}", "--prefer_tflite_model=true"
    with running(*flags, wait=False) as server:
        assert server.process.wait(PATIENCE) == 2
        assert f"{tmp_path} holds no model version" in server.log
