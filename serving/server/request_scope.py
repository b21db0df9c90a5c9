"""The request that a thread works on: its deadline, whether its client still waits, its memory.

All code that a request calls can ask. TensorFlow is not told: a batch that several requests were
merged into runs under the cancellation of one of them, and would fail for all.
"""

import contextlib
import contextvars
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from serving.server.errors import RequestError
from serving.server.memory_budget import Lease, Size


class _Scope(NamedTuple):
    """What is known of a request.

    Attributes:
      deadline: Time of the monotonic clock by which the answer must be there.
      is_abandoned: Function that returns whether the client has gone.
      lease: Memory of the request; None where that is not counted.
    """

    deadline: float = math.inf
    is_abandoned: Callable[[], bool] = lambda: False
    lease: Lease | None = None


HANG_UP_SECONDS = 0.05
"""Seconds by which the hang-up of a client whose deadline passes may precede the server's clock."""

_SCOPE: contextvars.ContextVar[_Scope] = contextvars.ContextVar("scope", default=_Scope())  # noqa: B039  immutable


@contextlib.contextmanager
def scope(
    seconds: float | None,
    is_abandoned: Callable[[], bool] = lambda: False,
    lease: Lease | None = None,
) -> Iterator[None]:
    """Sets the deadline of what runs in the context, and checks it at the end.

    Args:
      seconds: Seconds from now; None for no deadline.
      is_abandoned: Function that returns whether the client has gone. Default: it has not.
      lease: Memory of the request. Default: it is not counted.

    Raises:
      RequestError: If the answer came too late, or its client has gone.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    token = _SCOPE.set(_Scope(deadline, is_abandoned, lease))
    try:
        check()
        yield
        check()
    finally:
        _SCOPE.reset(token)


def check() -> None:
    """Checks that somebody still waits for the answer.

    Raises:
      RequestError: If the deadline has passed, or the client has gone.
    """
    current = _SCOPE.get()
    left = current.deadline - time.monotonic()
    abandoned = current.is_abandoned()
    if left <= (HANG_UP_SECONDS if abandoned else 0):
        raise RequestError("DEADLINE_EXCEEDED", "Timed out: the deadline of the request has passed")
    if abandoned:
        raise RequestError("CANCELLED", "Cancelled")


def reserve(size: Size) -> None:
    """Reserves the memory of a call, before any of it is allocated.

    Args:
      size: Size of the call.

    Raises:
      RequestError: If there is not as much, the deadline has passed, or the client has gone.
    """
    current = _SCOPE.get()
    if current.lease:
        current.lease.reserve(size, current.deadline - time.monotonic())
        check()


def milliseconds_left() -> int:
    """Returns the milliseconds until the deadline, rounded up.

    0 stands for no deadline, as in `tf.compat.v1.RunOptions`.

    Raises:
      RequestError: If the deadline has passed, or the client has gone.
    """
    check()
    left = _SCOPE.get().deadline - time.monotonic()
    return max(1, math.ceil(1000 * left)) if left < 1e6 else 0
