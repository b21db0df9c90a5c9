"""Requests for this project's signatures in TensorFlow Serving's protocol, and their answers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.tensors import array_of

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Choices(NamedTuple):
    """How `generate` chooses characters; see `served_model.ServedModel.generate`.

    Row n of a request uses the seed `seed + n`.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: str | bytes = b""
    alternatives: int = 0


class Text(NamedTuple):
    """A generated text, or a piece of one.

    Attributes:
      text: what was added to the prompt.
      stopped: whether the stop string ended it.
      log_probabilities: `[characters]`, ln p of each added character.
      alternatives: `[characters, k]`, the likeliest characters at each place, the likeliest first.
      alternative_log_probabilities: `[characters, k]`, theirs.
      state: `[state_size]`, what the text has left behind, to go on from.
    """

    text: bytes
    stopped: bool
    log_probabilities: np.ndarray
    alternatives: np.ndarray
    alternative_log_probabilities: np.ndarray
    state: np.ndarray


class Score(NamedTuple):
    """How well a text is predicted.

    Attributes:
      bits_per_character: the mean of -log2 p.
      log_probabilities: `[characters]`, ln p of each character.
    """

    bits_per_character: float
    log_probabilities: np.ndarray


def predict_request(
    model_name: str,
    signature: str,
    inputs: Mapping[str, object],
    version: int | str | None = None,
) -> predict_pb2.PredictRequest:
    """A request with arrays as inputs, for the newest version or the one of a number or label."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    if isinstance(version, str):
        request.model_spec.version_label = version
    elif version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def outputs_of(response: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    """The outputs of a signature as arrays."""
    return {name: array_of(value) for name, value in response.outputs.items()}


def generate_request(
    model_name: str,
    prompts: Sequence[str | bytes],
    length: int,
    choices: Choices = Choices(),  # noqa: B008  a tuple, which nobody can change
    states: np.ndarray | None = None,
    version: int | str | None = None,
) -> predict_pb2.PredictRequest:
    """A request to continue prompts, or texts that have left the given states behind.

    What is as the signature has it by default is left out.
    """
    inputs = {
        "prompt": strings(prompts),
        "length": np.array([length], np.int32),
        "seed": choices.seed + np.arange(len(prompts), dtype=np.int64),
    }
    default = Choices()
    for name, dtype in (
        ("temperature", np.float32),
        ("top_k", np.int32),
        ("top_p", np.float32),
        ("alternatives", np.int32),
    ):
        if getattr(choices, name) != getattr(default, name):
            inputs[name] = np.array([getattr(choices, name)], dtype)
    if choices.stop:
        inputs["stop"] = strings([choices.stop])
    if states is not None:
        inputs["state"] = states
    return predict_request(model_name, "generate", inputs, version)


def texts_of(response: predict_pb2.PredictResponse) -> list[Text]:
    """The answer to a `generate_request`."""
    outputs = outputs_of(response)
    counts = outputs["characters"]
    per_character = "log_probabilities", "alternatives", "alternative_log_probabilities"
    return [
        Text(
            outputs["text"][row],
            bool(outputs["stopped"][row]),
            *(outputs[name][row, : counts[row]] for name in per_character),
            outputs["state"][row],
        )
        for row in range(len(counts))
    ]


def strings(values: Sequence[str | bytes]) -> np.ndarray:
    """Texts as bytes."""
    encoded = [
        value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for value in values
    ]
    return np.array(encoded, object)
