"""Load of many clients that stream characters, over gRPC or through the gateway."""

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the client imports TensorFlow, which is not for the help of a benchmark
    from serving.client import Address


class Load(NamedTuple):
    """The load of clients on a server.

    Attributes:
      clients: Number of streams at once; in an open loop the largest number of them.
      piece: Number of characters per request over gRPC; the gateway chooses its own.
      seconds: Seconds of load.
      arrivals: Streams that start per second in an open loop, as a Poisson process; 0 for a closed
        loop, in which each client starts a stream when its last one ends. Default 0.
      length: Number of characters per stream. Default 256.
      over_gateway: Whether the clients are of the OpenAI API. Default False.
    """

    clients: int
    piece: int
    seconds: float
    arrivals: float = 0.0
    length: int = 256
    over_gateway: bool = False


class Served(NamedTuple):
    """The answers that clients got.

    Attributes:
      characters_per_second: Characters per second of all clients together.
      latencies: Seconds of each request, or of each event of a stream of the gateway, `[requests]`.
      firsts: Seconds to the first character of each stream, `[streams]`.
      failures: Number of failed requests.
      moved: Number of streams that went on with another version, as theirs had been unloaded.
    """

    characters_per_second: float
    latencies: np.ndarray
    firsts: np.ndarray
    failures: int
    moved: int


def run(address: "Address", load: Load, gateway: str = "") -> Served:
    """Runs a load and returns what the clients measured.

    Args:
      address: Address of the model.
      load: Load of the clients.
      gateway: URL of the gateway, for a load over it. Default "".
    """
    return asyncio.run(_run(address, load, gateway))


@dataclasses.dataclass
class _Record:
    """What the clients of a load see."""

    start: float
    end: float
    latencies: list[float] = dataclasses.field(default_factory=list)
    firsts: list[float] = dataclasses.field(default_factory=list)
    characters: int = 0
    failures: int = 0
    moved: int = 0
    last: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the time of the load is over."""
        return time.perf_counter() > self.end

    def add(self, sent: float, arrived: float | None, characters: int) -> None:
        """Adds a piece that has just come, unless it came too late.

        Args:
          sent: Time at which it was requested, or at which the piece before it came.
          arrived: Time at which the stream began, for its first piece; None for others.
          characters: Number of characters.
        """
        now = time.perf_counter()
        if now > self.end:
            return
        self.last = now
        self.latencies.append(now - sent)
        self.characters += characters
        if arrived is not None:
            self.firsts.append(now - arrived)


RunStream = Callable[[float], Awaitable[None]]
"""Runs one stream, given the time at which its client arrived."""


@contextlib.asynccontextmanager
async def _grpc_streams(
    address: "Address", load: Load, record: _Record
) -> AsyncIterator[RunStream]:
    """Yields the function that runs a stream over gRPC."""
    from serving.client import AsyncClient, SamplingParams, ServerError
    from serving.client.stream import Stream

    async with AsyncClient(address) as client:

        async def run_stream(arrived: float) -> None:
            params = SamplingParams(seed=random.getrandbits(40))
            stream = Stream(address.model_name, "", load.length, load.piece, params)
            begun: float | None = arrived
            while stream.request and not record.is_over:
                sent = time.perf_counter()
                try:
                    piece = stream.advance(await client.predict(stream.request))
                except ServerError as error:
                    if stream.retry_with_other_version(error.code):
                        record.moved += 1
                        continue
                    record.failures += 1
                    return
                record.add(sent, begun, len(piece.log_probabilities))
                begun = None

        yield run_stream


@contextlib.asynccontextmanager
async def _gateway_streams(
    url: str, model_name: str, load: Load, record: _Record
) -> AsyncIterator[RunStream]:
    """Yields the function that runs a stream through the gateway."""
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def run_stream(arrived: float) -> None:
            sent, begun, seen = arrived, True, 0
            try:
                events = await client.completions.create(
                    model=model_name,
                    prompt="",
                    max_tokens=load.length,
                    temperature=1.0,
                    seed=random.getrandbits(40),
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async with events:
                    async for event in events:
                        if record.is_over:
                            return
                        for choice in event.choices:
                            record.add(sent, arrived if begun else None, len(choice.text))
                            begun, sent = False, time.perf_counter()
                            seen += len(choice.text)
                        if event.usage:
                            # Random bytes are no text: of some, two have become one character.
                            record.characters += event.usage.completion_tokens - seen
            except openai.OpenAIError:
                record.failures += 1

        yield run_stream


async def _run(address: "Address", load: Load, gateway: str) -> Served:
    start = time.perf_counter()
    record = _Record(start=start, end=start + load.seconds, last=start)
    if load.over_gateway:
        streams = _gateway_streams(gateway, address.model_name, load, record)
    else:
        streams = _grpc_streams(address, load, record)
    async with streams as run_stream:
        if load.arrivals:
            await _open_loop(run_stream, load, record)
        else:
            await asyncio.gather(*(_closed_loop(run_stream, record) for _ in range(load.clients)))
    # Answers to many clients arrive together, and the next ones would arrive after the end.
    end = time.perf_counter() if load.arrivals else record.last
    return Served(
        characters_per_second=record.characters / max(end - start, 1e-9),
        latencies=np.array(record.latencies),
        firsts=np.array(record.firsts),
        failures=record.failures,
        moved=record.moved,
    )


async def _closed_loop(run_stream: RunStream, record: _Record) -> None:
    """Runs one stream after another until the time is over."""
    while not record.is_over:
        await run_stream(time.perf_counter())


async def _open_loop(run_stream: RunStream, load: Load, record: _Record) -> None:
    """Starts streams as a Poisson process, up to the largest number at once."""
    running: set[asyncio.Future[None]] = set()
    arrival = record.start
    while arrival < record.end:
        await asyncio.sleep(max(0.0, arrival - time.perf_counter()))
        if len(running) < load.clients:
            task = asyncio.ensure_future(run_stream(arrival))
            running.add(task)
            task.add_done_callback(running.discard)
        arrival += random.expovariate(load.arrivals)
    await asyncio.gather(*running)
