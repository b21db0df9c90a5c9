"""The life of the gateway: it listens, answers, and ends what runs before it stops."""

import asyncio
import contextlib
import pathlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import grpc
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from model.errors import InputError
from serving.gateway import application
from serving.gateway.admission import Admission
from serving.gateway.connections import limited_protocol
from serving.gateway.metrics import Metrics
from serving.gateway.options import GatewayOptions
from serving.server import listening
from serving.server.http_checks import Checks

_HEAD_BYTES = 1 << 16


def run(options: GatewayOptions) -> None:
    """Runs the gateway until SIGTERM or SIGINT.

    Requests that run then have some seconds to end; a second signal ends them at once.

    Args:
      options: Options of the gateway.

    Raises:
      InputError: If an address cannot be listened on, or the file of the authority be read.
    """
    server, sockets = build(options), take_port(options)

    def stop(*_: Any) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    announce(options, sockets)
    asyncio.run(server.serve(sockets))


def take_port(options: GatewayOptions, flag: str = "--port") -> list[socket.socket]:
    """Returns the sockets of a gateway, on which nobody answers yet.

    Args:
      options: Options of the gateway.
      flag: Flag that gives the port, for the message.

    Raises:
      InputError: If an address cannot be listened on.
    """
    return listening.bind(listening.addresses_of(options.host), options.port, flag)


def build(
    options: GatewayOptions, flags: str = "--", names: Callable[[], Sequence[str]] | None = None
) -> "Server":
    """Returns a gateway that does not run yet.

    Args:
      options: Options of the gateway.
      flags: Beginning of the names of the flags that allow hosts and origins, for messages.
      names: Function that returns the names of the models. Default: those of the options.

    Raises:
      InputError: If the file of the authority cannot be read.
    """
    addresses = listening.addresses_of(options.host)
    checks = Checks.at(addresses, options.host, options.allowed_hosts, options.allowed_origins)
    metrics = Metrics()
    admitted: ASGIApp = Admission(
        application.build(options, _credentials(options.backend_ca_file), metrics, names),
        options,
        checks._replace(flags=flags),
        metrics,
    )
    origins = options.allowed_origins.lower().replace(" ", "").split(",")
    if origins != [""] and options.enable_cors_support:
        # Around the admission: a page is to see why it was refused, too.
        admitted = CORSMiddleware(
            admitted,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    config = uvicorn.Config(
        admitted,
        http=limited_protocol(options.max_connections),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_graceful_shutdown=max(1, round(options.grace_seconds)),
    )
    return Server(config)


def announce(options: GatewayOptions, sockets: Sequence[socket.socket]) -> None:
    """Says where a gateway listens."""
    places = (f"http://{listening.shown(*taken.getsockname()[:2])}" for taken in sockets)
    click.echo(f"Gateway at {', '.join(places)} in front of {options.backend} ...", err=True)


class Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _credentials(path: str) -> grpc.ChannelCredentials | None:
    if not path:
        return None
    try:
        return grpc.ssl_channel_credentials(pathlib.Path(path).read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; give a PEM file with --backend_ca_file"
        ) from error
