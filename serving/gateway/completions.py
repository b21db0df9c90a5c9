"""Answers the requests of the OpenAI API for completions."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from model.config import CharacterUnit
from serving.gateway.characters import from_tokens, length
from serving.gateway.choices import Choice, Delta
from serving.gateway.completion_request import CompletionRequest, Prompt
from serving.gateway.errors import invalid
from serving.gateway.generation import Generator, Job
from serving.gateway.models import Models, ServedModel
from serving.gateway.options import MAX_REPORTED, MAX_TOTAL_TOKENS
from serving.gateway.prompt_scores import PromptScorer
from serving.gateway.stops import Token
from serving.generate_inputs import SMALLEST
from serving.limits import MAX_LENGTH
from serving.protocol import SamplingParams

_SEEDS = 2**63


class Completions:
    """Completions by the models of a server."""

    def __init__(self, models: Models, generator: Generator, scorer: PromptScorer):
        """Takes what texts and scores come from."""
        self._models = models
        self._generator = generator
        self._scorer = scorer

    async def begin(self, request: CompletionRequest) -> "Completion":
        """Returns the completion of a request, of which nothing is generated yet.

        Args:
          request: The request.

        Raises:
          ApiError: If the request is for too much, or there is no such model.
        """
        model = await self._models.get(request.model)
        prompts = [_to_bytes(prompt, model) for prompt in request.prompt]
        _check_sizes(request, prompts, model.unit)
        return Completion(request, model, prompts, self._generator, self._scorer)


def _to_bytes(prompt: Prompt, model: ServedModel) -> bytes:
    if isinstance(prompt, bytes):
        return prompt
    try:
        return from_tokens(prompt, model.unit)
    except ValueError as error:
        raise invalid(f"prompt: {error}", "prompt") from error


def _check_sizes(request: CompletionRequest, prompts: Sequence[bytes], unit: CharacterUnit) -> None:
    """Checks that the whole of a request is not too much, before any of it is begun."""
    lengths = [length(prompt, unit) for prompt in prompts]
    longest = max(lengths, default=0)
    if longest > MAX_LENGTH:
        raise invalid(
            f"prompt has {longest} characters of the model, over the limit of {MAX_LENGTH}; send a "
            "shorter one",
            "prompt",
        )
    texts = len(prompts) * request.n
    characters = sum(lengths)
    total = characters + texts * request.max_tokens
    if total > MAX_TOTAL_TOKENS:
        raise invalid(
            f"the prompts and max_tokens of {texts} texts are {total} characters, over the limit "
            f"of {MAX_TOTAL_TOKENS}; send several requests",
            "max_tokens",
        )
    if request.logprobs is None:
        return
    positions = texts * request.max_tokens
    if request.echo:
        positions += request.n * characters
    reported = positions * (request.logprobs + 1)
    if reported > MAX_REPORTED:
        raise invalid(
            f"{reported} log-probabilities are over the limit of {MAX_REPORTED}; ask for fewer "
            "with logprobs or max_tokens, or in several requests",
            "logprobs",
        )


class _Usage(NamedTuple):
    prompt: int
    completion: int

    @property
    def json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


class Completion:
    """One request while it is answered."""

    def __init__(
        self,
        request: CompletionRequest,
        model: ServedModel,
        prompts: Sequence[bytes],
        generator: Generator,
        scorer: PromptScorer,
    ):
        """Prepares the texts; see `Completions.begin`."""
        self._request = request
        self._model = model
        self._generator = generator
        self._scorer = scorer
        self._seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        self._choices = [
            Choice(prompt, model.unit, request.stop, request.logprobs)
            for prompt in prompts
            for _ in range(request.n)
        ]
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": f"{model.name}:{model.version}",
        }

    async def answer(self) -> dict[str, Any]:
        """Returns the whole answer, as JSON values."""
        deltas: list[list[Delta]] = [[] for _ in self._choices]
        async with contextlib.aclosing(self._deltas()) as stream:
            async for index, delta in stream:
                deltas[index].append(delta)
        choices = [Delta.join(parts).json(index) for index, parts in enumerate(deltas)]
        return {**self._head, "choices": choices, "usage": self._usage.json}

    async def events(self) -> AsyncGenerator[dict[str, Any]]:
        """Yields the answer in pieces, each the JSON values of an event."""
        options = self._request.stream_options
        with_usage = bool(options and options.include_usage)
        empty = {"usage": None} if with_usage else {}
        async with contextlib.aclosing(self._deltas()) as stream:
            async for index, delta in stream:
                yield {**self._head, "choices": [delta.json(index)], **empty}
        if with_usage:
            yield {**self._head, "choices": [], "usage": self._usage.json}

    @property
    def _usage(self) -> _Usage:
        """The tokens of each prompt once, and of each text up to where it ended."""
        prompts = self._choices[:: self._request.n]
        return _Usage(
            prompt=sum(choice.prompt_tokens for choice in prompts),
            completion=sum(choice.generated_tokens for choice in self._choices),
        )

    async def _deltas(self) -> AsyncGenerator[tuple[int, Delta]]:
        """Yields the pieces of all texts as they come, each with the index of its text.

        A reader that is slow has the texts wait.
        """
        queue: asyncio.Queue[tuple[int, Delta | Exception | None]]
        queue = asyncio.Queue(maxsize=len(self._choices))

        async def put_deltas(index: int) -> None:
            try:
                async with contextlib.aclosing(self._choice_deltas(index)) as deltas:
                    async for delta in deltas:
                        await queue.put((index, delta))
                await queue.put((index, None))
            except Exception as error:
                await queue.put((index, error))

        tasks = [asyncio.create_task(put_deltas(index)) for index in range(len(self._choices))]
        try:
            left = len(tasks)
            while left:
                index, item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    left -= 1
                else:
                    yield index, item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _choice_deltas(self, index: int) -> AsyncGenerator[Delta]:
        request, choice = self._request, self._choices[index]
        delta = Delta()  # goes out with the first piece, so that an error comes before all else
        if request.echo:
            prompt_tokens: Sequence[Token] = ()
            if request.logprobs is not None:
                prompt_tokens = await self._scorer.tokens(
                    self._model, choice.prompt, request.logprobs
                )
            delta = choice.echo(prompt_tokens)
        # Seeds go on from the largest with the smallest, as those of the clients do.
        seed = (self._seed + index + _SEEDS) % (2 * _SEEDS) - _SEEDS
        params = SamplingParams(
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=max(request.top_p, SMALLEST),
            seed=seed,
            alternatives=request.logprobs or 0,
        )
        job = Job(self._model, choice.prompt, request.max_tokens, params, request.stream)
        async with contextlib.aclosing(self._generator.pieces(job)) as pieces:
            async for tokens in pieces:
                delta = Delta.join([delta, choice.add(tokens)])
                if choice.has_stopped or choice.generated_tokens == request.max_tokens:
                    break  # the last piece says how the text ended
                if delta.text or delta.tokens:
                    yield delta
                    delta = Delta()
        yield Delta.join([delta, choice.finish()])
