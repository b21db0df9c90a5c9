"""The routes of the Open Inference Protocol, for any model and signature."""

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

import model
from serving.gateway.errors import ApiError, invalid
from serving.gateway.health_routes import ModelsOfGateway, require_ready
from serving.gateway.inference_tensors import (
    InferenceRequest,
    check_size,
    describe,
    to_array,
    to_json,
)
from serving.gateway.options import MAX_NAME
from serving.limits import MAX_VERSION
from serving.protocol import DEFAULT_SIGNATURE, predict_request, read_outputs

router = APIRouter(tags=["Open Inference Protocol"])

_PREFIX = "/v2/models/{name}"
_PREFIX_OF_VERSION = _PREFIX + "/versions/{version}"

Version = Annotated[int, Path(ge=0, le=MAX_VERSION)]
Signature = Annotated[str, Query(alias="signature_name", max_length=MAX_NAME)]

_ERROR: dict[str, Any] = {
    "content": {"application/json": {"example": {"error": "input text has no strings; fix it"}}}
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is invalid.", **_ERROR},
    404: {"description": "There is no such model, version or signature.", **_ERROR},
    503: {"description": "The model server does not answer.", **_ERROR},
}


@router.get("/v2", summary="Describe the server.")
async def describe_server() -> dict[str, Any]:
    """Returns name and version of the gateway."""
    return {"name": "grid-lstm-gateway", "version": model.__version__, "extensions": []}


@router.get("/v2/health/live", summary="Whether the gateway answers.")
async def live() -> dict[str, bool]:
    """Answers whenever the gateway runs."""
    return {"live": True}


@router.get("/v2/health/ready", summary="Whether all models answer.", responses=_ERRORS)
async def ready(models: ModelsOfGateway) -> dict[str, bool]:
    """Answers where a version of every model is available."""
    await require_ready(models)
    return {"ready": True}


@router.get(_PREFIX + "/ready", summary="Whether a model answers.", responses=_ERRORS)
async def model_ready(name: str, models: ModelsOfGateway) -> dict[str, Any]:
    """Answers where a version of the model is available."""
    models.require(name)
    await models.newest_version(name)
    return {"name": name, "ready": True}


@router.get(_PREFIX_OF_VERSION + "/ready", summary="Whether a version answers.", responses=_ERRORS)
async def version_ready(
    name: str, version: Version, models: ModelsOfGateway, request: Request
) -> dict[str, Any]:
    """Answers where the version is available."""
    models.require(name)
    if version not in await request.state.backend.available_versions(name):
        raise ApiError(404, f"version {version} of {name} is not available; ask for another")
    return {"name": name, "ready": True}


@router.get(_PREFIX, summary="Describe a model.", responses=_ERRORS)
async def describe_model(
    name: str,
    models: ModelsOfGateway,
    request: Request,
    signature_name: Signature = DEFAULT_SIGNATURE,
) -> dict[str, Any]:
    """Describes the inputs and outputs of a signature of the newest version."""
    models.require(name)
    return await _describe(request, name, None, signature_name)


@router.get(_PREFIX_OF_VERSION, summary="Describe a version.", responses=_ERRORS)
async def describe_version(
    name: str,
    version: Version,
    models: ModelsOfGateway,
    request: Request,
    signature_name: Signature = DEFAULT_SIGNATURE,
) -> dict[str, Any]:
    """Describes the inputs and outputs of a signature."""
    models.require(name)
    return await _describe(request, name, version, signature_name)


async def _describe(
    request: Request, name: str, version: int | None, signature_name: str
) -> dict[str, Any]:
    backend = request.state.backend
    response = await backend.metadata(name, version)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    if signature_name not in signatures.signature_def:
        known = ", ".join(sorted(signatures.signature_def))
        raise ApiError(404, f"{name} has no signature {signature_name[:100]!r}; it has {known}")
    signature = signatures.signature_def[signature_name]
    return {
        "name": name,
        "versions": [str(number) for number in await backend.available_versions(name)],
        "platform": "tensorflow_savedmodel",
        "inputs": [describe(key, signature.inputs[key]) for key in sorted(signature.inputs)],
        "outputs": [describe(key, signature.outputs[key]) for key in sorted(signature.outputs)],
    }


@router.post(_PREFIX + "/infer", summary="Call a signature.", responses=_ERRORS)
async def infer(
    name: str, body: InferenceRequest, models: ModelsOfGateway, request: Request
) -> Response:
    """Calls a signature of the newest version."""
    models.require(name)
    return await _infer(request, name, None, body)


@router.post(
    _PREFIX_OF_VERSION + "/infer", summary="Call a signature of a version.", responses=_ERRORS
)
async def infer_version(
    name: str, version: Version, body: InferenceRequest, models: ModelsOfGateway, request: Request
) -> Response:
    """Calls a signature of a version."""
    models.require(name)
    return await _infer(request, name, version, body)


async def _infer(
    request: Request, name: str, version: int | None, body: InferenceRequest
) -> Response:
    inputs = {tensor.name: to_array(tensor) for tensor in body.inputs}
    if len(inputs) < len(body.inputs):
        raise invalid("two inputs have the same name; give each once")
    message = predict_request(name, body.parameters.signature_name, inputs, version)
    message.output_filter.extend(output.name for output in body.outputs)
    response = await request.state.backend.predict(message)
    check_size(response.outputs)
    # A thread, as a large answer takes a while.
    return Response(await asyncio.to_thread(_render, body.id, response), media_type=_JSON)


_JSON = "application/json"


def _render(request_id: str, response: predict_pb2.PredictResponse) -> bytes:
    outputs = read_outputs(response)
    answer = {
        "model_name": response.model_spec.name,
        "model_version": str(response.model_spec.version.value),
        **({"id": request_id} if request_id else {}),
        "outputs": [to_json(key, outputs[key]) for key in sorted(outputs)],
    }
    return json.dumps(answer, allow_nan=False).encode()
