"""Requests for this project's signatures in TensorFlow Serving's protocol, and their answers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tensorflow_serving.apis import model_pb2, predict_pb2

from common.errors import UserError
from serving.generate_inputs import DEFAULTS, GENERATE_INPUTS, SAMPLING_INPUTS, GenerateInput
from serving.limits import MAX_VERSION
from serving.tensors import fill_proto, to_array

HTTP_STATUS: Mapping[str, int] = {
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
"""Status codes of HTTP for the names of gRPC status codes; 500 for all others."""

DEFAULT_SIGNATURE = "serving_default"
"""Name of the signature of a request that names none."""

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
"""Method names of the signatures for classification and regression."""

_ROWS = {row.name: row for row in GENERATE_INPUTS}
_MAX_SHOWN = 30  # characters of a value in a message


class SamplingParams(NamedTuple):
    """Parameters of sampling, the same for all texts of a request.

    Example:

    >>> from serving.client import SamplingParams
    >>> params = SamplingParams(temperature=0.8, top_k=40, seed=7)
    >>> params.top_p
    1.0
    >>> params._replace(temperature=0.0).temperature
    0.0

    Attributes:
      temperature: Divisor of the logits; 0 takes the likeliest character. Default 1.
      top_k: Number of likeliest characters to draw from; 0 for all. Default 0.
      top_p: Probability mass, in (0, 1], of the likeliest characters to draw from. Default 1.
      seed: Seed of the random numbers; the same seed gives the same text. Row n of a request
        uses `seed + n`. Default 0.
      stop: String of at most 16 characters that ends the text, which includes it; an empty
        string for none. Default "".
      alternatives: Number of likeliest characters to report at each position, at most 20.
        Default 0.
    """

    temperature: float = DEFAULTS["temperature"]
    top_k: int = DEFAULTS["top_k"]
    top_p: float = DEFAULTS["top_p"]
    seed: int = DEFAULTS["seed"]
    stop: str | bytes = DEFAULTS["stop"]
    alternatives: int = DEFAULTS["alternatives"]


class Text(NamedTuple):
    """A generated text, or a piece of one.

    Attributes:
      text: Characters added to the prompt, as bytes.
      stopped: Whether the stop string ended the text.
      log_probabilities: Array `[characters]`, ln p of each added character.
      alternatives: Array `[characters, k]`, the likeliest characters at each position, the
        likeliest first.
      alternative_log_probabilities: Array `[characters, k]`, ln p of the alternatives.
      state: Array `[state_size]`, the state after the text, from which a request can continue it.
    """

    text: bytes
    stopped: bool
    log_probabilities: np.ndarray
    alternatives: np.ndarray
    alternative_log_probabilities: np.ndarray
    state: np.ndarray


class Score(NamedTuple):
    """The score of a text: how well a model predicts it.

    Attributes:
      bits_per_character: Mean of -log2 p over the characters.
      log_probabilities: Array `[characters]`, ln p of each character.
    """

    bits_per_character: float
    log_probabilities: np.ndarray


def set_model(spec: model_pb2.ModelSpec, name: str, version: int | str | None) -> None:
    """Names a model in a request.

    Args:
      spec: Field of the request.
      name: Name of the model.
      version: Number or label of the version; None for the newest.

    Raises:
      UserError: If there can be no version of that number.
    """
    spec.name = name
    if isinstance(version, str):
        spec.version_label = version
    elif version is not None:
        if not 0 <= version <= MAX_VERSION:
            raise UserError(
                f"{version} is no version of a model; give a number from 0 to {MAX_VERSION}"
            )
        spec.version.value = version


def predict_request(
    model_name: str,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    version: int | str | None = None,
) -> predict_pb2.PredictRequest:
    """Builds a request to Predict.

    Args:
      model_name: Name of the model.
      signature: Name of the signature.
      inputs: Arrays by the names of the signature's inputs.
      version: Number or label of the version; None for the newest.

    Raises:
      UserError: If there can be no version of that number.
    """
    request = predict_pb2.PredictRequest()
    set_model(request.model_spec, model_name, version)
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        fill_proto(request.inputs[name], np.asarray(array))
    return request


def read_outputs(response: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    """Returns the outputs of a signature as arrays, by name."""
    return {name: to_array(value) for name, value in response.outputs.items()}


def generate_request(
    model_name: str,
    prompts: Sequence[str | bytes],
    length: int,
    params: SamplingParams = SamplingParams(),  # noqa: B008  immutable
    states: np.ndarray | None = None,
    version: int | str | None = None,
    first_row: int = 0,
) -> predict_pb2.PredictRequest:
    """Builds a request to `generate`. Default values are omitted.

    Args:
      model_name: Name of the model.
      prompts: Texts to continue.
      length: Number of characters to add to each.
      params: Parameters of sampling.
      states: States of the texts before the prompts, `[prompts, state_size]`; None for new texts.
      version: Number or label of the version; None for the newest.
      first_row: Number that the first prompt has in a list whose parts are requests of their own.
        Default 0.

    Raises:
      UserError: If a number does not fit into the dtype of its input.
    """
    rows = np.arange(first_row, first_row + len(prompts), dtype=np.int64)
    inputs = {
        "prompt": to_bytes_array(prompts),
        "length": _one_row(_ROWS["length"], length),
        "seed": _one_row(_ROWS["seed"], params.seed) + rows,  # beyond the largest come the smallest
    }
    for row in SAMPLING_INPUTS:
        array = _one_row(row, getattr(params, row.name))
        if row.name not in inputs and not np.array_equal(array, _one_row(row, row.default)):
            inputs[row.name] = array
    if states is not None:
        inputs["state"] = states
    return predict_request(model_name, "generate", inputs, version)


def _one_row(row: GenerateInput, value: Any) -> np.ndarray:
    """Returns the value of an input as an array `[1]`."""
    if row.dtype == "string":
        return to_bytes_array([value])
    try:
        return np.array([value], row.dtype)
    except (OverflowError, ValueError, TypeError) as error:
        shown = str(value)[:_MAX_SHOWN]
        raise UserError(f"{row.name} {shown} is no {row.dtype}; give another") from error


def read_texts(response: predict_pb2.PredictResponse) -> list[Text]:
    """Returns the texts in the answer to a `generate_request`, one per prompt."""
    outputs = read_outputs(response)
    texts = []
    for row, count in enumerate(outputs["characters"]):
        texts.append(
            Text(
                text=outputs["text"][row],
                stopped=bool(outputs["stopped"][row]),
                log_probabilities=outputs["log_probabilities"][row, :count],
                alternatives=outputs["alternatives"][row, :count],
                alternative_log_probabilities=outputs["alternative_log_probabilities"][row, :count],
                state=outputs["state"][row],
            )
        )
    return texts


def to_bytes_array(texts: Sequence[str | bytes]) -> np.ndarray:
    """Returns texts as an array `[texts]` of bytes, of which strings are encoded as UTF-8."""
    encoded = [
        text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in texts
    ]
    return np.array(encoded, object)
