"""The HTTP application of the gateway, and its OpenAPI document."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import model
from serving import playground_page
from serving.client.client import Address
from serving.gateway import health_routes, inference_routes, openai_routes, page_routes
from serving.gateway.backend import Backend
from serving.gateway.completion_request import problem
from serving.gateway.completions import Completions
from serving.gateway.errors import ApiError
from serving.gateway.generation import Generator
from serving.gateway.metrics import Metrics
from serving.gateway.models import Models
from serving.gateway.options import MAX_ANSWER_BYTES, GatewayOptions
from serving.gateway.prefix_cache import PrefixCache
from serving.gateway.prompt_scores import PromptScorer

DESCRIPTION = """
Character models behind a server of TensorFlow Serving's protocol, for clients of the OpenAI API
(`/v1/completions`) and of the Open Inference Protocol (`/v2`). A token is a character of the model,
a byte or a Unicode code point, and its id is the value of the byte or the code point.
"""


def build(
    options: GatewayOptions,
    credentials: grpc.ChannelCredentials | None,
    metrics: Metrics,
    names: Callable[[], Sequence[str]] | None = None,
) -> FastAPI:
    """Returns the application.

    Args:
      options: Options of the gateway.
      credentials: Credentials for TLS to the model server; None for none.
      metrics: Metrics of the gateway.
      names: Function that returns the names of the models. Default: those of the options.
    """
    address = Address(
        server=options.backend,
        model_name="",
        timeout=options.backend_timeout,
        credentials=credentials,
        max_message_bytes=MAX_ANSWER_BYTES,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        backend = Backend(address, options.max_backend_calls, metrics)
        models = Models(backend, names or (lambda: options.model_names))
        cache = PrefixCache(backend, options.cache_bytes, metrics)
        generator = Generator(backend, models, cache, metrics)
        scorer = PromptScorer(backend, models, options.max_rows)
        completions = Completions(models, generator, scorer)
        try:
            yield {"backend": backend, "models": models, "completions": completions}
        finally:
            await backend.close()

    application = FastAPI(
        title="Grid LSTM gateway",
        version=model.__version__,
        summary="The OpenAI API and the Open Inference Protocol over TensorFlow Serving.",
        description=DESCRIPTION,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # pages of other hosts' scripts
        redoc_url=None,
    )
    application.include_router(openai_routes.router)
    application.include_router(inference_routes.router)
    application.include_router(health_routes.router(metrics))
    application.include_router(page_routes.router)
    application.mount(playground_page.PATH, page_routes.files())
    application.add_exception_handler(ApiError, _answer_api_error)
    application.add_exception_handler(RequestValidationError, _answer_invalid)
    application.add_exception_handler(HTTPException, _answer_http_error)
    application.add_exception_handler(Exception, _answer_unexpected)
    return application


def _response(request: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(request.url.path), error.status, error.headers)


def _answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _response(request, error)


def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    message, param = problem(error.errors())
    return _response(request, ApiError(400, message, param))


def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:100]}: {error.detail}"
    if error.status_code == 400:
        message = "the body is not JSON, or too deep; send a JSON object"
    return _response(request, ApiError(error.status_code, message))


def _answer_unexpected(request: Request, error: Exception) -> Response:
    return _response(request, ApiError(500, f"the gateway failed: {type(error).__name__}"))
