"""An embedded server that speaks TensorFlow Serving's gRPC and REST protocols.

It has the protocol and the flags of `tensorflow_model_server`, for machines that have none.
"""

import contextlib
import functools
import signal
import threading
from concurrent import futures

import click
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from model.errors import InputError
from serving import rest
from serving.client import MAX_MESSAGE_BYTES
from serving.models import DEFAULT_SIGNATURE, Model, RequestError, require_versions

SECONDS_TO_FINISH = 10.0  # given to running requests when the server is told to stop


def _answers(method):
    """Turns `RequestError` into the status it stands for."""

    @functools.wraps(method)
    def handler(self, request, context):
        try:
            return method(self, request)
        except RequestError as error:
            context.abort(grpc.StatusCode[error.code], error.message)

    return handler


class Models:
    """The models of a server, by name."""

    def __init__(self, models: list[Model]):
        self._models = {model.name: model for model in models}

    def __iter__(self):
        return iter(self._models.values())

    def find(self, name: str) -> Model | None:
        """The model of this name."""
        return self._models.get(name)

    def servable(self, spec):
        """The servable a ModelSpec asks for, and its model.

        Raises:
          RequestError: if there is none.
        """
        version = spec.version.value if spec.HasField("version") else None
        model = self.find(spec.name)
        if model is None:
            model = Model(spec.name, "")
        return model.servable(version)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, models: Models):
        self._models = models

    @_answers
    def Predict(self, request):  # noqa: N802  the protocol's name
        if not request.HasField("model_spec"):
            raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")
        servable = self._models.servable(request.model_spec)
        name = request.model_spec.signature_name
        outputs = servable.predict(name, dict(request.inputs), list(request.output_filter))
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, request.model_spec, servable)
        response.model_spec.signature_name = name or DEFAULT_SIGNATURE
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(value)
        return response

    @_answers
    def GetModelMetadata(self, request):  # noqa: N802
        if not request.HasField("model_spec"):
            raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")
        if not request.metadata_field:
            message = "GetModelMetadataRequest must specify at least one metadata_field"
            raise RequestError("INVALID_ARGUMENT", message)
        for field in request.metadata_field:
            if field != "signature_def":
                raise RequestError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        servable = self._models.servable(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, request.model_spec, servable)
        response.metadata["signature_def"].Pack(signatures)
        return response


def _fill_spec(spec, asked, servable):
    spec.name = asked.name
    spec.version.value = servable.version


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, models: Models):
        self._models = models

    @_answers
    def GetModelStatus(self, request):  # noqa: N802
        spec = request.model_spec
        model = self._models.find(spec.name)
        versions = model.versions if model else []
        if not versions:
            raise RequestError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        if spec.HasField("version"):
            versions = [version for version in versions if version == spec.version.value]
        if not versions:
            message = f"Could not find version {spec.version.value} of model {spec.name}"
            raise RequestError("NOT_FOUND", message)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in versions:
            response.model_version_status.add(
                version=version, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
            )
        return response

    @_answers
    def HandleReloadConfigRequest(self, request):  # noqa: N802
        """Loads what is new under the base paths; the set of models itself is fixed."""
        for config in request.config.model_config_list.config:
            model = self._models.find(config.name)
            if model is None or model.base_path != config.base_path:
                raise RequestError(
                    "FAILED_PRECONDITION",
                    f"this server serves a fixed set of models, without {config.name} at "
                    f"{config.base_path}; start another server for it",
                )
        for model in self._models:
            model.refresh()
        return model_management_pb2.ReloadConfigResponse()


def serve(
    model_name: str,
    model_base_path: str,
    port: int,
    rest_api_port: int,
    poll_seconds: float,
    grpc_max_threads: int,
) -> None:
    """Serves a model until SIGTERM or SIGINT, then finishes what is running.

    Args:
      model_name: what requests call the model.
      model_base_path: the directory with a directory per version.
      port: for gRPC.
      rest_api_port: for REST; 0 for none.
      poll_seconds: seconds between looks for a new version; 0 for no looks.
      grpc_max_threads: requests answered at once.

    Raises:
      InputError: if a port is in use or there is nothing to serve.
    """
    require_versions(model_base_path)
    model = Model(model_name, model_base_path)
    models = Models([model])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = _grpc_server(models, port, grpc_max_threads)
    with contextlib.ExitStack() as running:
        if rest_api_port:
            running.enter_context(rest.serving_at(models, rest_api_port))
        model.refresh()
        server.start()
        running.callback(lambda: server.stop(SECONDS_TO_FINISH).wait())
        click.echo(f"Running gRPC ModelServer at 0.0.0.0:{port} ...", err=True)
        while not stop.wait(poll_seconds or None):
            try:
                if model.refresh():
                    click.echo(f"serving version {model.versions[0]} of {model_name}", err=True)
            except InputError as error:
                click.echo(str(error), err=True)


def _grpc_server(models, port, max_threads):
    server = grpc.server(
        futures.ThreadPoolExecutor(max_threads),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(models), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models), server)
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"0.0.0.0:{port}")
    except RuntimeError as error:
        raise InputError(f"port {port} is in use; choose another with --port") from error
    return server
