"""The log-probabilities of a prompt's characters, and the likeliest characters in their places."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from serving.client.client import read_scores
from serving.gateway.backend import Backend
from serving.gateway.characters import split
from serving.gateway.errors import ApiError, invalid
from serving.gateway.models import Models, ServedModel
from serving.gateway.options import SCORED_ROWS
from serving.gateway.stops import Token
from serving.protocol import (
    SamplingParams,
    generate_request,
    predict_request,
    read_texts,
    to_bytes_array,
)


class PromptScorer:
    """Scores prompts on a model server."""

    def __init__(self, backend: Backend, models: Models, max_rows: int):
        """Takes a model server, its models, and the largest number of rows of a request."""
        self._backend = backend
        self._models = models
        self._max_rows = max_rows

    async def tokens(self, model: ServedModel, prompt: bytes, count: int) -> list[Token]:
        """Returns the characters of a prompt with their log-probabilities.

        Those of the characters are those of the signature `score`. No signature reports what else
        was likely in a text that it reads, so that is asked of `generate` for each beginning of the
        prompt: the states at the ends of blocks are read one after another, and the characters of
        four blocks are a request.

        Where the version has been unloaded, the one that answers now scores the prompt.

        Args:
          model: The model.
          prompt: The prompt.
          count: Number of alternatives; 0 for none, which takes a single request.

        Raises:
          ApiError: If the model does not know a character, or normalises the text to another one.
        """
        try:
            return await self._tokens(model, prompt, count)
        except ApiError as error:
            if error.grpc_code != "NOT_FOUND":
                raise
        self._models.forget(model)
        return await self._tokens(await self._models.get(model.name), prompt, count)

    async def _tokens(self, model: ServedModel, prompt: bytes, count: int) -> list[Token]:
        """Returns the characters of a prompt as a version scores them."""
        characters = split(prompt, model.unit)
        if not characters:
            return []
        request = predict_request(
            model.name, "score", {"text": to_bytes_array([prompt])}, model.version
        )
        (score,) = read_scores(await self._backend.predict(request))
        if len(score.log_probabilities) != len(characters):
            raise invalid(
                f"{model.name} normalises its text, so that its log-probabilities are not those of "
                "the prompt's characters; leave out echo or logprobs",
                "logprobs",
            )
        tokens = [
            Token(character, float(value))
            for character, value in zip(characters, score.log_probabilities.tolist(), strict=True)
        ]
        if not count:
            return tokens
        alternatives = await self._alternatives(model, characters, count)
        return [
            token._replace(alternatives=_consistent(token, likeliest))
            for token, likeliest in zip(tokens, alternatives, strict=True)
        ]

    async def _alternatives(
        self, model: ServedModel, characters: Sequence[bytes], count: int
    ) -> list[list[tuple[bytes, float]]]:
        """Returns the likeliest characters at each position, with their log-probabilities."""
        blocks = [
            list(characters[begin : begin + SCORED_ROWS])
            for begin in range(0, len(characters), SCORED_ROWS)
        ]
        states: list[np.ndarray | None] = [None]
        for block in blocks[:-1]:
            request = generate_request(
                model.name, [b"".join(block)], 0, states=states[-1], version=model.version
            )
            (text,) = read_texts(await self._backend.predict(request))
            states.append(text.state[None])
        size = max(1, self._max_rows // SCORED_ROWS)
        groups = list(_groups(list(zip(blocks, states, strict=True)), size))
        try:
            async with asyncio.TaskGroup() as tasks:
                answers = [tasks.create_task(self._likeliest(model, one, count)) for one in groups]
        except* ApiError as errors:  # the others are cancelled
            raise errors.exceptions[0] from None
        return list(itertools.chain.from_iterable(one.result() for one in answers))

    async def _likeliest(
        self,
        model: ServedModel,
        blocks: Sequence[tuple[list[bytes], np.ndarray | None]],
        count: int,
    ) -> list[list[tuple[bytes, float]]]:
        """Returns the likeliest characters at each position of some blocks."""
        rows = [b"".join(block[:end]) for block, _ in blocks for end in range(len(block))]
        states = [np.repeat(state, len(block), 0) for block, state in blocks if state is not None]
        request = generate_request(
            model.name,
            rows,
            1,
            SamplingParams(alternatives=count),
            states=np.concatenate(states) if states else None,
            version=model.version,
        )
        texts = read_texts(await self._backend.predict(request))
        return [
            list(
                zip(
                    text.alternatives[0].tolist(),
                    text.alternative_log_probabilities[0].tolist(),
                    strict=True,
                )
            )
            for text in texts
        ]


def _groups(
    blocks: Sequence[tuple[list[bytes], np.ndarray | None]], size: int
) -> Iterator[Sequence[tuple[list[bytes], np.ndarray | None]]]:
    """Yields the blocks of each request: the first alone, as it has no state, and then several."""
    yield blocks[:1]
    for begin in range(1, len(blocks), size):
        yield blocks[begin : begin + size]


def _consistent(
    token: Token, alternatives: Sequence[tuple[bytes, float]]
) -> list[tuple[bytes, float]]:
    """Returns alternatives in which the token itself has its own log-probability.

    The two signatures round differently, and clients compare the values for equality.
    """
    return [
        (character, token.log_probability if character == token.character else value)
        for character, value in alternatives
    ]
