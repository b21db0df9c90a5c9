"""Clients that hurt a server, each in a thread: `Hostility` runs them beside honest ones."""

import contextlib
import http.client
import json
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import status_watch
from benchmarks.embedded_server import MODEL, Server

IDLE_CONNECTIONS = 300
SLOW_READERS = 20
SECONDS_BETWEEN_VERSIONS = 20.0
NO_REQUESTS = (b"{", b'{"instances": ' + b"[" * 5000, b'{"inputs": {"prompt": [1]}}')


class Hostility:
    """All kinds of hostile clients of one server.

    Attributes:
      sent: Number of hostile acts, by their kind.
      status_seconds: Seconds of each call of GetModelStatus meanwhile, infinite if it failed; known
        at the end.
    """

    def __init__(self, server: Server, base_path: str):
        """Describes the clients; `running` starts them.

        Args:
          server: The server.
          base_path: Base path of its model, to which versions are added.
        """
        self.sent: Counter[str] = Counter()
        self.status_seconds: list[float] = []
        self._server = server
        self._base_path = pathlib.Path(base_path)
        self._done = threading.Event()
        self._newest = 1

    @contextlib.contextmanager
    def running(self) -> Iterator["Hostility"]:
        """Runs the clients while the context lasts."""
        acts: list[Callable[[], None]] = [
            self._hurry,
            self._hurry,
            self._vanish,
            self._send_nonsense,
            self._send_what_is_too_large,
            self._read_slowly,
            self._idle,
            self._roll_versions,
        ]
        threads = [threading.Thread(target=self._repeat, args=[act]) for act in acts]
        watch = subprocess.Popen(
            [sys.executable, "-c", status_watch.COMMAND, self._server.address.server, MODEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None  # it is a pipe
        watch.stdout.readline()  # its imports take seconds, in which it would measure nothing
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._done.set()
            told, _ = watch.communicate()
            for thread in threads:
                thread.join()
            self.status_seconds = json.loads(told)

    def _repeat(self, act: Callable[[], None]) -> None:
        import grpc

        while not self._done.wait(0.01):
            # Refusals are what hostile clients are to get.
            with contextlib.suppress(grpc.RpcError, OSError, http.client.HTTPException):
                act()
            self.sent[act.__name__.strip("_")] += 1

    def _call(self, signature: str, deadline: float, patience: float, **inputs: Any) -> None:
        """Calls Predict, and hangs up where there is no answer in time.

        Args:
          signature: Name of the signature.
          deadline: Seconds of the deadline that the server is told.
          patience: Seconds until the client hangs up.
          **inputs: Inputs of the signature.
        """
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        from serving.protocol import predict_request

        with grpc.insecure_channel(self._server.address.server) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            future = stub.Predict.future(predict_request(MODEL, signature, inputs), deadline)
            with contextlib.suppress(grpc.FutureTimeoutError):
                future.exception(patience)
            future.cancel()

    def _hurry(self) -> None:
        """Asks for more than there is time for."""
        deadline = random.uniform(0.02, 0.1)
        lengths = np.array([2000], np.int32)
        self._call("generate", deadline, 1, prompt=_texts(["a"]), length=lengths)

    def _vanish(self) -> None:
        """Asks for long texts, and hangs up."""
        lengths = np.array([10_000], np.int32)
        self._call("generate", 60, 0.5, prompt=_texts(["a"] * 64), length=lengths)

    def _send_what_is_too_large(self) -> None:
        """Asks for gigabytes in a few bytes, and for as much as just may be."""
        rows = _texts(["a"] * 64)
        alternatives = np.array([20], np.int32)
        lengths = np.array([10_000], np.int32)
        self._call("generate", 60, 2, prompt=rows, length=lengths, alternatives=alternatives)
        self._call("inspect", 30, 30, text=_texts(["a" * 1000] * random.choice([1, 4, 64])))
        self._call("score", 30, 30, text=_texts(["a" * 10_000] * random.choice([1, 8])))

    def _send_nonsense(self) -> None:
        """Sends bytes that are no request, to both ports."""
        noise = random.randbytes(random.randrange(1, 3000))
        body = random.choice(NO_REQUESTS)
        port = int(self._server.address.server.rsplit(":", 1)[1])
        for target in (port, self._server.rest_port):
            with socket.create_connection(("127.0.0.1", target), 10) as connection:
                connection.sendall(noise)
        client = http.client.HTTPConnection("127.0.0.1", self._server.rest_port, timeout=30)
        with contextlib.closing(client):
            client.request("POST", f"/v1/models/{MODEL}:predict", body)
            client.getresponse().read()

    def _read_slowly(self) -> None:
        """Asks for long answers, and does not read them for a while."""
        inputs = {"prompt": ["a"], "length": [2000], "alternatives": [6]}
        body = json.dumps({"signature_name": "generate", "inputs": inputs}).encode()
        head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        self._hold(SLOW_READERS, head.encode() + body, 10)

    def _idle(self) -> None:
        """Opens connections, and says nothing."""
        self._hold(IDLE_CONNECTIONS, b"", 5)

    def _hold(self, count: int, content: bytes, seconds: float) -> None:
        with contextlib.ExitStack() as connections:
            for _ in range(count):
                address = ("127.0.0.1", self._server.rest_port)
                connection = connections.enter_context(socket.create_connection(address, 10))
                connection.sendall(content)
            self._done.wait(seconds)

    def _roll_versions(self) -> None:
        """Adds versions, every second of them broken, and removes old ones."""
        self._done.wait(SECONDS_BETWEEN_VERSIONS)
        self._newest += 1
        aside = self._base_path / f".{self._newest}"
        shutil.copytree(self._base_path / "1", aside)
        if self._newest % 2:
            (aside / "saved_model.pb").write_bytes(random.randbytes(1000))
        aside.rename(self._base_path / str(self._newest))
        if self._newest > 5:
            shutil.rmtree(self._base_path / str(self._newest - 4))


def _texts(texts: list[str]) -> np.ndarray:
    return np.array([text.encode() for text in texts], object)
