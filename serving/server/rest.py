"""TensorFlow Serving's REST protocol: status, metadata, predict, classify and regress.

`werkzeug` and `waitress` implement HTTP; this module has the protocol's paths and status codes.
"""

import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import waitress
from google.protobuf import json_format
from google.protobuf.message import Message
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

from model.errors import InputError
from serving.generate_inputs import GENERATE_INPUTS
from serving.limits import MAX_CONNECTIONS, MAX_INSPECTED, MAX_MESSAGE_BYTES
from serving.server import deadline, errors, examples, inference, json_tensors
from serving.server.errors import RequestError
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.servable import DEFAULT_SIGNATURE

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I
)
_MODEL = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.I
)
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_MAX_VERSION = 2**63 - 1

PLAYGROUND = "/playground"
"""Path of the page on which to try the models."""
_PLAYGROUND_FORM = {
    "fields": [
        {"name": row.name, "sampling": row.in_sampling_params, **row.field._asdict()}
        for row in GENERATE_INPUTS
        if row.field
    ],
    "max_inspected": MAX_INSPECTED,
}
"""Fields of the page's form, and the number of characters that it may inspect."""
_PAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "playground")


@contextlib.contextmanager
def serve(application: "Application", port: int, threads: int) -> Iterator[None]:
    """Answers REST requests in background threads while the context lasts.

    Args:
      application: Application that answers them.
      port: Port on all interfaces.
      threads: Number of requests answered at once.

    Raises:
      InputError: If the port is in use.
    """
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    try:
        server = waitress.create_server(
            SharedDataMiddleware(application, {PLAYGROUND: _PAGE}, cache_timeout=0),
            host="0.0.0.0",
            port=port,
            threads=threads,
            max_request_body_size=MAX_MESSAGE_BYTES,
            connection_limit=MAX_CONNECTIONS,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            ident=None,
        )
    except OSError as error:
        raise InputError(f"port {port} is in use; choose another with --rest_api_port") from error
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.task_dispatcher.shutdown()
        server.close()


class Application:
    """The WSGI application of the REST protocol and the playground."""

    def __init__(self, manager: Manager, metrics: Metrics, monitoring_path: str, timeout: float):
        """Configures the application.

        Args:
          manager: Models of the server.
          metrics: Metrics of the server.
          monitoring_path: Path of the metrics; empty for none.
          timeout: Seconds that a request may take.
        """
        self._timeout = timeout
        self._manager = manager
        self._metrics = metrics
        self._monitoring_path = monitoring_path

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        request = Request(environ)
        try:
            response = self._respond(request)
        except RequestError as error:
            response = _error_response(error)
        except exceptions.HTTPException as error:
            response = _json_response({"error": error.name}, error.code or 500)
        except Exception as error:
            response = _error_response(errors.from_unexpected(error))
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        path = request.path
        if self._monitoring_path and path == self._monitoring_path:
            return Response(self._metrics.exposition(), content_type="text/plain")
        if path.rstrip("/") == PLAYGROUND:
            return redirect(f"{request.root_path}{PLAYGROUND}/index.html")
        if path == f"{PLAYGROUND}/models":
            return _json_response({"models": [model.config.name for model in self._manager]})
        if path == f"{PLAYGROUND}/form":
            return _json_response(_PLAYGROUND_FORM)
        # The path before decoding: an encoded slash belongs to a name.
        raw = request.environ.get("REQUEST_URI", path).split("?")[0]
        if request.method == "POST" and (match := _INFERENCE.fullmatch(raw)):
            method = match["method"].lower()
            spec = _spec(match)
            with (
                self._metrics.record_request(spec.name, method.capitalize(), "REST"),
                deadline.scope(self._timeout),
            ):
                return _json_response(self._infer(method, spec, request.get_data()))
        if request.method in ("GET", "HEAD") and (match := _MODEL.fullmatch(raw)):
            if not match["name"]:
                raise RequestError("INVALID_ARGUMENT", "Missing model name in request.")
            spec = _spec(match)
            return _json_response(self._metadata(spec) if match["metadata"] else self._status(spec))
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

    def _infer(self, method: str, spec: model_pb2.ModelSpec, body: bytes) -> dict[str, Any]:
        """Answers a request to predict, classify or regress."""
        parsed = json_tensors.parse(body)
        spec.signature_name = json_tensors.signature_name(parsed)
        if method == "predict":
            servable = self._manager.servable(spec)
            name = spec.signature_name or DEFAULT_SIGNATURE
            if name not in servable.signatures:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f'Serving signature name: "{name}" not found in signature def',
                )
            inputs, by_row = json_tensors.inputs(parsed, servable.signatures[name])
            outputs = servable.predict(name, inputs, ())
            return json_tensors.outputs(outputs, by_row)
        serialized = json_tensors.examples(parsed)
        servable = self._manager.servable(spec)
        if method == "classify":
            classified = examples.classify(servable, spec, serialized)
            return {"results": [_label_scores(row) for row in classified.classifications]}
        regressed = examples.regress(servable, spec, serialized)
        return {"results": [row.value for row in regressed.regressions]}


def _label_scores(row: classification_pb2.Classifications) -> list[list[str | float]]:
    """Returns the label and the score of each class of an example."""
    return [[found.label, found.score] for found in row.classes]


def _error_response(error: RequestError) -> Response:
    return _json_response({"error": error.message}, _HTTP_STATUS.get(error.code, 500))


def _spec(match: re.Match) -> model_pb2.ModelSpec:
    """Returns the spec that a matched path names."""
    spec = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        if int(match["version"]) > _MAX_VERSION:
            raise RequestError(
                "INVALID_ARGUMENT", f"Failed to convert version: {match['version']} to numeric."
            )
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _message_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json_response(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content, indent=4), status, content_type="application/json")
