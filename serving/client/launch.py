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

from serving import tensorflow_model_server
from serving.client.client import DEFAULT_TIMEOUT, Address, Client, ServerError

STARTUP_TIMEOUT = 300.0
"""Seconds that a server may take to load its model."""

MAX_DIRECTORY_BYTES = 80
"""Largest length of the path of temporary files in which a UNIX socket can lie."""

EMBEDDED = (sys.executable, "-m", "serving", "serve")
"""Command of this project's own server."""


@contextlib.contextmanager
def running_server(
    model_name: str, model_base_path: str, timeout: float = DEFAULT_TIMEOUT
) -> Iterator[Client]:
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
      timeout: Seconds that a request may take. Default 60.

    Yields:
      A client of the model.

    Raises:
      ServerError: If the server does not start; the message ends with the last line of its log.
    """
    found = tensorflow_model_server.path()
    base_path = _absolute(model_base_path)
    # TensorFlow Serving runs what XLA compiles only where it is told to.
    flags = ["--xla_cpu_compilation_enabled"] if found else []
    command = [found] if found else EMBEDDED
    with server_process(command, model_name, base_path, *flags, timeout=timeout) as (client, _):
        yield client


@contextlib.contextmanager
def server_process(
    command: Sequence[str],
    model_name: str,
    model_base_path: str,
    *flags: str,
    port: int = 0,
    timeout: float = DEFAULT_TIMEOUT,
) -> Iterator[tuple[Client, subprocess.Popen]]:
    """Runs a model server while the context lasts.

    Without a port, the embedded server listens on a UNIX socket in a directory of this user's own,
    so that nobody else reaches it.

    Args:
      command: Command of the server, without flags.
      model_name: Name under which the model is served.
      model_base_path: Directory with a directory per version.
      *flags: Further flags.
      port: Port for gRPC; 0, the default, for a UNIX socket, or for any free port where the server
        is another one.
      timeout: Seconds that a request of the client may take. Default 60.

    Yields:
      A client of the model, once it is available, and the process.

    Raises:
      ServerError: If the server does not start; the message ends with the last line of its log.
    """
    with tempfile.TemporaryFile("w+") as log, contextlib.ExitStack() as stack:
        if port or tuple(command) != EMBEDDED:
            port = port or free_port()
            address, listen = f"127.0.0.1:{port}", [f"--port={port}"]
        else:
            socket_path = os.path.join(stack.enter_context(_short_directory()), "grpc")
            address, listen = (
                f"unix:{socket_path}",
                ["--port=0", f"--grpc_socket_path={socket_path}"],
            )
        process = subprocess.Popen(
            [
                *_end_with_parent(),
                *command,
                *listen,
                f"--model_name={model_name}",
                f"--model_base_path={model_base_path}",
                *flags,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with Client(Address(address, model_name, timeout)) as client:
                _wait(process, client, log)
                yield client, process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _short_directory() -> tempfile.TemporaryDirectory:
    """Returns a temporary directory of this user's own; a UNIX socket's path has 107 bytes."""
    too_long = len(os.fsencode(tempfile.gettempdir())) > MAX_DIRECTORY_BYTES
    return tempfile.TemporaryDirectory(prefix="serving-", dir="/tmp" if too_long else None)


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
