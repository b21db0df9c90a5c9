"""gRPC clients of TensorFlow Serving's protocol for this project's signatures."""

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

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
from serving.limits import MAX_MESSAGE_BYTES, MAX_ROWS
from serving.messages import plain
from serving.protocol import (
    SamplingParams,
    Score,
    Text,
    generate_request,
    predict_request,
    read_outputs,
    read_texts,
    set_model,
    to_bytes_array,
)

DEFAULT_TIMEOUT = 60.0
"""Default of the seconds that a request may take."""

PIECE_LENGTH = 16
"""Default number of characters of each piece of a stream but the first."""

# gRPC itself retries where a server goes away, and takes turns where a name stands for several. A
# server that has answered before is waited for.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
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
    ],
}


class ServerError(UserError):
    """An error that a server answered with, with the server's message.

    Attributes:
      code: Name of the gRPC status code, such as "INVALID_ARGUMENT".
    """

    def __init__(self, code: str, message: str):
        """Stores the name of a gRPC status code and a message."""
        super().__init__(message)
        self.code = code


class Address(NamedTuple):
    """A model on a server.

    Attributes:
      server: Address of the server, `host:port` or `unix:path`.
      model_name: Name of the model on the server.
      timeout: Seconds that a request may take. Default 60.
      credentials: Credentials for TLS, see `grpc.ssl_channel_credentials`; None for an insecure
        channel. Default None.
      version: Number or label of the version; None for the newest. Default None.
      max_rows: Largest number of texts in one request, of which a longer list becomes several. A
        model answers up to the `--max_batch_size` that it was pushed with. Default 64.
      max_message_bytes: Largest size of a request, and of an answer. Default 1 GiB.
    """

    server: str
    model_name: str
    timeout: float = DEFAULT_TIMEOUT
    credentials: grpc.ChannelCredentials | None = None
    version: int | str | None = None
    max_rows: int = MAX_ROWS
    max_message_bytes: int = MAX_MESSAGE_BYTES

    def parts(self, texts: Sequence[str | bytes]) -> Iterator[tuple[int, Sequence[str | bytes]]]:
        """Yields the parts of a list that are requests of their own, with the number of the first.

        Args:
          texts: List of texts.
        """
        for first in range(0, len(texts), self.max_rows):
            yield first, texts[first : first + self.max_rows]

    def open_channel(self, library: ModuleType) -> Any:
        """Opens a channel to the server.

        Args:
          library: `grpc` or `grpc.aio`, whose channel is wanted.
        """
        options = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ]
        if self.credentials:
            return library.secure_channel(self.server, self.credentials, options)
        return library.insecure_channel(self.server, options)

    def server_error(self, error: grpc.RpcError) -> ServerError:
        """Returns the error to raise for a call that failed."""
        code = error.code().name
        if code == "UNAVAILABLE":
            return ServerError(
                code,
                f"no server answers at {self.server}; start one with `python -m serving serve`, or "
                "give its address with --server",
            )
        return ServerError(code, f"{code}: {plain(error.details() or '')}")


class Client:
    """A client of one model on a server.

    Every method raises `ServerError` where the server answers with an error.

    Example:

    >>> from serving.client import Address, Client, SamplingParams
    >>> with Client(Address("127.0.0.1:8500", "letters")) as client:
    ...     (text,) = client.generate(["abc"], 20, SamplingParams(temperature=0.8, seed=7))
    ...     pieces = list(client.stream("abc", 20, SamplingParams(temperature=0.8, seed=7)))
    ...     (score,) = client.score(["abc"])
    >>> len(text.log_probabilities)
    20
    >>> b"".join(piece.text for piece in pieces) == text.text
    True
    >>> score.log_probabilities.shape
    (3,)

    Attributes:
      address: Address of the model.
    """

    def __init__(self, address: Address):
        """Opens a channel; connecting waits for the first request.

        Args:
          address: Address of the model.
        """
        self.address = address
        self._channel = channel = address.open_channel(grpc)
        self._has_answered = False
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(channel)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Calls a signature with a request as it is."""
        return self._call(self._prediction.Predict, request)

    def generate(
        self,
        prompts: Sequence[str | bytes],
        length: int,
        params: SamplingParams = SamplingParams(),  # noqa: B008
    ) -> list[Text]:
        """Continues prompts, as many in each request as it may have.

        Args:
          prompts: Texts to continue.
          length: Number of characters to add to each.
          params: Parameters of sampling.

        Returns:
          The added texts, one per prompt.
        """
        requests = _generate_requests(self.address, prompts, length, params)
        return [text for request in requests for text in read_texts(self.predict(request))]

    def stream(
        self,
        prompt: str | bytes,
        length: int,
        params: SamplingParams = SamplingParams(),  # noqa: B008
        piece_length: int = PIECE_LENGTH,
    ) -> Iterator[Text]:
        """Continues a prompt piece by piece, as the characters come; see `stream.Stream`.

        Args:
          prompt: Text to continue.
          length: Number of characters to add.
          params: Parameters of sampling.
          piece_length: Number of characters of each piece but the first, which has one.

        Yields:
          The pieces; joined they are the text that `generate` returns for the same seed.
        """
        stream = Stream(
            self.address.model_name, prompt, length, piece_length, params, self.address.version
        )
        while stream.request:
            try:
                response = self.predict(stream.request)
            except ServerError as error:
                if not stream.retry_with_other_version(error.code):
                    raise
                continue
            yield stream.advance(response)

    def score(self, texts: Sequence[str | bytes]) -> list[Score]:
        """Returns how well the model predicts each of some texts."""
        requests = _text_requests(self.address, "score", texts)
        return [score for request in requests for score in read_scores(self.predict(request))]

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature of the model, and returns its outputs by name.

        Args:
          signature: Name of the signature.
          inputs: Its inputs by name.

        Raises:
          ServerError: If the server answers with an error.
        """
        address = self.address
        request = predict_request(address.model_name, signature, inputs, address.version)
        return read_outputs(self.predict(request))

    def embed(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Returns the feature vectors of texts, float32 `[texts, layers * units]`."""
        requests = _text_requests(self.address, "embed", texts)
        parts = [read_outputs(self.predict(request))["embedding"] for request in requests]
        return np.concatenate(parts) if parts else np.zeros([0, 0], np.float32)

    def metadata(self) -> get_model_metadata_pb2.SignatureDefMap:
        """Returns the signatures of the version that the address names, or of the newest."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        set_model(request.model_spec, self.address.model_name, self.address.version)
        response = self._call(self._prediction.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return signatures

    def available_versions(self) -> list[int]:
        """Returns the numbers of the versions that the server has loaded."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.address.model_name
        statuses = self._call(self._model.GetModelStatus, request).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return [status.version for status in statuses if status.state == available]

    def _call(self, method: Callable, request: Any) -> Any:
        try:
            response = method(
                request, timeout=self.address.timeout, wait_for_ready=self._has_answered
            )
        except grpc.RpcError as error:
            raise self.address.server_error(error) from error
        self._has_answered = True
        return response


class AsyncClient:
    """A client of one model on a server, for asyncio.

    Every method raises `ServerError` where the server answers with an error.

    Example:

    >>> import asyncio
    >>> from serving.client import Address, AsyncClient, SamplingParams
    >>> async def sample(seed):
    ...     async with AsyncClient(Address("127.0.0.1:8500", "letters")) as client:
    ...         pieces = client.stream("abc", 20, SamplingParams(seed=seed))
    ...         return b"".join([piece.text async for piece in pieces])
    >>> async def sample_twice():
    ...     return await asyncio.gather(sample(seed=1), sample(seed=1))
    >>> first, second = asyncio.run(sample_twice())
    >>> first == second
    True

    Attributes:
      address: Address of the model.
    """

    def __init__(self, address: Address):
        """Opens a channel; connecting waits for the first request.

        Args:
          address: Address of the model.
        """
        self.address = address
        self._channel = channel = address.open_channel(grpc.aio)
        self._has_answered = False
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Calls a signature with a request as it is."""
        try:
            response = await self._prediction.Predict(
                request, timeout=self.address.timeout, wait_for_ready=self._has_answered
            )
        except grpc.RpcError as error:
            raise self.address.server_error(error) from error
        self._has_answered = True
        return response

    async def generate(
        self,
        prompts: Sequence[str | bytes],
        length: int,
        params: SamplingParams = SamplingParams(),  # noqa: B008
    ) -> list[Text]:
        """Continues prompts; see `Client.generate`."""
        requests = _generate_requests(self.address, prompts, length, params)
        return [text for request in requests for text in read_texts(await self.predict(request))]

    async def stream(
        self,
        prompt: str | bytes,
        length: int,
        params: SamplingParams = SamplingParams(),  # noqa: B008
        piece_length: int = PIECE_LENGTH,
    ) -> AsyncIterator[Text]:
        """Continues a prompt piece by piece, as the characters come; see `Client.stream`."""
        stream = Stream(
            self.address.model_name, prompt, length, piece_length, params, self.address.version
        )
        while stream.request:
            try:
                response = await self.predict(stream.request)
            except ServerError as error:
                if not stream.retry_with_other_version(error.code):
                    raise
                continue
            yield stream.advance(response)

    async def score(self, texts: Sequence[str | bytes]) -> list[Score]:
        """Returns how well the model predicts each of some texts."""
        requests = _text_requests(self.address, "score", texts)
        parts = [read_scores(await self.predict(request)) for request in requests]
        return [score for part in parts for score in part]


def _generate_requests(
    address: Address, prompts: Sequence[str | bytes], length: int, params: SamplingParams
) -> Iterator[predict_pb2.PredictRequest]:
    """Yields the requests that continue prompts, each with as many as it may have."""
    for first, part in address.parts(prompts):
        yield generate_request(
            address.model_name, part, length, params, version=address.version, first_row=first
        )


def _text_requests(
    address: Address, signature: str, texts: Sequence[str | bytes]
) -> Iterator[predict_pb2.PredictRequest]:
    """Yields the requests that call a signature with texts, each with as many as it may have."""
    for _, part in address.parts(texts):
        inputs = {"text": to_bytes_array(part)}
        yield predict_request(address.model_name, signature, inputs, address.version)


def read_scores(response: predict_pb2.PredictResponse) -> list[Score]:
    """Returns the scores in an answer of the signature `score`, one per text."""
    outputs = read_outputs(response)
    scores = []
    for bits, padded in zip(
        outputs["bits_per_character"], outputs["log_probabilities"], strict=True
    ):
        # Rows are as long as the longest text; the mean says how many characters this one has.
        total = -np.sum(padded, dtype=np.float64) / math.log(2)
        characters = round(total / bits) if total else 0
        scores.append(Score(float(bits), padded[:characters]))
    return scores
