"""What signatures for classification and regression make of tf.Examples."""

import numpy as np
from tensorflow_serving.apis import classification_pb2, input_pb2, model_pb2, regression_pb2

from serving.protocol import CLASSIFY, REGRESS
from serving.server.errors import RequestError
from serving.server.servable import DEFAULT_SIGNATURE, Servable


def serialized(given: input_pb2.Input) -> list[bytes]:
    """The tf.Examples of a request, each with the context that they share.

    Raises:
      RequestError: if there are none.
    """
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else []
    if not examples:
        raise RequestError("INVALID_ARGUMENT", "Input is empty.")
    # The concatenation of two messages' serializations is that of the two merged.
    context = b""
    if kind == "example_list_with_context":
        context = given.example_list_with_context.context.SerializeToString()
    return [context + example.SerializeToString() for example in examples]


def _signature(servable, spec, method, kind):
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise RequestError("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    if signature.method_name != method:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}",
        )
    if list(signature.inputs) != ["inputs"]:
        raise RequestError("INVALID_ARGUMENT", "Expected one input Tensor.")
    return name


def _run(servable, name, examples, outputs):
    results = servable.run(name, {"inputs": np.array(examples, object)}, outputs)
    for output, values in results.items():
        if len(values) != len(examples):
            raise RequestError(
                "INVALID_ARGUMENT",
                f"Expected {output} output batch size of {len(examples)}. Got: {len(values)}",
            )
    return results


def classified(
    servable: Servable, spec: model_pb2.ModelSpec, examples: list[bytes]
) -> classification_pb2.ClassificationResult:
    """What a signature for classification makes of serialized tf.Examples."""
    name = _signature(servable, spec, CLASSIFY, "classification")
    outputs = tuple(
        key for key in ("classes", "scores") if key in servable.signatures[name].outputs
    )
    results = _run(servable, name, examples, outputs)
    response = classification_pb2.ClassificationResult()
    for row in range(len(examples)):
        classes = response.classifications.add().classes
        labels = results["classes"][row] if "classes" in results else None
        scores = results["scores"][row] if "scores" in results else None
        for at in range(len(labels if labels is not None else scores)):
            one = classes.add()
            if labels is not None:
                one.label = labels[at].decode("utf-8", "replace")
            if scores is not None:
                one.score = scores[at]
    return response


def regressed(
    servable: Servable, spec: model_pb2.ModelSpec, examples: list[bytes]
) -> regression_pb2.RegressionResult:
    """What a signature for regression makes of serialized tf.Examples."""
    name = _signature(servable, spec, REGRESS, "regression")
    values = _run(servable, name, examples, ("outputs",))["outputs"]
    if values.size != len(examples):
        raise RequestError(
            "INVALID_ARGUMENT",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(values.shape)}",
        )
    response = regression_pb2.RegressionResult()
    for value in values.reshape(-1):
        response.regressions.add(value=value)
    return response
