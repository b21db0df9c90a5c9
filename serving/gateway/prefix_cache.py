"""The states of prompts' beginnings, so that a common beginning is read once.

A state is all that a model keeps of a text, some thousands of numbers. A prompt is read in the same
blocks whether their states are known or not, so that what is found is what would have been read. It
differs from the state of a prompt that is read at once, as without the cache, by rounding at most,
and not at all where the units of a layer are a multiple of what the processor computes at once.
"""

import asyncio
import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from tensorflow.core.framework import tensor_pb2

from serving.client.stream import ReadPrefix
from serving.gateway.backend import Backend
from serving.gateway.characters import split
from serving.gateway.metrics import Metrics
from serving.gateway.models import ServedModel
from serving.protocol import generate_request

BLOCK = 64
"""Characters, at least, between two beginnings of a prompt whose states are kept."""

_OVERHEAD = 500  # bytes of an entry besides its state, about

# First bytes, in UTF-8, of characters that no normalisation joins with those before them: ASCII,
# the letters up to U+02FF, and most of the Chinese ones. A block ends before one of these, as a
# model may normalise its text, and must not be given half of what belongs together.
_MAY_BEGIN = frozenset([*range(0x80), *range(0xC2, 0xCC), *range(0xE4, 0xEA)])

Key = tuple[str, int, bytes]


class _Border(NamedTuple):
    """The end of a block of a prompt.

    Attributes:
      characters: Number of characters before it.
      position: Number of bytes before it.
      key: Key of the state there.
    """

    characters: int
    position: int
    key: Key


class PrefixCache:
    """States by the model, its version, and a hash of the text; those used longest ago go first."""

    def __init__(self, backend: Backend, max_bytes: int, metrics: Metrics):
        """Begins without states.

        Args:
          backend: The model server, which reads what is not known.
          max_bytes: Memory that the states may take; 0 for no cache.
          metrics: Metrics, to which each look is added.
        """
        self._backend = backend
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._states: OrderedDict[Key, tensor_pb2.TensorProto] = OrderedDict()
        self._bytes = 0
        self._reading: weakref.WeakValueDictionary[Key, asyncio.Lock]
        self._reading = weakref.WeakValueDictionary()

    async def read(self, model: ServedModel, prompt: bytes) -> ReadPrefix | None:
        """Reads all whole blocks of a prompt that no state is known of.

        Of prompts with a common beginning one reads it, block by block, and the others wait for
        each of its blocks.

        Args:
          model: Model that reads.
          prompt: The prompt.

        Returns:
          The beginning up to the last whole block; None for a prompt of less than one.

        Raises:
          ApiError: If the server refuses the text, or does not answer.
        """
        borders = list(_borders(model, prompt)) if self._max_bytes else []
        if not borders:
            return None
        known = next((border for border in reversed(borders) if border.key in self._states), None)
        state = self._states[known.key] if known else None
        position, characters = (known.position, known.characters) if known else (0, 0)
        read = 0
        for border in borders:
            if border.position <= position:
                continue
            # Who needs the same block waits for it, and for no other.
            async with self._reading.setdefault(border.key, asyncio.Lock()):
                found = self._states.get(border.key)
                if found is None:
                    found = await self._read(model, prompt[position : border.position], state)
                    self._store(border.key, found)
                    read += border.characters - characters
            state, position, characters = found, border.position, border.characters
        self._metrics.looked_up(borders[-1].characters - read, read)
        for border in reversed(borders):  # a longer beginning is dropped before a shorter one
            if border.key in self._states:
                self._states.move_to_end(border.key)
        assert state is not None
        return ReadPrefix(prompt[:position], state, model.version)

    async def _read(
        self, model: ServedModel, block: bytes, state: tensor_pb2.TensorProto | None
    ) -> tensor_pb2.TensorProto:
        """Returns the state after a block of a prompt, from that before it."""
        request = generate_request(model.name, [block], 0, version=model.version)
        if state is not None:
            request.inputs["state"].CopyFrom(state)
        response = await self._backend.predict(request, wait_for_ready=state is not None)
        return response.outputs["state"]

    def forget(self, model: ServedModel) -> None:
        """Drops all states of a version, as the server has another one under its number."""
        for key in [key for key in self._states if key[:2] == (model.name, model.version)]:
            self._bytes -= _size(self._states.pop(key))
        self._metrics.cache_bytes.set(self._bytes)

    def _store(self, key: Key, state: tensor_pb2.TensorProto) -> None:
        size = _size(state)
        if size > self._max_bytes:
            return
        while self._bytes + size > self._max_bytes:
            _, dropped = self._states.popitem(last=False)
            self._bytes -= _size(dropped)
        self._states[key] = state
        self._bytes += size
        self._metrics.cache_bytes.set(self._bytes)


def _borders(model: ServedModel, prompt: bytes) -> Iterator[_Border]:
    """Yields the ends of a prompt's blocks; the hash of each includes that of the one before."""
    characters = split(prompt, model.unit)
    begin = position = 0
    digest = bytes(hashlib.sha256().digest_size)  # of any length, a block could stand for two
    for end in range(BLOCK, len(characters) + 1):
        if end - begin < BLOCK or (end < len(characters) and characters[end][0] not in _MAY_BEGIN):
            continue
        block = b"".join(characters[begin:end])
        begin = end
        position += len(block)
        digest = hashlib.sha256(digest + block).digest()
        yield _Border(end, position, (model.name, model.version, digest))


def _size(state: tensor_pb2.TensorProto) -> int:
    return state.ByteSize() + _OVERHEAD
