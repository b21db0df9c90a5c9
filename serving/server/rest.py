"""TensorFlow Serving's REST protocol: status, metadata, predict, classify and regress.

`werkzeug` and `waitress` do HTTP; what is here is the protocol's paths and codes.
"""

import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from urllib.parse import unquote

import waitress
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2
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

_WHICH = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.I
)
_MODEL = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.I)
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

PLAYGROUND = "/playground"  # a page on which to try the models
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
def serving_at(application: "Application", port: int, threads: int) -> Iterator[None]:
    """Answers REST requests in threads of its own.

    Raises:
      InputError: if the port is in use.
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
    """The WSGI application."""

    def __init__(self, manager: Manager, metrics: Metrics, monitoring_path: str, timeout: float):
        """Takes where the metrics are to be, and seconds that an answer may take."""
        self._timeout = timeout
        self._manager = manager
        self._metrics = metrics
        self._monitoring_path = monitoring_path

    def __call__(self, environ, start_response):
        request = Request(environ)
        try:
            response = self._answer(request)
        except RequestError as error:
            response = _refused(error)
        except exceptions.HTTPException as error:
            response = _as_json({"error": error.name}, error.code)
        except Exception as error:
            response = _refused(errors.unexpected(error))
        return response(environ, start_response)

    def _answer(self, request):
        path = request.path
        if self._monitoring_path and path == self._monitoring_path:
            return Response(self._metrics.page(), content_type="text/plain")
        if path.rstrip("/") == PLAYGROUND:
            return redirect(f"{request.root_path}{PLAYGROUND}/index.html")
        if path == f"{PLAYGROUND}/models":
            return _as_json({"models": [model.config.name for model in self._manager]})
        if path == f"{PLAYGROUND}/form":
            return _as_json(_PLAYGROUND_FORM)
        # The path as it was sent: an encoded slash belongs to a name.
        raw = request.environ.get("REQUEST_URI", path).split("?")[0]
        if request.method == "POST" and (match := _INFERENCE.fullmatch(raw)):
            method = match["method"].lower()
            spec = _spec(match)
            with (
                self._metrics.request(spec.name, method.capitalize(), "REST"),
                deadline.within(self._timeout),
            ):
                return _as_json(self._infer(method, spec, request.get_data()))
        if request.method in ("GET", "HEAD") and (match := _MODEL.fullmatch(raw)):
            if not match["name"]:
                raise RequestError("INVALID_ARGUMENT", "Missing model name in request.")
            spec = _spec(match)
            return _as_json(self._metadata(spec) if match["metadata"] else self._status(spec))
        raise RequestError("INVALID_ARGUMENT", f"Malformed request: {request.method} {path}")

    def _status(self, spec):
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        response = inference.status(self._manager, request)
        return _message(response)

    def _metadata(self, spec):
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[inference.SIGNATURE_DEF]
        )
        response = inference.metadata(self._manager, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[inference.SIGNATURE_DEF].Unpack(signatures)
        return {
            "model_spec": _message(response.model_spec),
            "metadata": {inference.SIGNATURE_DEF: _message(signatures)},
        }

    def _infer(self, method, spec, body):
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
        given = json_tensors.examples(parsed)
        if method == "classify":
            result = examples.classified(self._manager.servable(spec), spec, given)
            return {
                "results": [
                    [[one.label, one.score] for one in row.classes]
                    for row in result.classifications
                ]
            }
        result = examples.regressed(self._manager.servable(spec), spec, given)
        return {"results": [one.value for one in result.regressions]}


def _refused(error):
    return _as_json({"error": error.message}, _HTTP_STATUS.get(error.code, 500))


def _spec(match):
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


def _message(message):
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _as_json(content, status=200):
    return Response(json.dumps(content, indent=4), status, content_type="application/json")
