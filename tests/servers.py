"""Model servers for the tests to ask over the wire, and a stock client of them.

`pytest --server` says which: "embedded" (the default), the path of a `tensorflow_model_server`, or
host:port of one that serves the model "letters" from `--server_base_path`, with REST at the port
after that.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client.launch import free_port

PROJECT = pathlib.Path(__file__).resolve().parent.parent
EMBEDDED = "embedded"
PATIENCE = 300.0
"""Seconds after which a wait is taken for one that never ends, on a slow and busy machine."""
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_chosen = {"server": EMBEDDED, "base_path": None}


def configure(server: str, base_path: str | None) -> None:
    """Takes what the command line says."""
    if ":" in server and not base_path:
        raise pytest.UsageError("give --server_base_path with --server=host:port")
    _chosen.update(server=server, base_path=base_path)


def base_path() -> pathlib.Path | None:
    """Where the server that others have started has its model."""
    return pathlib.Path(_chosen["base_path"]) if _chosen["base_path"] else None


class Server(NamedTuple):
    """A server that can be asked.

    Attributes:
      host: where it is.
      port: for gRPC.
      rest_port: for REST.
      channel: to it.
      process: of it; None for one that others have started.
    """

    host: str
    port: int
    rest_port: int
    channel: grpc.Channel
    process: subprocess.Popen | None
    log_path: str = ""

    @property
    def address(self) -> str:
        """For gRPC."""
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """For REST."""
        return f"http://{self.host}:{self.rest_port}{path}"

    @property
    def log(self) -> str:
        """What it has written so far."""
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()


def require_embedded() -> None:
    """Skips a test of what only this project's own server does."""
    if _chosen["server"] != EMBEDDED:
        pytest.skip("of the embedded server alone")


def is_elsewhere() -> bool:
    """Whether others have started the server."""
    return ":" in _chosen["server"]


def elsewhere() -> Server:
    """The server that others have started."""
    address = _chosen["server"]
    host, port = address.rsplit(":", 1)
    return Server(host, int(port), int(port) + 1, grpc.insecure_channel(address), None)


@contextlib.contextmanager
def running(
    *arguments: str, name: str = "letters", wait: bool = True, port: int = 0
) -> Iterator[Server]:
    """Starts a server with flags, and kills it afterwards.

    Args:
      arguments: flags but for the ports.
      name: of a model to wait for.
      wait: whether to wait.
      port: for gRPC; 0 for any.
    """
    if is_elsewhere():
        pytest.skip("needs a server of its own")
    port, rest_port = port or free_port(), free_port()
    command = [_chosen["server"]]
    if command == [EMBEDDED]:
        command = [sys.executable, "-m", "serving", "serve"]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [*command, f"--port={port}", f"--rest_api_port={rest_port}", *arguments],
            cwd=PROJECT, stdout=log, stderr=log,
        )  # fmt: skip
        server = Server("127.0.0.1", port, rest_port, channel, process, log.name)
        try:
            if wait:
                wait_until(lambda: AVAILABLE in states(channel, name).values())
            yield server
        finally:
            channel.close()
            server.kill()


def of(base_path, name: str = "letters") -> tuple[str, str]:
    """Flags to serve one model."""
    return f"--model_name={name}", f"--model_base_path={base_path}"


def wait_until(condition, seconds: float = PATIENCE) -> None:
    """Waits for what is to become true, of a server that may not answer yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(grpc.RpcError, OSError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(channel: grpc.Channel, name: str = "letters"):
    """The states of a model's versions, as ModelService has them."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
        request, timeout=PATIENCE
    )


def states(channel: grpc.Channel, name: str = "letters") -> dict[int, int]:
    """The same by number."""
    return {one.version: one.state for one in status(channel, name).model_version_status}


def predict_request(signature, values, name="letters", version=None):
    """A request, made as the protocol's own documents make it."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in values.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def predict(channel, signature, values, name="letters", version=None, timeout=PATIENCE):
    """Predict: the outputs as arrays, and the response."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request(signature, values, name, version)
    response = stub.Predict(request, timeout=timeout)
    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}, response


def rest(server: Server, path: str, body=None):
    """A REST request: the status, and the answer from JSON."""
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(server.url(path), data, timeout=PATIENCE) as response:
            return 200, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def page(server: Server, path: str) -> str:
    """A page as text."""
    with urllib.request.urlopen(server.url(path), timeout=PATIENCE) as response:
        return response.read().decode()
