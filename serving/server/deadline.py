"""The deadline of the request that a thread works on, for all code that it calls."""

import contextlib
import contextvars
import math
import time
from collections.abc import Iterator

from serving.server.errors import RequestError

_DEADLINE: contextvars.ContextVar[float] = contextvars.ContextVar("deadline", default=math.inf)


@contextlib.contextmanager
def scope(seconds: float | None) -> Iterator[None]:
    """Sets a deadline for what runs in the context.

    Args:
      seconds: Seconds from now; None for no deadline.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def milliseconds_left() -> int:
    """Returns the milliseconds until the deadline, rounded up.

    0 stands for no deadline, as in `tf.compat.v1.RunOptions`.

    Raises:
      RequestError: If the deadline has passed.
    """
    left = _DEADLINE.get() - time.monotonic()
    if left <= 0:
        raise RequestError("DEADLINE_EXCEEDED", "Deadline Exceeded")
    return math.ceil(1000 * left) if left < 1e6 else 0
