"""Starts a server for a while, to ask it something."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from serving.client.client import Address, Client, ServerError

SECONDS_TO_START = 300.0
TENSORFLOW_MODEL_SERVER = "tensorflow_model_server"
EMBEDDED = (sys.executable, "-m", "serving", "serve")
"""The command of this project's own server."""


@contextlib.contextmanager
def running_server(model_name: str, model_base_path: str) -> Iterator[Client]:
    """Serves the newest version under a base path, and yields a client of it.

    `tensorflow_model_server` is used where it is on the PATH, else this project's own server.

    Raises:
      ServerError: if the server does not come up, with its last words.
    """
    found = shutil.which(TENSORFLOW_MODEL_SERVER)
    base_path = _absolute(model_base_path)
    with process_of([found] if found else EMBEDDED, model_name, base_path) as (client, _):
        yield client


@contextlib.contextmanager
def process_of(
    command: Sequence[str], model_name: str, model_base_path: str, *flags: str, port: int = 0
) -> Iterator[tuple[Client, subprocess.Popen]]:
    """Runs a model server until the context ends, and yields a client of it and its process.

    Args:
      command: of the server.
      model_name: what its model is called; it is waited for.
      model_base_path: where the model's versions are.
      flags: more of them.
      port: for gRPC; 0 for any.

    Raises:
      ServerError: if the server does not come up, with its last words.
    """
    port = port or free_port()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [
                *_dies_with_parent(),
                *command,
                f"--port={port}",
                f"--model_name={model_name}",
                f"--model_base_path={model_base_path}",
                *flags,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with Client(Address(f"127.0.0.1:{port}", model_name)) as client:
                _wait(process, client, log)
                yield client, process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _absolute(path):
    """The path as tensorflow_model_server wants it."""
    return path if "://" in path else os.path.abspath(path)


def _dies_with_parent():
    """A prefix that has the kernel end the server when this process is killed."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL", "--"] if found else []


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process, client, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        with contextlib.suppress(ServerError):
            if client.available_versions():
                return
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            words = (log.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ServerError("UNAVAILABLE", f"the model server did not start: {words}")
        time.sleep(0.1)
