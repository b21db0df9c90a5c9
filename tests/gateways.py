"""Gateways for tests, each in a process of its own: a pytest plugin."""

import contextlib
import http.client
import json
import os
import pathlib
import tempfile
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest
from commands import PATIENCE, ForkedCommand
from servers import wait_until

from serving.client import Address, Client
from serving.client.launch import free_port

if TYPE_CHECKING:
    import openai


class Gateway(NamedTuple):
    """A running gateway.

    Attributes:
      port: Port of HTTP.
      process: Its process.
      log_path: Path of its log.
    """

    port: int
    process: ForkedCommand
    log_path: str

    @property
    def log(self) -> str:
        """The log so far."""
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def client(self, **options) -> "openai.OpenAI":
        """Returns a client of the OpenAI API, which tries each request once."""
        import openai

        options = {"max_retries": 0, "timeout": PATIENCE, **options}
        return openai.OpenAI(base_url=self.url("/v1"), api_key="none", **options)

    def async_client(self) -> "openai.AsyncOpenAI":
        """Returns the same for asyncio."""
        import openai

        return openai.AsyncOpenAI(
            base_url=self.url("/v1"), api_key="none", max_retries=0, timeout=PATIENCE
        )

    def url(self, path: str) -> str:
        """Returns the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def request(self, method: str, path: str, body=None, headers=None):
        """Sends a request; returns the status, the headers, and the answer if it is JSON, parsed.

        Args:
          method: Method of HTTP.
          path: Path.
          body: Bytes, or JSON values.
          headers: Headers by name.
        """
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            text = response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return response.status, response.headers, json.loads(text) if is_json else None

    def metrics(self) -> dict[str, float]:
        """Returns the metrics by name and labels, as the exposition has them."""
        with urllib.request.urlopen(self.url("/metrics"), timeout=PATIENCE) as response:
            lines = response.read().decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}


@contextlib.contextmanager
def running_gateway(backend: str, *flags: str, wait: bool = True) -> Iterator[Gateway]:
    """Runs a gateway while the context lasts, and kills it afterwards.

    Args:
      backend: Address of the model server.
      *flags: Flags other than the port and the address; without a `--model_name` it is "letters".
      wait: Whether to wait until it is healthy.
    """
    port = free_port()
    names = [] if any(flag.startswith("--model_name") for flag in flags) else ["letters"]
    arguments = [f"--backend={backend}", f"--port={port}", *(f"--model_name={n}" for n in names)]
    with tempfile.NamedTemporaryFile() as log:
        command = ["serving", "gateway", *arguments, *flags]
        process = ForkedCommand(command, dict(os.environ), {1: log.name, 2: log.name})
        gateway = Gateway(port, process, log.name)
        try:
            if wait:
                wait_until(lambda: gateway.request("GET", "/health")[0] == 200)
            yield gateway
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def gateway(server):
    """A gateway in front of the model "letters"."""
    with running_gateway(server.address) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log


@pytest.fixture(scope="module")
def openai_client(gateway):
    """A client of the OpenAI API."""
    with gateway.client() as client:
        yield client


@pytest.fixture(scope="module")
def grpc_client(server):
    """A gRPC client of the server behind the gateway, to compare with."""
    with Client(Address(server.address, "letters")) as client:
        yield client
