"""TensorFlow Serving's REST protocol: status, metadata and predict, over the loaded models.

`werkzeug` does HTTP; what is here is the protocol's JSON.
"""

import base64
import contextlib
import json
import logging
import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from werkzeug import exceptions, routing, serving
from werkzeug.wrappers import Request, Response

from model.errors import InputError
from serving.models import RequestError, check_names

_URLS = routing.Map(
    [
        routing.Rule(f"/v1/models/<name>{version}{suffix}", endpoint=endpoint, methods=[method])
        for version in ("", "/versions/<int:version>")
        for suffix, endpoint, method in (
            ("", "status", "GET"),
            ("/metadata", "metadata", "GET"),
            (":predict", "predict", "POST"),
        )
    ]
)
_HTTP_STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "FAILED_PRECONDITION": 412}


@contextlib.contextmanager
def serving_at(models, port: int) -> Iterator[None]:
    """Answers REST requests in threads of its own.

    Raises:
      InputError: if the port is in use.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = serving.make_server("0.0.0.0", port, _Application(models), threaded=True)
    except (OSError, SystemExit) as error:
        raise InputError(f"port {port} is in use; choose another with --rest_api_port") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _Application:
    """The WSGI application."""

    def __init__(self, models):
        self._models = models

    def __call__(self, environ, start_response):
        request = Request(environ)
        try:
            endpoint, arguments = _URLS.bind_to_environ(environ).match()
            body, status = getattr(self, f"_{endpoint}")(request, **arguments), 200
        except RequestError as error:
            body, status = {"error": error.message}, _HTTP_STATUS.get(error.code, 500)
        except exceptions.HTTPException:
            body = {"error": f"Malformed request: {request.method} {request.path}"}
            status = 404
        text = json.dumps(body, indent=4)
        return Response(text, status, content_type="application/json")(environ, start_response)

    def _model(self, name, version):
        model = self._models.find(name)
        if model is None:
            raise RequestError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        return model.servable(version)

    def _status(self, _, name, version=None):
        servable = self._model(name, version)
        status = {"error_code": "OK", "error_message": ""}
        entry = {"version": str(servable.version), "state": "AVAILABLE", "status": status}
        return {"model_version_status": [entry]}

    def _metadata(self, _, name, version=None):
        servable = self._model(name, version)
        signatures = {
            key: json_format.MessageToDict(signature, preserving_proto_field_name=True)
            for key, signature in servable.signatures.items()
        }
        return {
            "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def _predict(self, request, name, version=None):
        servable = self._model(name, version)
        try:
            body = json.loads(request.get_data())
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from error
        if not isinstance(body, dict) or len({"instances", "inputs"} & body.keys()) != 1:
            raise RequestError(
                "INVALID_ARGUMENT", "Request body must have exactly one of 'instances' or 'inputs'"
            )
        signature_name = body.get("signature_name", "")
        signature = servable.signature(signature_name)
        by_row = "instances" in body
        columns = _columns(body["instances"], signature) if by_row else body["inputs"]
        if not isinstance(columns, dict):
            columns = {_only_name(signature): columns}
        check_names(signature, columns)
        inputs = {key: _tensor_proto(key, column, signature) for key, column in columns.items()}
        outputs = {
            key: _plain(tf.make_ndarray(value))
            for key, value in servable.predict(signature_name, inputs, []).items()
        }
        if not by_row:
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        return {"predictions": rows if len(outputs) > 1 else next(iter(outputs.values()))}


def _only_name(signature):
    if len(signature.inputs) != 1:
        names = ",".join(sorted(signature.inputs))
        raise RequestError("INVALID_ARGUMENT", f"name the inputs of the signature: {{{names}}}")
    return next(iter(signature.inputs))


def _columns(instances, signature):
    """Row-wise inputs as columns."""
    if not isinstance(instances, list) or not instances:
        raise RequestError("INVALID_ARGUMENT", "'instances' must be a list with at least one value")
    if not all(isinstance(row, dict) for row in instances) or set(instances[0]) == {"b64"}:
        return {_only_name(signature): instances}
    if any(row.keys() != instances[0].keys() for row in instances):
        raise RequestError("INVALID_ARGUMENT", "all instances must have the same inputs")
    return {key: [row[key] for row in instances] for key in instances[0]}


def _tensor_proto(name, column, signature):
    dtype = tf.as_dtype(signature.inputs[name].dtype)
    try:
        if dtype == tf.string:
            values = np.array([_bytes(value) for value in column], object)
            return tf.make_tensor_proto(values)
        return tf.make_tensor_proto(column, dtype)
    except (TypeError, ValueError) as error:
        message = f"JSON Value of input {name} is not of expected type: {dtype.name}"
        raise RequestError("INVALID_ARGUMENT", message) from error


def _bytes(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode()


def _plain(array):
    """An array as JSON has it; bytes that are no UTF-8 are given as `{"b64": ...}`."""
    if array.dtype != object:
        return array.tolist()
    return [_text(value) for value in array.tolist()]


def _text(value):
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
