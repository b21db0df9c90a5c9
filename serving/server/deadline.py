"""When the answer to a request is due, for whatever works on it further down."""

import contextlib
import contextvars
import math
import time
from collections.abc import Iterator

from serving.server.errors import RequestError

_DUE: contextvars.ContextVar[float] = contextvars.ContextVar("due", default=math.inf)


@contextlib.contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Has what runs here be done in time; None for no limit."""
    due = math.inf if seconds is None else time.monotonic() + seconds
    token = _DUE.set(due)
    try:
        yield
    finally:
        _DUE.reset(token)


def milliseconds_left() -> int:
    """How long is left, rounded up; 0 for no limit, as `tf.compat.v1.RunOptions` has it.

    Raises:
      RequestError: if it is too late.
    """
    left = _DUE.get() - time.monotonic()
    if left <= 0:
        raise RequestError("DEADLINE_EXCEEDED", "Deadline Exceeded")
    return math.ceil(1000 * left) if left < 1e6 else 0
