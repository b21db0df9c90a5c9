"""Versions and models that come and go while a server runs."""

import shutil
import threading
from collections import Counter

import grpc
import pytest
import tensorflow as tf
from conftest import inputs
from servers import (
    AVAILABLE,
    PATIENCE,
    of,
    own_flags,
    predict,
    require_embedded,
    running,
    states,
    status,
    wait_until,
)
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

END = get_model_status_pb2.ModelVersionStatus.END


def push(source, base_path, version):
    """A version appears whole."""
    aside = base_path / f".{version}"
    shutil.copytree(source, aside)
    aside.rename(base_path / str(version))


@pytest.mark.slow
def test_a_new_version_replaces_the_old_one_and_may_be_taken_back(base_path, tmp_path):
    push(base_path / "1", tmp_path, 1)
    with running(*of(tmp_path)) as server:
        channel = server.channel
        push(base_path / "1", tmp_path, 2)
        wait_until(lambda: states(channel) == {2: AVAILABLE, 1: END})
        shutil.rmtree(tmp_path / "2")
        wait_until(lambda: states(channel)[1] == AVAILABLE)
        predict(channel, "generate", inputs(["a"]), version=1)


@pytest.mark.slow
def test_a_version_that_is_broken_or_half_copied_leaves_the_old_one(base_path, tmp_path):
    push(base_path / "1", tmp_path, 1)
    with running(*of(tmp_path), "--load_retry_interval_micros=500000") as server:
        channel = server.channel
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "saved_model.pb").write_bytes(b"no model")
        wait_until(lambda: states(channel).get(2) == END)
        predict(channel, "generate", inputs(["a"]), version=1)
        shutil.copytree(base_path / "1", tmp_path / ".3")
        (data,) = (tmp_path / ".3" / "variables").glob("variables.data-*")
        data.write_bytes(data.read_bytes()[:1000])
        (tmp_path / ".3").rename(tmp_path / "3")
        wait_until(lambda: states(channel).get(3) == END)
        problem = status(channel).model_version_status[0].status
        assert problem.error_code != 0 and problem.error_message
        predict(channel, "generate", inputs(["a"]), version=1)
        shutil.copytree(base_path / "1", tmp_path / "3", dirs_exist_ok=True)  # the rest arrives
        wait_until(lambda: states(channel)[3] == AVAILABLE)
        predict(channel, "generate", inputs(["a"]), version=3)
        assert "Traceback" not in server.log


@pytest.mark.slow
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
    socket = tmp_path / "socket"
    with running(
        f"--model_config_file={file}",
        f"--grpc_socket_path={socket}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        *own_flags(f"--allow_reload={tmp_path}"),
        name="one",
    ) as server:
        channel = grpc.insecure_channel(f"unix:{socket}")
        assert set(states(channel, "many")) == {3, 8}
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "many"
        request.model_spec.version_label = "stable"
        request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(["ab"]))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(request, timeout=PATIENCE).model_spec.version.value == 3
        request.model_spec.version_label = "canary"
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: canary"):
            stub.Predict(request, timeout=PATIENCE)
        file.write_text(text.replace('"stable" value: 3', '"canary" value: 8'))
        wait_until(lambda: stub.Predict(request, timeout=PATIENCE).model_spec.version.value == 8)
        file.write_text("model_config_list { nonsense")
        wait_until(lambda: "Invalid protobuf file" in server.log)
        assert stub.Predict(request, timeout=PATIENCE).model_spec.version.value == 8

        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(
            name="other", base_path=f"{tmp_path}/one", model_platform="tensorflow"
        )
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        models.HandleReloadConfigRequest(reload, timeout=PATIENCE)
        assert states(channel, "other") == {1: AVAILABLE}
        with pytest.raises(grpc.RpcError, match="Could not find any versions of model one"):
            status(channel, "one")


@pytest.mark.slow
def test_no_request_fails_while_versions_are_rolled_in(base_path, tmp_path):
    push(base_path / "1", tmp_path, 1)
    answered, failures, done = Counter(), [], threading.Event()

    def ask(channel):
        while not done.is_set():
            try:
                _, response = predict(channel, "generate", inputs(["ab"], 4))
                answered[response.model_spec.version.value] += 1
            except grpc.RpcError as error:
                failures.append(error.details())

    with running(*of(tmp_path)) as server:
        threads = [threading.Thread(target=ask, args=[server.channel]) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for version in (2, 3):
                push(base_path / "1", tmp_path, version)
                wait_until(lambda version=version: answered[version] > 5)
            wait_until(lambda: states(server.channel)[1] == END)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert not failures and set(answered) == {1, 2, 3}


@pytest.mark.slow
def test_clients_may_name_base_paths_below_a_directory_only(base_path, tmp_path):
    require_embedded()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(base_path)
    reload = model_management_pb2.ReloadConfigRequest()
    one = reload.config.model_config_list.config.add(name="x", model_platform="tensorflow")
    for flags, path, told in (
        ((), base_path, "takes no configuration from clients"),
        ((f"--allow_reload={tmp_path}/models",), base_path, "is not below the directory"),
        ((f"--allow_reload={tmp_path}/models",), tmp_path / "models" / "link", "is not below"),
        ((f"--allow_reload={tmp_path}/models",), tmp_path / "models" / "..", "is not below"),
    ):
        one.base_path = str(path)
        with running(*of(base_path), *flags) as server:
            stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
            with pytest.raises(grpc.RpcError, match=told) as caught:
                stub.HandleReloadConfigRequest(reload, timeout=PATIENCE)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert states(server.channel) == {1: AVAILABLE}
