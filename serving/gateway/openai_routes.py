"""The routes of the OpenAI API, and those of vLLM for tokens."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from serving.gateway.bounded_model import BoundedModel
from serving.gateway.characters import encode, from_tokens, to_tokens
from serving.gateway.completion_request import CompletionRequest
from serving.gateway.errors import ApiError, invalid
from serving.gateway.health_routes import ModelsOfGateway
from serving.gateway.options import MAX_NAME
from serving.limits import MAX_LENGTH

router = APIRouter(tags=["OpenAI API"])

_COMPLETIONS = "/v1/completions"
_STARTED = int(time.time())
_ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "example": {
                "error": {
                    "message": "max_tokens: input should be less than or equal to 10000",
                    "type": "invalid_request_error",
                    "param": "max_tokens",
                    "code": None,
                }
            }
        }
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is invalid.", **_ERROR},
    404: {"description": "There is no such model.", **_ERROR},
    429: {"description": "Too many requests; ask again later.", **_ERROR},
    503: {"description": "The model server does not answer.", **_ERROR},
    504: {"description": "The model server, or the request, took too long.", **_ERROR},
}
_COMPLETION = {
    "id": "cmpl-3f1c0e9f6a2b4d5e8c7a9b0d",
    "object": "text_completion",
    "created": 1796000000,
    "model": "stdlib",
    "system_fingerprint": "stdlib:1",
    "choices": [{"index": 0, "text": "main(", "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9},
}


@router.post(
    _COMPLETIONS,
    summary="Continue prompts.",
    response_class=Response,
    responses={
        200: {
            "description": "The texts; a stream has server-sent events of the same form.",
            "content": {
                "application/json": {"example": _COMPLETION},
                "text/event-stream": {"example": "data: {...}\n\ndata: [DONE]\n\n"},
            },
        },
        **_ERRORS,
    },
)
async def complete(body: CompletionRequest, request: Request) -> Response:
    """Continues one or several prompts, each by one or several texts."""
    completion = await request.state.completions.begin(body)
    if not body.stream:
        return JSONResponse(await completion.answer())
    events = completion.events()
    first = await anext(events)  # an error until here has a status of its own
    return StreamingResponse(_server_sent(first, events), media_type="text/event-stream")


async def _server_sent(
    first: dict[str, Any], others: AsyncIterator[dict[str, Any]]
) -> AsyncIterator[str]:
    """Yields events as a stream has them; an error ends it."""
    yield _event(first)
    try:
        async for event in others:
            yield _event(event)
    except ApiError as error:
        yield _event(error.body(_COMPLETIONS))
        return
    yield "data: [DONE]\n\n"


def _event(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, separators=(',', ':'), allow_nan=False)}\n\n"


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "grid-lstm"}


@router.get("/v1/models", summary="List the models.")
async def list_models(models: ModelsOfGateway) -> dict[str, Any]:
    """Lists the models of which a version answers."""
    available = []
    for name in models.names:
        try:
            await models.newest_version(name)
        except ApiError as error:
            if error.status not in (404, 503) or error.grpc_code == "UNAVAILABLE":
                raise
            continue
        available.append(_model_card(name))
    return {"object": "list", "data": available}


@router.get("/v1/models/{model}", summary="Describe a model.", responses=_ERRORS)
async def retrieve_model(model: str, models: ModelsOfGateway) -> dict[str, Any]:
    """Describes a model of which a version answers."""
    models.require(model)
    await models.newest_version(model)
    return _model_card(model)


class TokenizeRequest(BoundedModel):
    """A text whose tokens are asked for."""

    model: str | None = Field(default=None, max_length=MAX_NAME)
    prompt: str = Field(max_length=MAX_LENGTH)
    add_special_tokens: bool = Field(default=True, description="Ignored: there are none.")


class DetokenizeRequest(BoundedModel):
    """Tokens whose text is asked for."""

    model: str | None = Field(default=None, max_length=MAX_NAME)
    tokens: list[int] = Field(max_length=MAX_LENGTH)


@router.post("/tokenize", summary="Turn a text into tokens.", responses=_ERRORS)
async def tokenize(body: TokenizeRequest, models: ModelsOfGateway) -> dict[str, Any]:
    """Returns the tokens of a text, as vLLM does; without a model those of the first one."""
    served = await models.get(body.model or next(iter(models.names), ""))
    try:
        tokens = to_tokens(encode(body.prompt), served.unit)
    except ValueError as error:
        raise invalid(f"prompt: {error}", "prompt") from error
    return {"tokens": tokens, "count": len(tokens), "max_model_len": MAX_LENGTH}


@router.post("/detokenize", summary="Turn tokens into a text.", responses=_ERRORS)
async def detokenize(body: DetokenizeRequest, models: ModelsOfGateway) -> dict[str, str]:
    """Returns the text of tokens, as vLLM does; without a model those of the first one."""
    served = await models.get(body.model or next(iter(models.names), ""))
    try:
        text = from_tokens(body.tokens, served.unit)
    except ValueError as error:
        raise invalid(f"tokens: {error}", "tokens") from error
    return {"prompt": text.decode("utf-8", "replace")}


@router.get("/tokenizer_info", summary="Describe the tokens.")
async def tokenizer_info() -> dict[str, Any]:
    """Describes the tokens as vLLM does, for lm-eval: there are no special ones."""
    return {"tokenizer_class": "characters", "bos_token": None, "eos_token": None}
