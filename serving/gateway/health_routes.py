"""Whether the gateway and the models are there, and the metrics."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from serving.gateway.errors import ApiError
from serving.gateway.metrics import Metrics
from serving.gateway.models import Models


async def models_of(request: Request) -> Models:
    """Returns the models of the gateway that answers a request."""
    return request.state.models


ModelsOfGateway = Annotated[Models, Depends(models_of)]


async def require_ready(models: Models) -> None:
    """Raises an `ApiError` of status 503 unless a version of every model answers."""
    for name in models.names:
        try:
            await models.newest_version(name)
        except ApiError as error:
            raise ApiError(503, f"{name}: {error.message}") from error


def router(metrics: Metrics) -> APIRouter:
    """Returns the routes.

    Args:
      metrics: Metrics of the gateway.
    """
    routes = APIRouter(tags=["Monitoring"])

    @routes.get("/health", summary="Whether a version of every model answers.")
    async def health(models: ModelsOfGateway) -> dict[str, str]:
        """Answers where a version of every model is available."""
        await require_ready(models)
        return {"status": "ok"}

    @routes.get(
        "/metrics",
        summary="Metrics in Prometheus's text format.",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def expose() -> Response:
        """Returns all metrics."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")

    return routes
