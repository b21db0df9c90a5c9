"""A gateway within the process of the embedded server, in front of it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from model.errors import InputError
from serving.gateway import run
from serving.gateway.options import GatewayOptions
from serving.server.http_checks import allowed_origins
from serving.server.listening import max_descriptors


class GatewayBeside:
    """A gateway that runs in a thread of its own while the server does."""

    def __init__(self, options: GatewayOptions):
        """Takes the port.

        Args:
          options: Options of the gateway, without the address and the models of the server.

        Raises:
          InputError: If the port cannot be taken.
        """
        self._options = options
        self._sockets = run.take_port(options, "--gateway_port")

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> "GatewayBeside":
        """Returns the gateway that the flags of the server ask for.

        Args:
          flags: Values of the flags of `python -m serving serve`, by name.

        Raises:
          InputError: If the server has no port that the gateway can ask.
        """
        if not (flags["port"] or flags["grpc_socket_path"]):
            raise InputError(
                "--gateway_port asks the server over gRPC; give --port or --grpc_socket_path"
            )
        if flags["ssl_config_file"] or flags["use_alts_credentials"]:
            raise InputError(
                "--gateway_port asks the server without TLS; leave it out, and run `python -m "
                "serving gateway --backend_ca_file` beside the server"
            )
        options = GatewayOptions(
            host=flags["rest_api_host"] or flags["host"],
            port=flags["gateway_port"],
            max_backend_calls=max(1, min(32, flags["grpc_max_threads"] // 2)),
            allowed_hosts=flags["rest_api_allowed_hosts"],
            allowed_origins=allowed_origins(
                flags["rest_api_allowed_origins"], flags["rest_api_enable_cors_support"]
            ),
            enable_cors_support=flags["rest_api_enable_cors_support"],
            # So many leave the server the file descriptors that it counts on.
            max_connections=min(GatewayOptions().max_connections, max_descriptors() // 16 or 1),
        )
        return cls(options)

    @contextlib.contextmanager
    def __call__(self, address: str, names: Callable[[], Sequence[str]]) -> Iterator[None]:
        """Answers while the context lasts, and then until the requests that run have ended.

        Args:
          address: Address of the server's gRPC.
          names: Function that returns the names of its models, which a new configuration changes.
        """
        options = self._options._replace(backend=address)
        server = run.build(options, flags="--rest_api_", names=names)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(self._sockets)), daemon=True
        )
        thread.start()
        run.announce(options, self._sockets)
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
