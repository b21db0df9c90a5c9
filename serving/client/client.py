"""gRPC clients of TensorFlow Serving's protocol for this project's signatures."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from common.errors import UserError
from serving.client.stream import Stream
from serving.limits import MAX_MESSAGE_BYTES
from serving.protocol import (
    Choices,
    Score,
    Text,
    generate_request,
    outputs_of,
    predict_request,
    strings,
    texts_of,
)

PIECE = 16  # characters

# gRPC itself asks again where a server goes away. One that has answered before is waited for.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]


class ServerError(UserError):
    """A server's refusal, in its own words; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code


class Address(NamedTuple):
    """Which model to ask, and where.

    Attributes:
      server: `host:port`, or `unix:path`.
      model_name: of the model.
      timeout: seconds that a request may take.
      credentials: for TLS, see `grpc.ssl_channel_credentials`; None for none.
      version: a version's number or label; None for the newest.
    """

    server: str
    model_name: str
    timeout: float = 60.0
    credentials: grpc.ChannelCredentials | None = None
    version: int | str | None = None

    def channel(self, library):
        """A channel of `grpc` or of `grpc.aio`."""
        if self.credentials:
            return library.secure_channel(self.server, self.credentials, _OPTIONS)
        return library.insecure_channel(self.server, _OPTIONS)

    def refused(self, error: grpc.RpcError) -> ServerError:
        """What a failed call is to the user."""
        code = error.code().name
        if code == "UNAVAILABLE":
            return ServerError(
                code,
                f"no server answers at {self.server}; start one with `python -m serving serve`, or "
                "give its address with --server",
            )
        return ServerError(code, f"{code}: {error.details()}")


class Client:
    """Asks one model of a server.

    Every method raises `ServerError` with the server's own words where the server refuses.

    Attributes:
      address: of the server and its model.
    """

    def __init__(self, address: Address):
        self.address = address
        self._channel = channel = address.channel(grpc)
        self._answered = False
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Calls a signature."""
        return self._call(self._prediction.Predict, request)

    def generate(
        self,
        prompts: Sequence[str | bytes],
        length: int,
        choices: Choices = Choices(),  # noqa: B008
    ) -> list[Text]:
        """Continues prompts."""
        request = generate_request(
            self.address.model_name, prompts, length, choices, version=self.address.version
        )
        return texts_of(self.predict(request))

    def stream(
        self,
        prompt: str | bytes,
        length: int,
        choices: Choices = Choices(),  # noqa: B008
        piece: int = PIECE,
    ) -> Iterator[Text]:
        """Continues a prompt piece by piece, as the characters come; see `stream.Stream`."""
        stream = Stream(
            self.address.model_name, prompt, length, piece, choices, self.address.version
        )
        while stream.request:
            try:
                response = self.predict(stream.request)
            except ServerError as error:
                if not stream.is_to_go_on_without(error.code):
                    raise
                continue
            yield stream.take(response)

    def score(self, texts: Sequence[str | bytes]) -> list[Score]:
        """Scores texts."""
        return _scores(self.predict(_text_request(self.address, "score", texts)))

    def embed(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Texts as feature vectors, `[texts, layers * units]`."""
        response = self.predict(_text_request(self.address, "embed", texts))
        return outputs_of(response)["embedding"]

    def metadata(self) -> get_model_metadata_pb2.SignatureDefMap:
        """The signatures of the model."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.address.model_name
        response = self._call(self._prediction.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return signatures

    def available_versions(self) -> list[int]:
        """The versions that can be asked."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.address.model_name
        statuses = self._call(self._model.GetModelStatus, request).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return [status.version for status in statuses if status.state == available]

    def _call(self, method, request):
        try:
            timeout, wait = self.address.timeout, self._answered
            response = method(request, timeout=timeout, wait_for_ready=wait)
        except grpc.RpcError as error:
            raise self.address.refused(error) from error
        self._answered = True
        return response


class AsyncClient:
    """As `Client`, for asyncio."""

    def __init__(self, address: Address):
        self.address = address
        self._channel = channel = address.channel(grpc.aio)
        self._answered = False
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._channel.close()

    async def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Calls a signature."""
        try:
            timeout, wait = self.address.timeout, self._answered
            response = await self._prediction.Predict(request, timeout=timeout, wait_for_ready=wait)
        except grpc.RpcError as error:
            raise self.address.refused(error) from error
        self._answered = True
        return response

    async def generate(
        self,
        prompts: Sequence[str | bytes],
        length: int,
        choices: Choices = Choices(),  # noqa: B008
    ) -> list[Text]:
        """Continues prompts."""
        request = generate_request(
            self.address.model_name, prompts, length, choices, version=self.address.version
        )
        return texts_of(await self.predict(request))

    async def stream(
        self,
        prompt: str | bytes,
        length: int,
        choices: Choices = Choices(),  # noqa: B008
        piece: int = PIECE,
    ) -> AsyncIterator[Text]:
        """Continues a prompt piece by piece, as the characters come; see `stream.Stream`."""
        stream = Stream(
            self.address.model_name, prompt, length, piece, choices, self.address.version
        )
        while stream.request:
            try:
                response = await self.predict(stream.request)
            except ServerError as error:
                if not stream.is_to_go_on_without(error.code):
                    raise
                continue
            yield stream.take(response)

    async def score(self, texts: Sequence[str | bytes]) -> list[Score]:
        """Scores texts."""
        return _scores(await self.predict(_text_request(self.address, "score", texts)))


def _text_request(address, signature, texts):
    inputs = {"text": strings(texts)}
    return predict_request(address.model_name, signature, inputs, address.version)


def _scores(response):
    outputs = outputs_of(response)
    columns = outputs["bits_per_character"], outputs["log_probabilities"]
    return [Score(float(bits), scores) for bits, scores in zip(*columns, strict=True)]
