"""Parses the JSON of a request, within a bound on memory."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from serving.server import request_scope
from serving.server.errors import RequestError

MAX_SHOWN = 100
"""Largest number of characters of a JSON value in a message."""


MAX_VALUES = 1_000_000
"""Largest number of values in a request; each takes up to some 300 bytes while it is parsed."""

_SMALL = 1 << 16  # bytes
_large_body = threading.Lock()


@contextlib.contextmanager
def parsing(body: bytes) -> Iterator[dict[str, Any]]:
    """Parses the body of a request, and refuses what cannot be converted while the context lasts.

    One large body is parsed at a time, so that not all clients together fill the memory.

    Args:
      body: Body of the request.

    Yields:
      The JSON object.

    Raises:
      RequestError: If it is not a JSON object, or too deep or too large to convert.
    """
    with _large_body if len(body) > _SMALL else contextlib.nullcontext():
        request_scope.check()
        try:
            yield parse(body)
        except RecursionError as error:
            raise invalid("JSON Parse error: The values are nested too deeply") from error


def parse(body: bytes) -> dict[str, Any]:
    """Parses the body of a request, a JSON object.

    Args:
      body: Body of the request.

    Raises:
      RequestError: If it is not a JSON object, or has too many values.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise invalid(
            f"the request has more than {MAX_VALUES} values; send it in several, or over gRPC"
        )
    try:
        parsed = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.start}") from error
    except (ValueError, RecursionError) as error:  # too many digits, or brackets
        raise invalid("JSON Parse error: Invalid value.") from error
    if not isinstance(parsed, dict):
        raise invalid(f"JSON Value: {shown(parsed)} Is not object")
    return parsed


def shown(value: Any) -> str:
    """Returns a JSON value as a message shows it: in lines, as TensorFlow Serving does."""
    text = ""
    try:
        # Written as a whole, a deep value would be many times as long as the request.
        for part in json.JSONEncoder(indent=4).iterencode(value):
            text += part[: MAX_SHOWN + 1]
            if len(text) > MAX_SHOWN:
                return text[:MAX_SHOWN] + "..."
    except RecursionError:
        return "..."
    return text


def invalid(message: str) -> RequestError:
    """Returns the answer to an invalid request, with a message."""
    return RequestError("INVALID_ARGUMENT", message)
