"""HTTP connections, of which there are so many at most, and none of which waits for long."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.gateway.options import BODY_SECONDS


def limited_protocol(max_connections: int) -> type[H11Protocol]:
    """Returns the protocol of a server's connections.

    Args:
      max_connections: Number of open connections; those beyond it are closed at once.
    """

    class LimitedProtocol(H11Protocol):
        """Closes a connection on which no whole head of a request comes in time."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._deadline = self.loop.call_later(BODY_SECONDS, self._close_unused)
            if len(self.connections) > max_connections:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._deadline.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._deadline.cancel()

        def on_response_complete(self) -> None:
            # Between two requests the library closes a connection that is idle; a client that
            # sends a head byte by byte is not.
            self._deadline.cancel()
            self._deadline = self.loop.call_later(BODY_SECONDS, self._close_unused)
            super().on_response_complete()

        def _close_unused(self, *_: Any) -> None:
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return LimitedProtocol
