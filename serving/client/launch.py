"""Starts a model server as a subprocess, for as long as a client needs it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

from serving.client.client import Address, Client, ServerError

STARTUP_TIMEOUT = 300.0
"""Seconds that a server may take to load its model."""

TENSORFLOW_MODEL_SERVER = "tensorflow_model_server"
"""Name of TensorFlow Serving's own server on the PATH."""

EMBEDDED = (sys.executable, "-m", "serving", "serve")
"""Command of this project's own server."""


@contextlib.contextmanager
def running_server(model_name: str, model_base_path: str) -> Iterator[Client]:
    """Serves the newest version under a base path while the context lasts.

    It runs `tensorflow_model_server` where that is on the PATH, and else this project's own server.

    Example:

    >>> from serving.client import running_server
    >>> with running_server("letters", "/models/letters") as client:
    ...     versions = client.available_versions()
    ...     (text,) = client.generate(["abc"], 20)
    >>> versions
    [1]
    >>> len(text.log_probabilities)
    20

    Args:
      model_name: Name under which the model is served.
      model_base_path: Directory with a directory per version.

    Yields:
      A client of the model.

    Raises:
      ServerError: If the server does not start; the message ends with the last line of its log.
    """
    found = shutil.which(TENSORFLOW_MODEL_SERVER)
    base_path = _absolute(model_base_path)
    command = [found] if found else EMBEDDED
    with server_process(command, model_name, base_path) as (client, _):
        yield client


@contextlib.contextmanager
def server_process(
    command: Sequence[str], model_name: str, model_base_path: str, *flags: str, port: int = 0
) -> Iterator[tuple[Client, subprocess.Popen]]:
    """Runs a model server while the context lasts.

    Args:
      command: Command of the server, without flags.
      model_name: Name under which the model is served.
      model_base_path: Directory with a directory per version.
      *flags: Further flags.
      port: Port for gRPC; 0 for any free port.

    Yields:
      A client of the model, once it is available, and the process.

    Raises:
      ServerError: If the server does not start; the message ends with the last line of its log.
    """
    port = port or free_port()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [
                *_end_with_parent(),
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


def free_port() -> int:
    """Returns a port of this machine that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _absolute(path: str) -> str:
    """Returns a local path as an absolute one, which tensorflow_model_server requires."""
    return path if "://" in path else os.path.abspath(path)


def _end_with_parent() -> list[str]:
    """Returns a command prefix that has the kernel end the server when this process is killed."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL", "--"] if found else []


def _wait(process: subprocess.Popen, client: Client, log: IO[str]) -> None:
    """Waits until the model is available."""
    deadline = time.monotonic() + STARTUP_TIMEOUT
    while True:
        with contextlib.suppress(ServerError):
            if client.available_versions():
                return
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            last_line = (log.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ServerError("UNAVAILABLE", f"the model server did not start: {last_line}")
        time.sleep(0.1)
