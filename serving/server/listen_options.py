"""The options of where the server listens and how much it takes."""

from typing import NamedTuple

import grpc

from model.errors import InputError
from serving.limits import MAX_CONNECTIONS
from serving.server import listening

_FILES = 256
"""File descriptors left for files, models and the connections of TensorFlow."""

_DESCRIPTORS_PER_REST_CONNECTION = 3  # the socket, and files that large bodies overflow into


class ListenOptions(NamedTuple):
    """Options of where a server listens; the names are those of the flags.

    Attributes:
      host: Name or address to listen on; empty for this machine alone.
      port: Port for gRPC; 0 for none, `serve_flags.ANY_PORT` for any that is free.
      grpc_socket_path: Path of a UNIX socket for gRPC; empty for none.
      grpc_max_threads: Number of gRPC requests answered at once; more are refused.
      grpc_channel_arguments: Arguments of gRPC's C core, separated by commas, such as
        "grpc.max_connection_age_ms=2000".
      grpc_max_request_bytes: Largest size of a gRPC request.
      grpc_timeout_in_ms: Milliseconds that a gRPC request may take, whatever its deadline.
      credentials: Credentials for TLS; None for an insecure port.
      rest_api_host: Name or address for REST; empty for `host`.
      rest_api_port: Port for REST, likewise.
      rest_api_num_threads: Number of REST requests answered at once.
      rest_api_timeout_in_ms: Milliseconds that a REST request may take.
      rest_api_max_request_bytes: Largest size of the body of a REST request, unpacked.
      rest_api_allowed_hosts: Names by which clients may call the server, separated by commas; "*"
        for any; empty for those of the addresses it listens on.
      rest_api_allowed_origins: Origins of pages that may send requests, separated by commas, such
        as "https://example.com"; "*" for any; empty for the server's own pages.
      rest_api_enable_cors_support: Whether answers tell browsers that they may show them to pages
        of these origins, or of any where none is given.
      max_request_memory_bytes: Memory that all requests together may take, by the formula of
        `memory_budget`.
      monitoring_path: Path of the metrics over REST; empty for none.
    """

    host: str
    port: int
    grpc_socket_path: str
    grpc_max_threads: int
    grpc_channel_arguments: str
    grpc_max_request_bytes: int
    grpc_timeout_in_ms: int
    credentials: grpc.ServerCredentials | None
    rest_api_host: str
    rest_api_port: int
    rest_api_num_threads: int
    rest_api_timeout_in_ms: int
    rest_api_max_request_bytes: int
    rest_api_allowed_hosts: str
    rest_api_allowed_origins: str
    rest_api_enable_cors_support: bool
    max_request_memory_bytes: int
    monitoring_path: str

    @property
    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """Names and values of `grpc_channel_arguments`; numbers are integers.

        Raises:
          InputError: If it is not a list of such arguments.
        """
        pairs = [part.partition("=") for part in self.grpc_channel_arguments.split(",") if part]
        if not all(name and equals for name, equals, _ in pairs):
            raise InputError(
                f"--grpc_channel_arguments {self.grpc_channel_arguments} is not of the form "
                "name=value,name=value; fix it"
            )
        return [(name, _number_or_text(value)) for name, _, value in pairs]

    @property
    def grpc_addresses(self) -> list[str]:
        """Numeric addresses for gRPC; none without a port."""
        return listening.addresses_of(self.host) if self.port else []

    @property
    def rest_addresses(self) -> list[str]:
        """Numeric addresses for REST; none without a port."""
        if not self.rest_api_port:
            return []
        if self.rest_api_host:
            return listening.addresses_of(self.rest_api_host, "--rest_api_host")
        return listening.addresses_of(self.host)

    def check(self) -> None:
        """Checks that the options go together.

        Raises:
          InputError: If they do not.
        """
        _ = self.channel_arguments, self.grpc_addresses
        rest_addresses = self.rest_addresses
        if not (self.port or self.grpc_socket_path or self.rest_api_port):
            raise InputError(
                "there is nothing to listen on; give --port, --grpc_socket_path or --rest_api_port"
            )
        if self.port == self.rest_api_port > 0:
            raise InputError(
                f"--port and --rest_api_port are both {self.port}; give REST a port of its own"
            )
        if self.credentials and not listening.is_loopback(rest_addresses):
            raise InputError(
                "--ssl_config_file protects gRPC alone, and REST would be open to other machines; "
                "give --rest_api_host=127.0.0.1, or --rest_api_port=0"
            )
        if self.grpc_socket_path:
            listening.check_socket_path(self.grpc_socket_path)

    @property
    def connection_limits(self) -> tuple[int, int]:
        """Largest numbers of connections, of gRPC for each address and of REST in all.

        Together they leave file descriptors for files, as a server that can open none cannot load
        the next version.
        """
        descriptors = listening.max_descriptors()
        half = (descriptors - min(_FILES, descriptors // 2)) // 2
        per_address = half // max(1, len(self.grpc_addresses) + bool(self.grpc_socket_path))
        rest = half // _DESCRIPTORS_PER_REST_CONNECTION
        return max(1, min(MAX_CONNECTIONS, per_address)), max(1, min(MAX_CONNECTIONS, rest))


def _number_or_text(value: str) -> int | str:
    try:
        number = int(value)
    except ValueError:
        return value
    if not -(2**31) <= number < 2**31:
        raise InputError(
            f"{value[:30]} in --grpc_channel_arguments is beyond 32 bits; give a smaller number"
        )
    return number
