"""The cases by which tensorflow_model_server is tested, with models of half of x and something.

After tensorflow_serving/model_servers/tensorflow_model_server_test.py of TensorFlow Serving.
"""

import grpc
import pytest
import tensorflow as tf
from servers import AVAILABLE, PATIENCE, page, rest, running, states, status, wait_until
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

VERSION = 123
BATCHING = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 64
allowed_batch_sizes: 128
"""


def export_half_plus(addend, path):
    """A model of y = x / 2 + addend, of x2 and y3 besides, with a signature of each method."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        half = tf.compat.v1.get_variable("half", initializer=0.5)
        serialized = tf.compat.v1.placeholder(tf.string, [None], "examples")
        feature = tf.io.FixedLenFeature([1], tf.float32)
        parsed = tf.io.parse_example(serialized, {"x": feature})["x"]
        x = tf.compat.v1.placeholder(tf.float32, [None], "x")
        y, of_examples = half * x + addend, half * parsed + addend
        session.run(tf.compat.v1.global_variables_initializer())
        make = tf.compat.v1.saved_model.signature_def_utils
        info = tf.compat.v1.saved_model.build_tensor_info
        serving = "tensorflow/serving/"
        signatures = {
            "serving_default": make.predict_signature_def({"x": x}, {"y": y}),
            "classify_x_to_y": make.build_signature_def(
                {"inputs": info(serialized)}, {"scores": info(of_examples)}, f"{serving}classify"
            ),
            "regress_x_to_y": make.build_signature_def(
                {"inputs": info(serialized)}, {"outputs": info(of_examples)}, f"{serving}regress"
            ),
        }
        builder = tf.compat.v1.saved_model.Builder(str(path / str(VERSION)))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return path


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


def prediction(channel, name="default", specify_output=True):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add().size = 1
    if specify_output:
        request.output_filter.append("y")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=PATIENCE)
    assert is_of(response.model_spec, name, "serving_default")
    assert list(response.outputs) == ["y"]
    (value,) = response.outputs["y"].float_val
    return value


def is_of(spec, name, signature):
    return (spec.name, spec.signature_name, spec.version.value) == (name, signature, VERSION)


def test_status(server):
    (one,) = status(server[0].channel, "default").model_version_status
    assert (one.version, one.state, one.status.error_code) == (VERSION, AVAILABLE, 0)


@pytest.mark.parametrize("specify_output", [True, False])
def test_predict(server, specify_output):
    assert prediction(server[0].channel, specify_output=specify_output) == 3.0


def test_predict_over_a_unix_socket(server):
    assert prediction(server[1]) == 3.0


def test_classify_regress_and_multi_inference(server):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server[0].channel)
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
    ],
)
def test_rest(server, method, body, expected):
    assert rest(server[0], f"/v1/models/default:{method}", body) == (200, expected)


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
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            prediction(channel, "half_plus_two")


def test_a_bad_configuration_is_named(tmp_path):
    file = tmp_path / "bad.config"
    file.write_text("improperly formatted file!\n")
    with running(f"--model_config_file={file}", wait=False) as server:
        assert server.process.wait(PATIENCE) != 0
        assert f"Invalid protobuf file: '{file}'" in server.log


def test_a_bad_model_is_not_served(tmp_path):
    (tmp_path / str(VERSION)).mkdir()
    (tmp_path / str(VERSION) / "saved_model.pb").write_bytes(b"bad")
    with running(f"--model_base_path={tmp_path}", wait=False) as server:
        wait_until(lambda: states(server.channel, "default"))
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            prediction(server.channel)
