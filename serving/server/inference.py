"""The methods of PredictionService and ModelService, apart from any transport."""

from collections.abc import Callable
from typing import Any

from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.protocol import CLASSIFY, DEFAULT_SIGNATURE, REGRESS
from serving.server import examples
from serving.server.errors import RequestError
from serving.server.manager import Manager
from serving.server.servable import Servable
from serving.tensors import fill_proto

SIGNATURE_DEF = "signature_def"
"""The one metadata field that GetModelMetadata supports."""


def predict(manager: Manager, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Answers Predict: runs a signature on tensors.

    Args:
      manager: Models of the server.
      request: The request.

    Raises:
      RequestError: If the request is invalid, or there is no such model or signature.
    """
    _require_spec(request)
    servable = manager.servable(request.model_spec)
    outputs = servable.predict(
        request.model_spec.signature_name, request.inputs, request.output_filter
    )
    response = predict_pb2.PredictResponse()
    _fill_spec(response.model_spec, request.model_spec, servable)
    for key, value in outputs.items():
        fill_proto(response.outputs[key], value)
    return response


def classify(
    manager: Manager, request: classification_pb2.ClassificationRequest
) -> classification_pb2.ClassificationResponse:
    """Answers Classify; see `predict` for the arguments."""
    response = classification_pb2.ClassificationResponse()
    return _infer_examples(manager, request, examples.classify, response)


def regress(
    manager: Manager, request: regression_pb2.RegressionRequest
) -> regression_pb2.RegressionResponse:
    """Answers Regress; see `predict` for the arguments."""
    response = regression_pb2.RegressionResponse()
    return _infer_examples(manager, request, examples.regress, response)


def _infer_examples(manager: Manager, request: Any, infer: Callable, response: Any) -> Any:
    """Fills the response to a request that runs one signature on tf.Examples."""
    _require_spec(request)
    servable = manager.servable(request.model_spec)
    _fill_spec(response.model_spec, request.model_spec, servable)
    serialized = examples.serialize_examples(request.input)
    response.result.CopyFrom(infer(servable, request.model_spec, serialized))
    return response


def multi_inference(
    manager: Manager, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """Answers MultiInference: runs several signatures of one model on the same tf.Examples.

    See `predict` for the arguments.
    """
    _require_one_model([task.model_spec.name for task in request.tasks])
    servable = manager.servable(request.tasks[0].model_spec)
    serialized = examples.serialize_examples(request.input)
    response = inference_pb2.MultiInferenceResponse()
    evaluated = set()
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in evaluated:
            raise RequestError("INVALID_ARGUMENT", f"Duplicate evaluation of signature: {name}")
        evaluated.add(name)
        if task.method_name not in (CLASSIFY, REGRESS):
            raise RequestError(
                "UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}"
            )
        result = response.results.add()
        _fill_spec(result.model_spec, task.model_spec, servable)
        if task.method_name == CLASSIFY:
            classified = examples.classify(servable, task.model_spec, serialized)
            result.classification_result.CopyFrom(classified)
        else:
            regressed = examples.regress(servable, task.model_spec, serialized)
            result.regression_result.CopyFrom(regressed)
    return response


def _require_one_model(names: list[str]) -> None:
    """Checks the models of the tasks of a request: there must be one, the same for all."""
    if not names or not names[0]:
        raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    if "" in names:
        raise RequestError("INVALID_ARGUMENT", "Found ModelSpec with an empty model name.")
    if len(set(names)) > 1:
        raise RequestError(
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        )


def metadata(
    manager: Manager, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Answers GetModelMetadata with the SignatureDefs of a version.

    See `predict` for the arguments.
    """
    _require_spec(request)
    if not request.metadata_field:
        message = "GetModelMetadataRequest must specify at least one metadata_field"
        raise RequestError("INVALID_ARGUMENT", message)
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise RequestError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
    servable = manager.servable(request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signature_defs.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status(
    manager: Manager, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Answers GetModelStatus with the states of a model's versions, the newest first.

    See `predict` for the arguments.

    Raises:
      RequestError: If there are none, or not the requested one.
    """
    _require_spec(request)
    spec = request.model_spec
    model = manager.model(spec.name)
    versions = sorted(model.versions.items(), reverse=True) if model else []
    if not versions:
        raise RequestError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
    requested = spec.version.value if spec.HasField("version") else None  # a label is ignored
    if requested is not None:
        versions = [(number, version) for number, version in versions if number == requested]
    if not versions:
        message = f"Could not find version {requested} of model {spec.name}"
        raise RequestError("NOT_FOUND", message)
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, version in versions:
        added = response.model_version_status.add(version=number, state=version.state)
        code = error_codes_pb2.UNKNOWN if version.error else error_codes_pb2.OK
        added.status.error_code = code
        added.status.error_message = version.error
    return response


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")


def _fill_spec(
    spec: model_pb2.ModelSpec, requested: model_pb2.ModelSpec, servable: Servable
) -> None:
    """Fills the spec of a response for the version that answered."""
    spec.name = requested.name
    spec.version.value = servable.version
    spec.signature_name = requested.signature_name or DEFAULT_SIGNATURE
