"""The embedded server, which speaks TensorFlow Serving's gRPC and REST protocols.

It has the protocol and the flags of `tensorflow_model_server`, for machines without that.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any, NamedTuple

import click
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from model.errors import InputError
from serving.base_path import require_versions
from serving.limits import MAX_MESSAGE_BYTES
from serving.server import deadline, errors, inference, rest
from serving.server.errors import RequestError
from serving.server.manager import LoadOptions, Manager
from serving.server.metrics import Metrics

SHUTDOWN_SECONDS = 30.0
"""Seconds that running requests have to finish when the server stops."""


class ListenOptions(NamedTuple):
    """Options of where a server listens; the names are those of tensorflow_model_server's flags.

    Attributes:
      port: Port for gRPC; 0 for none.
      grpc_socket_path: Path of a UNIX socket for gRPC; empty for none.
      grpc_max_threads: Number of gRPC requests answered at once; more are refused.
      grpc_channel_arguments: Arguments of gRPC's C core, separated by commas, such as
        "grpc.max_connection_age_ms=2000".
      credentials: Credentials for TLS; None for an insecure port.
      rest_api_port: Port for REST; 0 for none.
      rest_api_num_threads: Number of REST requests answered at once.
      rest_api_timeout_in_ms: Milliseconds that a REST request may take.
      monitoring_path: Path of the metrics over REST; empty for none.
    """

    port: int
    grpc_socket_path: str
    grpc_max_threads: int
    grpc_channel_arguments: str
    credentials: grpc.ServerCredentials | None
    rest_api_port: int
    rest_api_num_threads: int
    rest_api_timeout_in_ms: int
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


def _number_or_text(value: str) -> int | str:
    try:
        return int(value)
    except ValueError:
        return value


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The methods of PredictionService over gRPC."""

    def __init__(self, manager: Manager, metrics: Metrics):
        """Serves the models of a manager, and records metrics of each request."""
        self._manager = manager
        self._metrics = metrics

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  the protocol's name
        return self._infer("Predict", inference.predict, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._infer("Classify", inference.classify, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._infer("Regress", inference.regress, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._infer("MultiInference", inference.multi_inference, request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _respond(context, lambda: inference.metadata(self._manager, request))

    def _infer(
        self, api: str, method: Callable, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Runs a method of `inference`, with metrics under the name of its API."""
        spec = request.tasks[:1] if api == "MultiInference" else [request]
        name = spec[0].model_spec.name if spec else ""

        def answer() -> Any:
            with self._metrics.record_request(name, api, "GRPC"):
                return method(self._manager, request)

        return _respond(context, answer)


def _respond(context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
    """Returns an answer, or aborts the call with the status of a `RequestError`."""
    if not context.is_active():  # its client gave up while it waited for a thread
        context.abort(grpc.StatusCode.CANCELLED, "Cancelled")
    try:
        with deadline.scope(context.time_remaining()):
            return answer()
    except RequestError as error:
        context.abort(grpc.StatusCode[error.code], error.message)
    except Exception as error:
        context.abort(grpc.StatusCode.INTERNAL, errors.from_unexpected(error).message)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """The methods of ModelService over gRPC."""

    def __init__(self, manager: Manager):
        """Serves the states of a manager's models, and reloads its configuration."""
        self._manager = manager

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _respond(context, lambda: inference.status(self._manager, request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _respond(context, lambda: self._reload(request))

    def _reload(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        if request.config.WhichOneof("config") != "model_config_list":
            raise RequestError(
                "INVALID_ARGUMENT",
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported",
            )
        try:
            self._manager.reload(request.config)
        except InputError as error:
            raise RequestError("INVALID_ARGUMENT", str(error)) from error
        return model_management_pb2.ReloadConfigResponse()


def serve(
    read_config: Callable[[], model_server_config_pb2.ModelServerConfig],
    load_options: LoadOptions,
    listen_options: ListenOptions,
    poll_seconds: float,
    config_poll_seconds: float,
) -> None:
    """Serves models until SIGTERM or SIGINT, and then finishes the running requests.

    Args:
      read_config: Function that reads which models to serve.
      load_options: How versions are loaded.
      listen_options: Where the server listens.
      poll_seconds: Seconds between checks for new versions; 0 for none.
      config_poll_seconds: Seconds between calls of `read_config`; 0 to call it once.

    Raises:
      InputError: If a port is in use or there is nothing to serve.
    """
    metrics = Metrics()
    config = read_config()
    manager = Manager(config, load_options._replace(observe=metrics.record_runtime), _log)
    for model in manager:
        require_versions(model.config.base_path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, health_service = _grpc_server(manager, metrics, listen_options)
    with contextlib.ExitStack() as running:
        manager.refresh()  # before a port answers, the models must be loaded
        _start_rest(running, manager, metrics, listen_options)
        server.start()
        health_service.set("", health_pb2.HealthCheckResponse.SERVING)
        running.callback(lambda: server.stop(SHUTDOWN_SECONDS).wait())
        running.callback(health_service.enter_graceful_shutdown)
        _log(f"Running gRPC ModelServer at 0.0.0.0:{listen_options.port} ...")
        if listen_options.rest_api_port:
            at = f"localhost:{listen_options.rest_api_port}"
            _log(f"Exporting HTTP/REST API at:{at}, playground at http://{at}{rest.PLAYGROUND} ...")
        intervals = [seconds for seconds in (poll_seconds, config_poll_seconds) if seconds]
        last_read = time.monotonic()
        while not stop.wait(min(intervals, default=None)):
            if config_poll_seconds and time.monotonic() - last_read >= config_poll_seconds:
                config, last_read = _reload(manager, read_config, config), time.monotonic()
            if poll_seconds:
                manager.refresh()


def _start_rest(
    running: contextlib.ExitStack, manager: Manager, metrics: Metrics, options: ListenOptions
) -> None:
    """Starts to answer REST requests, where there is a port for them."""
    if options.rest_api_port:
        timeout = options.rest_api_timeout_in_ms / 1000
        application = rest.Application(manager, metrics, options.monitoring_path, timeout)
        running.enter_context(
            rest.serve(application, options.rest_api_port, options.rest_api_num_threads)
        )


def _reload(
    manager: Manager,
    read_config: Callable[[], model_server_config_pb2.ModelServerConfig],
    current: model_server_config_pb2.ModelServerConfig,
) -> model_server_config_pb2.ModelServerConfig:
    """Applies a configuration that has changed, and returns it; an invalid one changes nothing."""
    try:
        new = read_config()
        if new != current:
            manager.reload(new)
        return new
    except (InputError, RequestError) as error:
        _log(str(error))
        return current


def _log(line: str) -> None:
    click.echo(line, err=True)


def _grpc_server(
    manager: Manager, metrics: Metrics, options: ListenOptions
) -> tuple[grpc.Server, health.HealthServicer]:
    """Returns a server that listens but has not been started, and its health service."""
    server = grpc.server(
        futures.ThreadPoolExecutor(options.grpc_max_threads),
        # Of two options with one name gRPC takes the first.
        options=[
            *options.channel_arguments,
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=options.grpc_max_threads,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(manager, metrics), server
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
    if options.port:
        _listen(server, f"0.0.0.0:{options.port}", options.credentials, "--port")
    if options.grpc_socket_path:
        _listen(server, f"unix:{options.grpc_socket_path}", None, "--grpc_socket_path")
    return server, health_service


def _listen(
    server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None, flag: str
) -> None:
    """Adds an address that a flag gives."""
    try:
        if credentials:
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        what = f"port {address.rsplit(':', 1)[1]}" if flag == "--port" else address
        raise InputError(f"{what} is in use; choose another with {flag}") from error
