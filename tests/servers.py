"""Model servers for tests, and a stock client of them.

`pytest --server` selects one: "embedded" (the default), the path of a `tensorflow_model_server`, or
host:port of a server of the model "letters" from `--server_base_path`, with REST at the next port.
"""

import contextlib
import json
import os
import pathlib
import signal
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
from commands import PATIENCE, PROJECT, ForkedCommand
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client.launch import free_port

EMBEDDED = "embedded"
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
_chosen = {"server": EMBEDDED, "base_path": None}


def configure(server: str, base_path: str | None) -> None:
    """Selects the server that the command line names.

    Args:
      server: Value of `--server`.
      base_path: Value of `--server_base_path`.
    """
    if ":" in server and not base_path:
        raise pytest.UsageError("give --server_base_path with --server=host:port")
    _chosen.update(server=server, base_path=base_path)


def base_path() -> pathlib.Path | None:
    """Returns the base path of a server that was already running; None for other servers."""
    return pathlib.Path(_chosen["base_path"]) if _chosen["base_path"] else None


class Server(NamedTuple):
    """A running server.

    Attributes:
      host: Host of the server.
      port: Port of gRPC.
      rest_port: Port of REST.
      channel: gRPC channel to the server.
      process: Process of the server; None for one that was already running.
      log_path: Path of its log. Default "".
    """

    host: str
    port: int
    rest_port: int
    channel: grpc.Channel
    process: subprocess.Popen | ForkedCommand | None
    log_path: str = ""

    @property
    def address(self) -> str:
        """The host and port of gRPC."""
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """Returns the URL of a path over REST."""
        return f"http://{self.host}:{self.rest_port}{path}"

    @property
    def log(self) -> str:
        """The log so far."""
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def kill(self) -> None:
        """Kills the process."""
        self.process.kill()
        self.process.wait()


def own_flags(*flags: str) -> tuple[str, ...]:
    """Returns flags that only the embedded server has; none for another server."""
    return flags if is_embedded() else ()


def require_embedded(feature: str = "a feature of its own") -> None:
    """Skips a test of a feature that only the embedded server has.

    Args:
      feature: What is tested, for the report.
    """
    if not is_embedded():
        pytest.skip(f"tests the embedded server only: {feature}")


def is_embedded() -> bool:
    """Returns whether the selected server is the embedded one."""
    return _chosen["server"] == EMBEDDED


def end(process: subprocess.Popen | ForkedCommand) -> None:
    """Tells a server to stop, and checks that it ends as servers of its kind do."""
    process.send_signal(signal.SIGTERM)
    # TensorFlow Serving does not handle the signal.
    assert process.wait(PATIENCE) == (0 if is_embedded() else -signal.SIGTERM)


def is_elsewhere() -> bool:
    """Returns whether the selected server was already running."""
    return ":" in _chosen["server"]


def elsewhere() -> Server:
    """Returns the server that was already running."""
    address = _chosen["server"]
    host, port = address.rsplit(":", 1)
    return Server(
        host=host,
        port=int(port),
        rest_port=int(port) + 1,
        channel=grpc.insecure_channel(address),
        process=None,
    )


@contextlib.contextmanager
def running(
    *arguments: str,
    name: str = "letters",
    wait: bool = True,
    port: int = 0,
    fresh: bool = False,
) -> Iterator[Server]:
    """Runs a server while the context lasts, and kills it afterwards.

    Args:
      *arguments: Flags other than the ports.
      name: Name of a model to wait for.
      wait: Whether to wait.
      port: Port for gRPC; 0 for any free port.
      fresh: Whether the embedded server runs in a fresh interpreter, as users start it, which takes
        longer than a fork.
    """
    if is_elsewhere():
        pytest.skip("needs a server of its own")
    port, rest_port = port or free_port(), free_port()
    # As patient as the clients are, on machines of any speed.
    timeout = f"--rest_api_timeout_in_ms={int(1000 * PATIENCE)}"
    flags = [f"--port={port}", f"--rest_api_port={rest_port}", timeout, *arguments]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    with tempfile.NamedTemporaryFile() as log:
        process: subprocess.Popen | ForkedCommand
        if is_embedded() and not fresh:
            printed = {1: log.name, 2: log.name}
            process = ForkedCommand(["serving", "serve", *flags], dict(os.environ), printed)
        else:
            command = [_chosen["server"]]
            if command == [EMBEDDED]:
                command = [sys.executable, "-m", "serving", "serve"]
            process = subprocess.Popen([*command, *flags], cwd=PROJECT, stdout=log, stderr=log)
        server = Server(
            host="127.0.0.1",
            port=port,
            rest_port=rest_port,
            channel=channel,
            process=process,
            log_path=log.name,
        )
        try:
            if wait:
                wait_until(lambda: AVAILABLE in states(channel, name).values())
            yield server
        finally:
            channel.close()
            server.kill()


def of(base_path, name: str = "letters") -> tuple[str, str]:
    """Returns the flags to serve one model."""
    return f"--model_name={name}", f"--model_base_path={base_path}"


def wait_until(condition, seconds: float = PATIENCE) -> None:
    """Waits until a condition on a server is true; the server may not answer yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(grpc.RpcError, OSError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(channel: grpc.Channel, name: str = "letters"):
    """Returns the response of GetModelStatus for a model."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
        request, timeout=PATIENCE
    )


def states(channel: grpc.Channel, name: str = "letters") -> dict[int, int]:
    """Returns the states of a model's versions, by number."""
    return {each.version: each.state for each in status(channel, name).model_version_status}


def predict_request(signature, values, name="letters", version=None):
    """Builds a request as the documentation of the protocol does."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in values.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def predict(channel, signature, values, name="letters", version=None, timeout=PATIENCE):
    """Calls Predict, and returns the outputs as arrays, and the response."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request(signature, values, name, version)
    response = stub.Predict(request, timeout=timeout)
    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}, response


def rest(server: Server, path: str, body=None):
    """Sends a REST request, and returns the status and the parsed JSON of the answer."""
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(server.url(path), data, timeout=PATIENCE) as response:
            return 200, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def page(server: Server, path: str) -> str:
    """Returns a page as text."""
    with urllib.request.urlopen(server.url(path), timeout=PATIENCE) as response:
        return response.read().decode()
