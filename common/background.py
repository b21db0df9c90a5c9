"""Work in a second thread, for what holds no lock while it computes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """A thread that is handed one call at a time."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(1)
        self._last: Future | None = None

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Waits for the call before, and hands over this one.

        Raises:
          Exception: whatever the call before has raised.
        """
        self._wait()
        self._last = self._thread.submit(function, *arguments)

    def end(self) -> None:
        """Ends the thread after the last call, and raises what that has raised."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self):
        if self._last:
            self._last.result()
