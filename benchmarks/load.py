"""Load of many clients that stream characters over gRPC."""

import asyncio
import random
import time
from typing import NamedTuple

import numpy as np

from serving.client import Address, AsyncClient, SamplingParams, ServerError
from serving.client.stream import Stream


class Load(NamedTuple):
    """The load of clients on a server.

    Attributes:
      clients: Number of streams at once; in an open loop the largest number of them.
      piece: Number of characters per request.
      seconds: Seconds of load.
      arrivals: Streams that start per second in an open loop, as a Poisson process; 0 for a closed
        loop, in which each client starts a stream when its last one ends. Default 0.
      length: Number of characters per stream. Default 256.
    """

    clients: int
    piece: int
    seconds: float
    arrivals: float = 0.0
    length: int = 256


class Served(NamedTuple):
    """The answers that clients got.

    Attributes:
      characters_per_second: Characters per second of all clients together.
      latencies: Seconds of each request, `[requests]`.
      firsts: Seconds to the first character of each stream, `[streams]`.
      failures: Number of failed requests.
      moved: Number of streams that went on with another version, as theirs had been unloaded.
    """

    characters_per_second: float
    latencies: np.ndarray
    firsts: np.ndarray
    failures: int
    moved: int


def run(address: Address, load: Load) -> Served:
    """Runs a load and returns what the clients measured.

    Args:
      address: Address of the model.
      load: Load of the clients.
    """
    return asyncio.run(_run(address, load))


async def _run(address: Address, load: Load) -> Served:
    latencies, firsts, counts, failures, moved = [], [], [], [], []
    start = last = time.perf_counter()
    end = start + load.seconds

    async def stream(client, arrived):
        nonlocal last
        params = SamplingParams(seed=random.getrandbits(40))
        stream = Stream(address.model_name, "", load.length, load.piece, params)
        first = True
        while stream.request and time.perf_counter() < end:
            sent = time.perf_counter()
            try:
                piece = stream.advance(await client.predict(stream.request))
            except ServerError as error:
                if stream.retry_with_other_version(error.code):
                    moved.append(error)
                    continue
                failures.append(error)
                return
            now = time.perf_counter()
            if now > end:
                return
            last = now
            latencies.append(now - sent)
            counts.append(len(piece.log_probabilities))
            if first:
                firsts.append(now - arrived)
            first = False

    async with AsyncClient(address) as client:
        if load.arrivals:
            running = set()
            arrival = start
            while arrival < end:
                await asyncio.sleep(max(0.0, arrival - time.perf_counter()))
                if len(running) < load.clients:
                    task = asyncio.ensure_future(stream(client, arrival))
                    running.add(task)
                    task.add_done_callback(running.discard)
                arrival += random.expovariate(load.arrivals)
            await asyncio.gather(*running)
        else:

            async def closed():
                while time.perf_counter() < end:
                    await stream(client, time.perf_counter())

            await asyncio.gather(*(closed() for _ in range(load.clients)))
    # Answers to many clients arrive together, and the next ones would arrive after the end.
    elapsed = time.perf_counter() - start if load.arrivals else max(last - start, 1e-9)
    return Served(
        characters_per_second=sum(counts) / elapsed,
        latencies=np.array(latencies),
        firsts=np.array(firsts),
        failures=len(failures),
        moved=len(moved),
    )
