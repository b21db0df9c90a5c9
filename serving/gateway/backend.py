"""Calls of the model server, over gRPC, as many at once as it shall compute."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client.client import Address
from serving.gateway.errors import of_backend
from serving.gateway.metrics import Metrics
from serving.protocol import set_model


class Backend:
    """A model server, stock or embedded.

    Every method raises `ApiError` where the call fails. A call whose task is cancelled is cancelled
    on the server, too.
    """

    def __init__(self, address: Address, max_calls: int, metrics: Metrics):
        """Opens a channel; it must be called within a running event loop.

        Args:
          address: Address of the server, and the seconds that a call may take.
          max_calls: Number of calls of Predict at once; more wait in their order.
          metrics: Metrics, to which each call is added.
        """
        self._timeout = address.timeout
        self._turns = asyncio.Semaphore(max_calls)
        self._metrics = metrics
        self._channel = address.open_channel(grpc.aio)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def predict(
        self, request: predict_pb2.PredictRequest, wait_for_ready: bool = False
    ) -> predict_pb2.PredictResponse:
        """Calls a signature.

        Args:
          request: The request.
          wait_for_ready: Whether to wait for a server that does not answer, as within a text that
            it has begun; others are told at once.
        """
        begun = time.perf_counter()
        async with self._turns:
            self._metrics.waited(time.perf_counter() - begun)
            return await self._call(self._prediction.Predict, request, wait_for_ready)

    async def metadata(
        self, model: str, version: int | None
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the description of a model's signatures.

        Args:
          model: Name of the model.
          version: Number of the version; None for the newest.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        set_model(request.model_spec, model, version)
        return await self._call(self._prediction.GetModelMetadata, request)

    async def available_versions(self, model: str) -> list[int]:
        """Returns the numbers of a model's versions that answer requests, ascending."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        response = await self._call(self._model.GetModelStatus, request)
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return sorted(
            one.version for one in response.model_version_status if one.state == available
        )

    async def _call(self, method: Callable, request: Any, wait_for_ready: bool = False) -> Any:
        try:
            return await method(request, timeout=self._timeout, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            self._metrics.count_backend_error(error.code().name)
            raise of_backend(error) from error
