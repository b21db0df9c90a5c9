"""What the methods of PredictionService do with the version that a request asks for."""

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

from serving.protocol import CLASSIFY, REGRESS
from serving.server import examples
from serving.server.errors import RequestError
from serving.server.manager import Manager
from serving.server.servable import DEFAULT_SIGNATURE, Servable
from serving.tensors import fill_proto

SIGNATURE_DEF = "signature_def"


def predict(manager: Manager, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Predict."""
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
    """Classify."""
    return _of_examples(
        manager, request, examples.classified, classification_pb2.ClassificationResponse()
    )


def regress(
    manager: Manager, request: regression_pb2.RegressionRequest
) -> regression_pb2.RegressionResponse:
    """Regress."""
    return _of_examples(manager, request, examples.regressed, regression_pb2.RegressionResponse())


def _of_examples(manager, request, infer, response):
    """Fills in the response to a request for one signature on tf.Examples."""
    _require_spec(request)
    servable = manager.servable(request.model_spec)
    _fill_spec(response.model_spec, request.model_spec, servable)
    given = examples.serialized(request.input)
    response.result.CopyFrom(infer(servable, request.model_spec, given))
    return response


def multi_inference(
    manager: Manager, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """MultiInference: several signatures of one model on the same examples."""
    names = [task.model_spec.name for task in request.tasks]
    if not names:
        raise RequestError("INVALID_ARGUMENT", "Inference request must have at least one task.")
    if "" in names:
        raise RequestError("INVALID_ARGUMENT", "Found ModelSpec with an empty model name.")
    if len(set(names)) > 1:
        raise RequestError(
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        )
    servable = manager.servable(request.tasks[0].model_spec)
    given = examples.serialized(request.input)
    response = inference_pb2.MultiInferenceResponse()
    seen = set()
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise RequestError("INVALID_ARGUMENT", f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if task.method_name not in (CLASSIFY, REGRESS):
            raise RequestError(
                "UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}"
            )
        result = response.results.add()
        _fill_spec(result.model_spec, task.model_spec, servable)
        if task.method_name == CLASSIFY:
            answer = examples.classified(servable, task.model_spec, given)
            result.classification_result.CopyFrom(answer)
        else:
            answer = examples.regressed(servable, task.model_spec, given)
            result.regression_result.CopyFrom(answer)
    return response


def metadata(
    manager: Manager, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """GetModelMetadata: the SignatureDefs."""
    _require_spec(request)
    if not request.metadata_field:
        message = "GetModelMetadataRequest must specify at least one metadata_field"
        raise RequestError("INVALID_ARGUMENT", message)
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise RequestError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
    servable = manager.servable(request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status(
    manager: Manager, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of a model's versions, the newest first.

    Raises:
      RequestError: if there are none.
    """
    if not request.HasField("model_spec"):
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    model = manager.model(spec.name)
    found = sorted(model.versions.items(), reverse=True) if model else []
    if not found:
        raise RequestError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
    wanted = manager.version_of(spec)
    if wanted is not None:
        found = [(number, version) for number, version in found if number == wanted]
    if not found:
        message = f"Could not find version {wanted} of model {spec.name}"
        raise RequestError("NOT_FOUND", message)
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, version in found:
        one = response.model_version_status.add(version=number, state=version.state)
        code = error_codes_pb2.UNKNOWN if version.problem else error_codes_pb2.OK
        one.status.error_code = code
        one.status.error_message = version.problem
    return response


def _require_spec(request):
    if not request.HasField("model_spec"):
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")


def _fill_spec(spec: model_pb2.ModelSpec, asked: model_pb2.ModelSpec, servable: Servable):
    spec.name = asked.name
    spec.version.value = servable.version
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE
