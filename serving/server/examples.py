"""Classification and regression of tf.Examples, by the signatures for them."""

from collections.abc import Sequence

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, model_pb2, regression_pb2

from serving.protocol import DEFAULT_SIGNATURE
from serving.server.errors import RequestError
from serving.server.servable import Servable


def serialize_examples(request_input: input_pb2.Input) -> list[bytes]:
    """Returns the serialized tf.Examples of a request, each merged with their common context.

    Args:
      request_input: Input of a request to classify or regress.

    Raises:
      RequestError: If there are no examples.
    """
    kind = request_input.WhichOneof("kind")
    examples = getattr(request_input, kind).examples if kind else []
    if not examples:
        raise _refusal("Input is empty.")
    # The concatenation of two messages' serializations is that of the two merged.
    context = b""
    if kind == "example_list_with_context":
        context = request_input.example_list_with_context.context.SerializeToString()
    return [context + example.SerializeToString() for example in examples]


def classify(
    servable: Servable, spec: model_pb2.ModelSpec, examples: Sequence[bytes]
) -> classification_pb2.ClassificationResult:
    """Classifies tf.Examples.

    Args:
      servable: Version to run.
      spec: Spec of the request, which names the signature.
      examples: Serialized tf.Examples.

    Raises:
      RequestError: If there is no such signature, or it does not classify.
    """
    name, signature = _find_signature(servable, spec)
    if len(signature.outputs) not in (1, 2):
        count = len(signature.outputs)
        raise _refusal(f"Expected one or two output Tensors, found {count}")
    _require_inputs(signature, "classification")
    outputs = tuple(key for key in ("classes", "scores") if key in signature.outputs)
    if not outputs:
        raise _refusal(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {signature}'
        )
    results = _run(servable, name, examples, outputs)
    response = classification_pb2.ClassificationResult()
    for row in range(len(examples)):
        labels = results["classes"][row] if "classes" in results else None
        scores = results["scores"][row] if "scores" in results else None
        _add_classes(response.classifications.add(), labels, scores)
    return response


def _add_classes(
    classifications: classification_pb2.Classifications,
    labels: Sequence[bytes] | None,
    scores: Sequence[float] | None,
) -> None:
    """Adds the classes of one example, of which labels or scores may be None."""
    for index in range(len(labels if labels is not None else scores or ())):
        added = classifications.classes.add()
        if labels is not None:
            added.label = labels[index].decode("utf-8", "replace")
        if scores is not None:
            added.score = scores[index]


def regress(
    servable: Servable, spec: model_pb2.ModelSpec, examples: Sequence[bytes]
) -> regression_pb2.RegressionResult:
    """Computes the regression of tf.Examples.

    Args:
      servable: Version to run.
      spec: Spec of the request, which names the signature.
      examples: Serialized tf.Examples.

    Raises:
      RequestError: If there is no such signature, or it does not regress.
    """
    name, signature = _find_signature(servable, spec)
    if len(signature.outputs) != 1:
        raise _refusal("Expected one output Tensor.")
    _require_inputs(signature, "regression")
    if "outputs" not in signature.outputs:
        raise _refusal(f"No regression outputs found in SignatureDef: {signature}")
    values = _run(servable, name, examples, ("outputs",))["outputs"]
    if values.size != len(examples):
        raise _refusal(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(values.shape)}"
        )
    response = regression_pb2.RegressionResult()
    for value in values.reshape(-1):
        response.regressions.add(value=value)
    return response


def _find_signature(
    servable: Servable, spec: model_pb2.ModelSpec
) -> tuple[str, meta_graph_pb2.SignatureDef]:
    """Returns the requested signature, which must have one input, and its name.

    What it says of its method does not matter: signatures of TensorFlow 2 are all for Predict.
    """
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise _refusal(f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    if len(signature.inputs) != 1:
        raise _refusal("Expected one input Tensor.")
    return name, signature


def _require_inputs(signature: meta_graph_pb2.SignatureDef, kind: str) -> None:
    """Checks that the input of a signature has the name by which examples are given."""
    if "inputs" not in signature.inputs:
        raise _refusal(f"No {kind} inputs found in SignatureDef: {signature}")


def _refusal(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)


def _run(
    servable: Servable, name: str, examples: Sequence[bytes], outputs: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Runs a signature on tf.Examples; each output must have one row per example."""
    results = servable.run(name, {"inputs": np.array(examples, object)}, outputs)
    for output, values in results.items():
        if len(values) != len(examples):
            raise _refusal(
                f"Expected {output} output batch size of {len(examples)}. Got: {len(values)}"
            )
    return results
