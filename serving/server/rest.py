"""TensorFlow Serving's REST protocol: status, metadata, predict, classify and regress.

`werkzeug` and `http_server` implement HTTP; this module has the protocol's paths and status codes.
"""

import io
import json
import re
import time
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)
from werkzeug import exceptions
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from serving import playground_page
from serving.base_path import version_number
from serving.protocol import DEFAULT_SIGNATURE, HTTP_STATUS
from serving.server import errors, examples, inference, json_parsing, json_tensors, request_scope
from serving.server.errors import RequestError
from serving.server.http_server import ARRIVED, IS_DISCONNECTED
from serving.server.manager import Manager
from serving.server.memory_budget import REST_COPIES, MemoryBudget
from serving.server.metrics import Metrics
from serving.server.servable import Servable

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I
)
_MODEL = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.I
)

MAX_GZIP_MEMBERS = 100
"""Largest number of members of a packed body, each of which is unpacked by itself."""


class Application:
    """The WSGI application of the REST protocol and the playground."""

    def __init__(
        self,
        manager: Manager,
        metrics: Metrics,
        budget: MemoryBudget,
        monitoring_path: str,
        timeout: float,
        max_bytes: int,
    ):
        """Configures the application.

        Args:
          manager: Models of the server.
          metrics: Metrics of the server.
          budget: Memory of all requests.
          monitoring_path: Path of the metrics; empty for none.
          timeout: Seconds that a request may take, from when it has arrived.
          max_bytes: Largest size of a body, unpacked.
        """
        self._timeout = timeout
        self._manager = manager
        self._metrics = metrics
        self._budget = budget
        self._monitoring_path = monitoring_path
        self._max_bytes = max_bytes
        self._with_page = SharedDataMiddleware(
            self._answer, {playground_page.PATH: playground_page.DIRECTORY}, cache_timeout=0
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        return self._with_page(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Callable) -> Any:
        request = Request(environ)
        try:
            response = self._respond(request)
        except RequestError as error:
            response = _error_response(error)
        except exceptions.HTTPException as error:
            is_own = error.description != type(error).description
            said = error.description if is_own else error.name
            response = _json_response({"error": said}, error.code or 500)
        except Exception as error:
            response = _error_response(errors.from_unexpected(error))
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        path = request.path
        if self._monitoring_path and path == self._monitoring_path:
            return Response(self._metrics.exposition(), content_type="text/plain")
        if path == "/" and request.method in ("GET", "HEAD"):
            return redirect(f"{request.root_path}{playground_page.PATH}")
        if path.rstrip("/") == playground_page.PATH:
            return redirect(f"{request.root_path}{playground_page.PATH}/index.html")
        if path == f"{playground_page.PATH}/models":
            return _json_response({"models": [model.config.name for model in self._manager]})
        if path == f"{playground_page.PATH}/form":
            return _json_response(playground_page.FORM)
        # As it was sent: an encoded slash belongs to a name, and so does a query.
        raw = request.environ.get("REQUEST_URI", path)
        if request.method == "POST" and (match := _INFERENCE.fullmatch(raw)):
            method = match["method"].lower()
            spec = _spec(match)
            waited = time.monotonic() - request.environ.get(ARRIVED, time.monotonic())
            is_abandoned = request.environ.get(IS_DISCONNECTED, lambda: False)
            with (
                self._metrics.record_request(spec.name, method.capitalize(), "REST"),
                self._budget.lease(REST_COPIES) as lease,
                request_scope.scope(self._timeout - waited, is_abandoned, lease),
            ):
                return _json_response(self._infer(method, spec, self._body(request)))
        if request.method in ("GET", "HEAD") and (match := _MODEL.fullmatch(raw)):
            if not match["name"]:
                raise RequestError("INVALID_ARGUMENT", "Missing model name in request.")
            spec = _spec(match)
            return _json_response(self._metadata(spec) if match["metadata"] else self._status(spec))
        if not path.lower().startswith("/v1/"):
            raise exceptions.NotFound()
        raise RequestError("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")

    def _status(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        response = inference.status(self._manager, request)
        return _message_dict(response)

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[inference.SIGNATURE_DEF]
        )
        response = inference.metadata(self._manager, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[inference.SIGNATURE_DEF].Unpack(signatures)
        return {
            "model_spec": _message_dict(response.model_spec),
            "metadata": {inference.SIGNATURE_DEF: _message_dict(signatures)},
        }

    def _body(self, request: Request) -> bytes:
        """Returns the body of a request, unpacked."""
        body = request.get_data()
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            return _unpack(body, self._max_bytes)
        if encoding != "identity":
            shown = encoding[: json_parsing.MAX_SHOWN]
            raise exceptions.UnsupportedMediaType(
                f"the body has the encoding {shown}; send gzip, or the body as it is"
            )
        return body

    def _infer(self, method: str, spec: model_pb2.ModelSpec, body: bytes) -> dict[str, Any]:
        """Answers a request to predict, classify or regress."""
        if method == "predict":
            servable, inputs, by_row = self._parse_predict(spec, body)
            outputs = servable.predict(spec.signature_name or DEFAULT_SIGNATURE, inputs, ())
            return json_tensors.outputs(outputs, by_row)
        with json_parsing.parsing(body) as parsed:
            spec.signature_name = json_tensors.signature_name(parsed)
            serialized = json_tensors.examples(parsed)
        servable = self._manager.servable(spec)
        if method == "classify":
            classified = examples.classify(servable, spec, serialized)
            return {"results": [_label_scores(row) for row in classified.classifications]}
        regressed = examples.regress(servable, spec, serialized)
        return {"results": [row.value for row in regressed.regressions]}

    def _parse_predict(
        self, spec: model_pb2.ModelSpec, body: bytes
    ) -> tuple[Servable, dict[str, tensor_pb2.TensorProto], bool]:
        """Returns the version that a request to predict is for, its inputs, and whether by row."""
        with json_parsing.parsing(body) as parsed:
            spec.signature_name = json_tensors.signature_name(parsed)
            servable = self._manager.servable(spec)
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in servable.signatures:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f'Serving signature name: "{name}" not found in signature def',
                )
            return servable, *json_tensors.inputs(parsed, servable.signatures[name])


def _unpack(body: bytes, limit: int) -> bytes:
    """Unpacks gzip, of which a few bytes may stand for any number."""
    unpacked = b""
    for _ in range(MAX_GZIP_MEMBERS):  # each copies the rest of the body
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            unpacked += decompressor.decompress(body, limit + 1 - len(unpacked))
        except zlib.error as error:
            raise RequestError("INVALID_ARGUMENT", "the body is not valid gzip") from error
        if len(unpacked) > limit:
            raise exceptions.RequestEntityTooLarge(
                f"the body unpacks to more than {limit} bytes, the limit of "
                "--rest_api_max_request_bytes"
            )
        if not decompressor.eof:
            raise RequestError("INVALID_ARGUMENT", "the body is not complete gzip")
        body = decompressor.unused_data  # another member
        if not body:
            return unpacked
    raise RequestError(
        "INVALID_ARGUMENT",
        f"the body has more than {MAX_GZIP_MEMBERS} members of gzip; compress it at once",
    )


def _label_scores(row: classification_pb2.Classifications) -> list[list[str | float]]:
    """Returns the label and the score of each class of an example."""
    return [[found.label, found.score] for found in row.classes]


def _error_response(error: RequestError) -> Response:
    return _json_response({"error": error.message}, HTTP_STATUS.get(error.code, 500))


def _spec(match: re.Match) -> model_pb2.ModelSpec:
    """Returns the spec that a matched path names."""
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        number = version_number(match["version"])
        if number is None:
            shown = match["version"][: json_parsing.MAX_SHOWN]
            raise RequestError(
                "INVALID_ARGUMENT", f"Failed to convert version: {shown} to numeric."
            )
        spec.version.value = number
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _message_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json_response(content: dict[str, Any], status: int = 200) -> Response:
    text = io.BytesIO()
    try:
        # Joined at once, the parts would take several times the memory of the text.
        for part in json.JSONEncoder(indent=4, allow_nan=False).iterencode(content):
            text.write(part.encode())
    except ValueError as error:
        raise RequestError(
            "INVALID_ARGUMENT",
            "the answer holds NaN or infinity, which JSON cannot; ask over gRPC",
        ) from error
    return Response(text.getvalue(), status, content_type="application/json")
