"""HTTP for the REST protocol, by `waitress`: threads, connections and refusals."""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import MultiSocketServer, TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error, RequestEntityTooLarge

from serving.server.listen_options import ListenOptions

ARRIVED = "serving.arrived"
"""Key of the time of the monotonic clock at which a request was complete."""

IS_DISCONNECTED = "waitress.client_disconnected"
"""Key of a function that returns whether the client has gone."""

_STATUS_THREADS = 4
_MAX_WAITING = 1000  # inference requests
_HEADER_BYTES = 1 << 16
_SHUTDOWN_SECONDS = 30


@contextlib.contextmanager
def serve(
    application: Callable, sockets: Sequence[socket.socket], options: ListenOptions
) -> Iterator[None]:
    """Answers HTTP requests in background threads while the context lasts.

    Args:
      application: WSGI application that answers them.
      sockets: Sockets that are bound.
      options: Numbers of threads and connections, and the size of bodies.
    """
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    logging.getLogger("waitress.queue").setLevel(logging.CRITICAL)
    dispatcher = _Threads(options.rest_api_num_threads)
    _, connections = options.connection_limits
    adjustments = Adjustments(
        sockets=list(sockets),
        # Sockets that listen, and one to wake each, count as connections.
        connection_limit=connections + 2 * len(sockets),
        # A body of this many bytes is refused.
        max_request_body_size=options.rest_api_max_request_bytes + 1,
        max_request_header_size=_HEADER_BYTES,
        # Reading on is how it is seen that a client has gone.
        channel_request_lookahead=1,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=True,
        ident=None,
    )
    channels: dict[int, Any] = {}
    for listening in sockets:
        info = (listening.family, listening.type, listening.proto, listening.getsockname())
        _Server(
            application,
            channels,
            True,
            listening,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=info,
        )
    server = MultiSocketServer(channels, adjustments, [], dispatcher)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        dispatcher.shutdown()
        server.close()


class _Threads:
    """Threads for inference, and others for all that is answered at once.

    It has the methods of `ThreadedTaskDispatcher` that a server calls.
    """

    def __init__(self, inference_threads: int):
        self._inference = ThreadedTaskDispatcher()
        self._inference.set_thread_count(inference_threads)
        self._status = ThreadedTaskDispatcher()
        self._status.set_thread_count(_STATUS_THREADS)

    def add_task(self, channel: HTTPChannel) -> None:
        """Schedules the first request of a channel."""
        request = channel.requests[0]
        request.arrived = time.monotonic()
        if request.error or request.command.upper() != "POST":
            self._status.add_task(channel)
        elif len(self._inference.queue) >= _MAX_WAITING:
            problem = "more requests wait than can be answered; ask later"
            request.error = _TooManyRequestsError(problem)
            self._status.add_task(channel)
        else:
            self._inference.add_task(channel)

    def shutdown(self, cancel_pending: bool = True, timeout: float = _SHUTDOWN_SECONDS) -> bool:
        """Waits for the requests that run."""
        self._inference.shutdown(cancel_pending, timeout)
        return self._status.shutdown(cancel_pending, timeout)


class _TooManyRequestsError(Error):
    code = 429
    reason = "Too Many Requests"


class _ErrorTask(ErrorTask):
    """Answers a request that is refused before the application sees it, in JSON."""

    def execute(self) -> None:
        error = self.request.error
        message = error.body
        if isinstance(error, RequestEntityTooLarge):
            limit = self.channel.adj.max_request_body_size - 1
            message = f"the request has more than {limit} bytes; send less, or start the server"
            message += " with a larger --rest_api_max_request_bytes"
        body = json.dumps({"error": message}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):
    """Tells the application when the request arrived, which may have waited since."""

    def get_environment(self) -> dict[str, Any]:
        """Returns the WSGI environment of the request."""
        environ = super().get_environment()
        environ[ARRIVED] = getattr(self.request, "arrived", time.monotonic())
        return environ


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _ErrorTask


class _Server(TcpWSGIServer):
    """Accepts connections; where there are too many, those that are idle longest are closed."""

    channel_class = _Channel

    def readable(self) -> bool:
        """Returns whether to accept more connections."""
        if len(self._map) >= self.adj.connection_limit:
            self._close_idle()
        return super().readable()

    def _close_idle(self) -> None:
        """Closes a tenth of the connections, of those on which nothing is going on."""
        idle = [one for one in self.active_channels.values() if not one.requests]
        idle.sort(key=lambda one: one.last_activity)
        for channel in idle[: 1 + len(idle) // 10]:
            channel.will_close = True
