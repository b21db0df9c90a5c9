"""The services of TensorFlow Serving's gRPC protocol."""

from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from model.errors import InputError
from serving.server import errors, inference, request_scope
from serving.server.errors import RequestError
from serving.server.manager import Manager
from serving.server.memory_budget import GRPC_COPIES, MemoryBudget
from serving.server.metrics import Metrics


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The methods of PredictionService over gRPC."""

    def __init__(self, manager: Manager, metrics: Metrics, budget: MemoryBudget, timeout: float):
        """Configures the service.

        Args:
          manager: Models of the server.
          metrics: Metrics, to which each request is added.
          budget: Memory of all requests.
          timeout: Seconds that a request may take, whatever its own deadline.
        """
        self._manager = manager
        self._metrics = metrics
        self._budget = budget
        self._timeout = timeout

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
        left = context.time_remaining()
        seconds = self._timeout if left is None else min(left, self._timeout)

        def answer() -> Any:
            with (
                self._metrics.record_request(name, api, "GRPC"),
                self._budget.lease(GRPC_COPIES) as lease,
                request_scope.scope(seconds, lambda: not context.is_active(), lease),
            ):
                return method(self._manager, request)

        return _respond(context, answer)


def _respond(context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
    """Returns an answer, or aborts the call with the status of a `RequestError`."""
    try:
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
            self._manager.reload_for_client(request.config)
        except InputError as error:
            raise RequestError("INVALID_ARGUMENT", str(error)) from error
        return model_management_pb2.ReloadConfigResponse()
