"""An embedded server that speaks TensorFlow Serving's gRPC and REST protocols.

It has the protocol and the flags of `tensorflow_model_server`, for machines that have none.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple

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

SECONDS_TO_FINISH = 30.0  # given to running requests when the server is told to stop


class ListenOptions(NamedTuple):
    """Where and how a server listens; the names are those of tensorflow_model_server's flags.

    Attributes:
      port: for gRPC; 0 for none.
      grpc_socket_path: a UNIX socket for gRPC; empty for none.
      grpc_max_threads: gRPC requests answered at once; more are refused.
      grpc_channel_arguments: options of gRPC's C core, as in "grpc.max_connection_age_ms=2000",
        with commas between them.
      credentials: for TLS; None for none.
      rest_api_port: for REST; 0 for none.
      rest_api_num_threads: REST requests answered at once.
      rest_api_timeout_in_ms: how long an answer to a REST request may take.
      monitoring_path: where REST has the metrics; empty for nowhere.
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
        """What `grpc_channel_arguments` says; what is an integer, as one.

        Raises:
          InputError: if it is no list of such options.
        """
        pairs = [part.partition("=") for part in self.grpc_channel_arguments.split(",") if part]
        if not all(name and equals for name, equals, _ in pairs):
            raise InputError(
                f"--grpc_channel_arguments {self.grpc_channel_arguments} is not of the form "
                "name=value,name=value; mend it"
            )
        return [(name, _number_or_text(value)) for name, _, value in pairs]


def _number_or_text(value):
    try:
        return int(value)
    except ValueError:
        return value


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The methods of `inference` over gRPC."""

    def __init__(self, manager: Manager, metrics: Metrics):
        self._manager = manager
        self._metrics = metrics

    def Predict(self, request, context):  # noqa: N802  the protocol's name
        return self._answer("Predict", inference.predict, request, context)

    def Classify(self, request, context):  # noqa: N802
        return self._answer("Classify", inference.classify, request, context)

    def Regress(self, request, context):  # noqa: N802
        return self._answer("Regress", inference.regress, request, context)

    def MultiInference(self, request, context):  # noqa: N802
        return self._answer("MultiInference", inference.multi_inference, request, context)

    def GetModelMetadata(self, request, context):  # noqa: N802
        return _answered(context, lambda: inference.metadata(self._manager, request))

    def _answer(self, api, method, request, context):
        spec = request.tasks[:1] if api == "MultiInference" else [request]
        name = spec[0].model_spec.name if spec else ""

        def answer():
            with self._metrics.request(name, api, "GRPC"):
                return method(self._manager, request)

        return _answered(context, answer)


def _answered(context, answer: Callable):
    """Answers, or turns `RequestError` into the status it stands for."""
    if not context.is_active():  # it has waited for a thread longer than its client for it
        context.abort(grpc.StatusCode.CANCELLED, "Cancelled")
    try:
        with deadline.within(context.time_remaining()):
            return answer()
    except RequestError as error:
        context.abort(grpc.StatusCode[error.code], error.message)
    except Exception as error:
        context.abort(grpc.StatusCode.INTERNAL, errors.unexpected(error).message)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, manager: Manager):
        self._manager = manager

    def GetModelStatus(self, request, context):  # noqa: N802
        return _answered(context, lambda: inference.status(self._manager, request))

    def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        return _answered(context, lambda: self._reload(request))

    def _reload(self, request):
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
    config: Callable[[], model_server_config_pb2.ModelServerConfig],
    options: LoadOptions,
    listening: ListenOptions,
    poll_seconds: float,
    config_poll_seconds: float,
) -> None:
    """Serves models until SIGTERM or SIGINT, then finishes what is running.

    Args:
      config: reads which models.
      options: how they are loaded.
      listening: where and how.
      poll_seconds: seconds between looks for new versions; 0 for no looks.
      config_poll_seconds: seconds between readings of the configuration; 0 for one reading.

    Raises:
      InputError: if a port is in use or there is nothing to serve.
    """
    metrics = Metrics()
    current = config()
    manager = Manager(current, options._replace(observe=metrics.runtime), _log)
    for model in manager:
        require_versions(model.config.base_path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, healthy = _grpc_server(manager, metrics, listening)
    with contextlib.ExitStack() as running:
        manager.refresh()  # who finds one of the ports answering may expect the models to be there
        if listening.rest_api_port:
            application = rest.Application(
                manager,
                metrics,
                listening.monitoring_path,
                listening.rest_api_timeout_in_ms / 1000,
            )
            running.enter_context(
                rest.serving_at(
                    application, listening.rest_api_port, listening.rest_api_num_threads
                )
            )
        server.start()
        healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        running.callback(lambda: server.stop(SECONDS_TO_FINISH).wait())
        running.callback(healthy.enter_graceful_shutdown)
        _log(f"Running gRPC ModelServer at 0.0.0.0:{listening.port} ...")
        if listening.rest_api_port:
            at = f"localhost:{listening.rest_api_port}"
            _log(f"Exporting HTTP/REST API at:{at}, playground at http://{at}{rest.PLAYGROUND} ...")
        waits = [seconds for seconds in (poll_seconds, config_poll_seconds) if seconds]
        read = time.monotonic()
        while not stop.wait(min(waits, default=None)):
            if config_poll_seconds and time.monotonic() - read >= config_poll_seconds:
                current, read = _reloaded(manager, config, current), time.monotonic()
            if poll_seconds:
                manager.refresh()


def _reloaded(manager, config, current):
    """Puts a configuration that has changed into effect; one that is wrong changes nothing."""
    try:
        new = config()
        if new != current:
            manager.reload(new)
        return new
    except (InputError, RequestError) as error:
        _log(str(error))
        return current


def _log(line):
    click.echo(line, err=True)


def _grpc_server(manager, metrics, listening):
    server = grpc.server(
        futures.ThreadPoolExecutor(listening.grpc_max_threads),
        # Of two options with one name gRPC takes the first.
        options=[
            *listening.channel_arguments,
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=listening.grpc_max_threads,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(manager, metrics), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = [
        file.DESCRIPTOR.services_by_name[name].full_name
        for file, name in (
            (prediction_service_pb2, "PredictionService"),
            (model_service_pb2, "ModelService"),
            (health_pb2, "Health"),
        )
    ]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    if listening.port:
        _listen(server, f"0.0.0.0:{listening.port}", listening.credentials, "--port")
    if listening.grpc_socket_path:
        _listen(server, f"unix:{listening.grpc_socket_path}", None, "--grpc_socket_path")
    return server, healthy


def _listen(server, address, credentials, flag):
    try:
        if credentials:
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        what = f"port {address.rsplit(':', 1)[1]}" if flag == "--port" else address
        raise InputError(f"{what} is in use; choose another with {flag}") from error
