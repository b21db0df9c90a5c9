"""Memory that requests take: stated by a formula, and reserved before any of it is allocated.

The memory of a request is that of its texts, as the graph reads them, and of its answer, in all the
copies that exist at once until it is sent:

    rows * longest text * BYTES_PER_CHARACTER + numbers * Copies.number + strings * Copies.string

The numbers are those of the answer and of the request, and a text that is longer than a model of
text reads, such as a recording, counts with all of its bytes. The signature bounds the shape of the
answer. Of the unknown dimensions of an output the first is the rows, the second the characters
(those to generate, or else those of the longest text), and the others are the alternatives, or else
the units of all layers.
"""

import contextlib
import ctypes
import math
import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.limits import MAX_ALTERNATIVES, MAX_INSPECTED_VALUES, MAX_LENGTH, MAX_REQUEST_ROWS
from serving.server.errors import RequestError

BYTES_PER_CHARACTER = 16
"""Bytes of a character of the longest text, in each row."""

SECONDS_TO_WAIT = 10.0
"""Seconds that a request waits for the memory of others."""

_LARGE, _RESERVE = 64, 4
"""A request of more than a 64th of the limit is large; a quarter is kept for those that are not."""

_MIB = 1 << 20


class Copies(NamedTuple):
    """Bytes that a value of an answer takes at most until it is sent, as measured.

    Attributes:
      number: Bytes of a number of 32 bits.
      string: Bytes of a string of a few characters.
    """

    number: int
    string: int


GRPC_COPIES = Copies(number=30, string=100)
REST_COPIES = Copies(number=140, string=150)


class Size(NamedTuple):
    """Upper bounds of what the server holds for a request.

    Attributes:
      characters: Number of rows times the length of the longest text, or all bytes of the texts if
        there are more.
      numbers: Number of numbers in the request and in the answer.
      strings: Number of strings in the answer.
    """

    characters: int
    numbers: int
    strings: int

    def in_bytes(self, copies: Copies) -> int:
        """Returns the memory of the request by the formula of this module."""
        answer = self.numbers * copies.number + self.strings * copies.string
        return self.characters * BYTES_PER_CHARACTER + answer


def size_of(
    signature: meta_graph_pb2.SignatureDef,
    arrays: Mapping[str, np.ndarray],
    outputs: tuple[str, ...],
    units: int,
) -> Size:
    """Returns the size of a request.

    Args:
      signature: Definition of the signature.
      arrays: Inputs of the request, by name.
      outputs: Names of the outputs that are computed.
      units: Number of units of all layers.
    """
    texts = [array for array in arrays.values() if array.dtype == object]
    # What is over a limit is refused by the graph, with a message of its own.
    rows = min(max((len(array) for array in texts if array.ndim), default=1), MAX_REQUEST_ROWS)
    lengths = [len(text) for array in texts for text in array.flat]
    longest = characters = min(max(lengths, default=0), MAX_LENGTH)
    others = units
    if "length" in arrays:
        characters = _largest(arrays["length"], MAX_LENGTH)
    if "alternatives" in arrays:
        others = _largest(arrays["alternatives"], MAX_ALTERNATIVES)
    numbers = sum(array.size for array in arrays.values() if array.dtype != object)
    strings = 0
    for name in outputs:
        dimensions = [dim.size for dim in signature.outputs[name].tensor_shape.dim]
        unknown = sum(size < 0 for size in dimensions)
        values = math.prod((rows, characters, others)[:unknown])
        values *= math.prod(size for size in dimensions if size >= 0)
        if signature.outputs[name].dtype == types_pb2.DT_STRING:
            strings += values
        else:
            numbers += values
    if "layer" in arrays:
        numbers = min(numbers, MAX_INSPECTED_VALUES)
    return Size(max(rows * longest, sum(lengths)), numbers=numbers, strings=strings)


def _largest(array: np.ndarray, limit: int) -> int:
    return min(max(0, int(array.max(initial=0))), limit)


class MemoryBudget:
    """The memory that all requests of a server may take together."""

    def __init__(self, limit: int):
        """Begins with all of it free.

        Args:
          limit: The memory, in bytes.
        """
        self._limit = limit
        self._large = limit // _LARGE
        self._taken = 0
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes that running requests have reserved."""
        return self._taken

    @contextlib.contextmanager
    def lease(self, copies: Copies) -> Iterator["Lease"]:
        """Yields what a request reserves memory with, and frees that memory at the end.

        Args:
          copies: Bytes of the values of its answer.
        """
        lease = Lease(self, copies)
        try:
            yield lease
        finally:
            self._release(lease.reserved)
            if lease.reserved > self._large:
                _return_to_system()

    def reserve(self, needed: int, seconds: float) -> None:
        """Takes memory for a request, or waits until there is some.

        Args:
          needed: Number of bytes.
          seconds: Seconds that the request waits at most.

        Raises:
          RequestError: If it is more than a request may take, or others take it for too long.
        """
        most = self._limit
        if needed > self._large:
            most -= self._limit // _RESERVE
        if needed > most:
            raise RequestError(
                "RESOURCE_EXHAUSTED",
                f"the request needs up to {_mib(needed)} MiB of memory, the limit is {_mib(most)}; "
                "ask for fewer or shorter texts, fewer alternatives, or some of the outputs",
            )
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken + needed <= most, seconds):
                raise RequestError(
                    "RESOURCE_EXHAUSTED",
                    f"the request needs up to {_mib(needed)} MiB of memory, and others take "
                    f"{_mib(self._taken)} of {_mib(most)}; try again later",
                )
            self._taken += needed

    def _release(self, count: int) -> None:
        with self._changed:
            self._taken -= count
            self._changed.notify_all()


class Lease:
    """The memory that one request has reserved.

    Attributes:
      reserved: Number of bytes.
    """

    def __init__(self, budget: MemoryBudget, copies: Copies):
        """Begins with none; see `MemoryBudget.lease`."""
        self.reserved = 0
        self._budget = budget
        self._copies = copies

    def reserve(self, size: Size, seconds: float) -> None:
        """Reserves memory for a call of a signature.

        Args:
          size: Size of the call.
          seconds: Seconds until the request's deadline.

        Raises:
          RequestError: If there is not as much.
        """
        needed = size.in_bytes(self._copies)
        self._budget.reserve(needed, min(seconds, SECONDS_TO_WAIT))
        self.reserved += needed


def _return_to_system() -> None:
    """Makes the C library give back freed memory, which it keeps in an arena for each thread."""
    with contextlib.suppress(AttributeError):  # it is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _mib(count: int) -> int:
    return -(-count // _MIB)
