"""A gRPC client of TensorFlow Serving's protocol for this project's signatures."""

from collections.abc import Sequence
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from model.errors import InputError

MAX_MESSAGE_BYTES = 1 << 30


class Text(NamedTuple):
    """A generated text.

    Attributes:
      text: what was added to the prompt.
      log_probabilities: `[length]`, ln p of each added character.
      state: `[state_size]`, what the text has left behind.
    """

    text: bytes
    log_probabilities: np.ndarray
    state: np.ndarray


class Score(NamedTuple):
    """How well a text is predicted.

    Attributes:
      bits_per_character: the mean of -log2 p.
      log_probabilities: `[characters]`, ln p of each character.
    """

    bits_per_character: float
    log_probabilities: np.ndarray


class Client:
    """Asks one model of a server.

    Every method raises `InputError` with the server's own words where the server refuses.
    """

    def __init__(self, server: str, model_name: str, timeout: float = 60.0):
        """Connects to `server`, as `host:port`; `timeout` is in seconds, per request."""
        self._server = server
        self._model_name = model_name
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            server,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
        )
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature with arrays."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model_name
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._prediction.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def generate(
        self,
        prompts: Sequence[str | bytes],
        length: int,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Text]:
        """Continues prompts; see `serving.export`. Row n uses the seed `seed + n`."""
        rows = len(prompts)
        outputs = self.predict(
            "generate",
            {
                "prompt": np.array([_encoded(prompt) for prompt in prompts], object),
                "length": np.full(rows, length, np.int32),
                "temperature": np.full(rows, temperature, np.float32),
                "top_k": np.full(rows, top_k, np.int32),
                "top_p": np.full(rows, top_p, np.float32),
                "seed": seed + np.arange(rows, dtype=np.int64),
            },
        )
        columns = outputs["text"], outputs["log_probabilities"], outputs["state"]
        return [Text(*row) for row in zip(*columns, strict=True)]

    def score(self, texts: Sequence[str | bytes]) -> list[Score]:
        """Scores texts."""
        encoded = np.array([_encoded(text) for text in texts], object)
        outputs = self.predict("score", {"text": encoded})
        columns = outputs["bits_per_character"], outputs["log_probabilities"]
        return [Score(float(bits), scores) for bits, scores in zip(*columns, strict=True)]

    def metadata(self) -> get_model_metadata_pb2.SignatureDefMap:
        """The signatures of the model."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model_name
        response = self._call(self._prediction.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return signatures

    def available_versions(self) -> list[int]:
        """The versions that can be asked."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model_name
        statuses = self._call(self._model.GetModelStatus, request).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return [status.version for status in statuses if status.state == available]

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAVAILABLE:
                raise InputError(
                    f"no server answers at {self._server}; start one with `python -m serving "
                    "serve`, or give its address with --server"
                ) from error
            raise InputError(f"{code.name}: {error.details()}") from error


def _encoded(text):
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
