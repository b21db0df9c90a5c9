"""Texts from a model server, token by token, in pieces; the gateway carries the state between."""

import contextlib
from collections.abc import AsyncGenerator
from typing import NamedTuple

from serving.client.client import PIECE_LENGTH
from serving.client.stream import ReadPrefix, Stream
from serving.gateway.backend import Backend
from serving.gateway.characters import split
from serving.gateway.errors import ApiError
from serving.gateway.metrics import Metrics, Pace
from serving.gateway.models import Models, ServedModel
from serving.gateway.prefix_cache import PrefixCache
from serving.gateway.stops import Token
from serving.protocol import SamplingParams, Text

LONG_PIECE = 64
"""Characters of a piece of a text that nobody reads before it is complete."""


class Job(NamedTuple):
    """A text to generate.

    Attributes:
      model: The model.
      prompt: Text to continue.
      length: Number of characters to add.
      params: Parameters of sampling, without a stop string.
      is_streamed: Whether the client reads the text as it comes.
    """

    model: ServedModel
    prompt: bytes
    length: int
    params: SamplingParams
    is_streamed: bool


class Generator:
    """Generates texts on a model server."""

    def __init__(self, backend: Backend, models: Models, cache: PrefixCache, metrics: Metrics):
        """Takes the parts that all texts share.

        Args:
          backend: The model server.
          models: Its models.
          cache: States of prompts' beginnings.
          metrics: Metrics, to which each text is added.
        """
        self._backend = backend
        self._models = models
        self._cache = cache
        self._metrics = metrics

    async def pieces(self, job: Job) -> AsyncGenerator[list[Token]]:
        """Yields the tokens of a text, piece by piece.

        The first piece is one character, so that it comes soon. The text is that of
        `Client.generate` for the same seed.

        Args:
          job: The text.

        Raises:
          ApiError: If the server refuses a piece, or does not answer.
        """
        pace = Pace()
        try:
            async with contextlib.aclosing(self._texts(job)) as texts:
                async for piece in texts:
                    pace.add(len(piece.log_probabilities))
                    yield tokens_of(piece)
        finally:
            self._metrics.generated(pace)

    async def _texts(self, job: Job) -> AsyncGenerator[Text]:
        prefix = await self._read_prefix(job)
        stream = _stream(job, prefix)
        has_begun = False
        while stream.request:
            try:
                response = await self._backend.predict(stream.request, wait_for_ready=has_begun)
            except ApiError as error:
                if stream.retry_with_other_version(error.grpc_code):
                    self._models.forget(job.model)
                elif prefix and not has_begun and _is_stale(error):
                    self._cache.forget(job.model)
                    self._models.forget(job.model)
                    prefix = None
                    stream = _stream(job, prefix)
                else:
                    raise
                continue
            has_begun = True
            yield stream.advance(response)

    async def _read_prefix(self, job: Job) -> ReadPrefix | None:
        """Returns what the cache has of a prompt, or reads; None where the version has changed."""
        if not job.length:
            return None
        try:
            return await self._cache.read(job.model, job.prompt)
        except ApiError as error:
            if _is_stale(error):
                self._cache.forget(job.model)
                self._models.forget(job.model)
            elif error.grpc_code == "NOT_FOUND":
                self._models.forget(job.model)
            else:
                raise
        return None


def _stream(job: Job, prefix: ReadPrefix | None) -> Stream:
    return Stream(
        job.model.name,
        job.prompt,
        job.length,
        PIECE_LENGTH if job.is_streamed else LONG_PIECE,
        job.params,
        prefix=prefix,
    )


def _is_stale(error: ApiError) -> bool:
    """Returns whether a server refused a state, as another version has the number of its own."""
    return error.grpc_code == "INVALID_ARGUMENT" and error.message.startswith("state ")


def tokens_of(piece: Text) -> list[Token]:
    """Returns the tokens of a piece of a text.

    Args:
      piece: The piece.
    """
    count = len(piece.log_probabilities)
    characters = split(piece.text, "bytes" if len(piece.text) == count else "unicode")
    return [
        Token(character, float(log_probability), list(zip(likeliest, scores, strict=True)))
        for character, log_probability, likeliest, scores in zip(
            characters,
            piece.log_probabilities.tolist(),
            piece.alternatives.tolist(),
            piece.alternative_log_probabilities.tolist(),
            strict=True,
        )
    ]
