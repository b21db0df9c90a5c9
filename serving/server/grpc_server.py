"""TensorFlow Serving's gRPC protocol on ports and sockets."""

from concurrent import futures
from typing import NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from model.errors import InputError
from serving.limits import MAX_MESSAGE_BYTES
from serving.server import listening
from serving.server.grpc_services import ModelService, PredictionService
from serving.server.grpc_threads import Threads
from serving.server.listen_options import ListenOptions
from serving.server.manager import Manager
from serving.server.memory_budget import MemoryBudget
from serving.server.metrics import Metrics

SHUTDOWN_SECONDS = 30.0
"""Seconds that running requests have to finish when the server stops."""


class GrpcServer(NamedTuple):
    """A server that listens, and may have been started.

    Attributes:
      server: Server of the gRPC library.
      health: Its health service.
      addresses: What it listens on, as shown to users.
    """

    server: grpc.Server
    health: health.HealthServicer
    addresses: list[str]

    def start(self) -> None:
        """Begins to answer."""
        self.server.start()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Refuses new requests, and waits for those that run."""
        self.health.enter_graceful_shutdown()
        self.server.stop(SHUTDOWN_SECONDS).wait()


def listen(
    manager: Manager, metrics: Metrics, budget: MemoryBudget, options: ListenOptions
) -> GrpcServer:
    """Returns a server that listens but has not been started.

    Args:
      manager: Models of the server.
      metrics: Metrics of the server.
      budget: Memory of all requests.
      options: Where it listens.

    Raises:
      InputError: If an address cannot be listened on.
    """
    if options.credentials and not _can_serve(options.credentials):
        raise InputError(
            "the keys of --ssl_config_file are no PEM, or do not belong together; give a private "
            "key, its certificate and, for custom_ca, that of an authority"
        )
    threads = Threads(options.grpc_max_threads)
    connections, _ = options.connection_limits
    server = grpc.server(
        threads.other,
        interceptors=[threads],
        # Of two options with one name gRPC takes the first.
        options=[
            *options.channel_arguments,
            ("grpc.max_receive_message_length", options.grpc_max_request_bytes),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(manager, metrics, budget, options.grpc_timeout_in_ms / 1000), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), server)
    health_service = health.HealthServicer()
    health_service.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    names = [
        file.DESCRIPTOR.services_by_name[name].full_name
        for file, name in (
            (prediction_service_pb2, "PredictionService"),
            (model_service_pb2, "ModelService"),
            (health_pb2, "Health"),
        )
    ]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    return GrpcServer(server, health_service, _add_addresses(server, options))


def _add_addresses(server: grpc.Server, options: ListenOptions) -> list[str]:
    """Adds what the options name, and returns it as shown to users."""
    added = []
    if addresses := options.grpc_addresses:
        # The reason why an address cannot be listened on is known to sockets alone.
        sockets = listening.bind(addresses, options.port, "--port")
        port = sockets[0].getsockname()[1]
        for probe in sockets:
            probe.close()
        for address in addresses:
            added.append(listening.shown(address, port))
            _add(server, added[-1], options.credentials, "--port")
    if options.grpc_socket_path:
        _add(server, f"unix:{options.grpc_socket_path}", None, "--grpc_socket_path")
        added.append(f"UNIX socket {options.grpc_socket_path}")
    return added


def _add(
    server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None, flag: str
) -> None:
    try:
        if credentials:
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise InputError(f"{address} cannot be listened on; choose another with {flag}") from error


def _can_serve(credentials: grpc.ServerCredentials) -> bool:
    """Returns whether gRPC can serve with credentials, which it only says when it listens."""
    probe = grpc.server(futures.ThreadPoolExecutor(1))
    try:
        return bool(probe.add_secure_port("127.0.0.1:0", credentials))
    except RuntimeError:
        return False
    finally:
        probe.stop(None)
