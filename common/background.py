"""A second thread for functions that release the interpreter's lock while they compute."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """A thread that runs one call at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._last: Future | None = None

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Waits for the call before, and starts this one.

        Args:
          function: Function to call in the thread.
          *arguments: Arguments of the call.

        Raises:
          Exception: If the call before raised it.
        """
        self._wait()
        self._last = self._thread.submit(function, *arguments)

    def end(self) -> None:
        """Ends the thread after the last call, and raises the exception of that call, if any."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._last:
            self._last.result()
