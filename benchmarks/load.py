"""Streams of characters asked for over gRPC, by many clients at once."""

import asyncio
import random
import time
from typing import NamedTuple

import numpy as np

from serving.client.client import Address, AsyncClient, ServerError
from serving.client.stream import Stream
from serving.protocol import SamplingParams


class Load(NamedTuple):
    """What clients ask for.

    Attributes:
      clients: streams at once; in an open loop the most of them.
      piece: characters per request.
      seconds: how long.
      arrivals: streams that begin per second, at random (a Poisson process), whatever the server
        manages; 0 for a closed loop, where each client begins a stream when its last one is done.
      length: characters per stream.
    """

    clients: int
    piece: int
    seconds: float
    arrivals: float = 0.0
    length: int = 256


class Served(NamedTuple):
    """What the clients got.

    Attributes:
      characters_per_second: in all.
      latencies: seconds of each request.
      firsts: seconds to the first character of each stream.
      failures: requests refused.
      moved: streams that went on with another version, as theirs was gone.
    """

    characters_per_second: float
    latencies: np.ndarray
    firsts: np.ndarray
    failures: int
    moved: int


def run(address: Address, load: Load) -> Served:
    """Lets clients ask for a while."""
    return asyncio.run(_run(address, load))


async def _run(address, load):
    latencies, firsts, counts, failures, moved = [], [], [], [], []
    begun = last = time.perf_counter()
    end = begun + load.seconds

    async def stream(client, arrived):
        nonlocal last
        params = SamplingParams(seed=random.getrandbits(40))
        stream = Stream(address.model_name, "", load.length, load.piece, params)
        first = True
        while stream.request and time.perf_counter() < end:
            asked = time.perf_counter()
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
            latencies.append(now - asked)
            counts.append(len(piece.log_probabilities))
            if first:
                firsts.append(now - arrived)
            first = False

    async with AsyncClient(address) as client:
        if load.arrivals:
            running = set()
            arrival = begun
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
    # Answers to many clients come together, and the next ones would have come after the end.
    elapsed = time.perf_counter() - begun if load.arrivals else max(last - begun, 1e-9)
    return Served(
        sum(counts) / elapsed, np.array(latencies), np.array(firsts), len(failures), len(moved)
    )
