"""What every request passes before it is answered: who asks, and how much and how long it takes."""

import asyncio
import contextlib
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.errors import ApiError, invalid
from serving.gateway.metrics import Metrics
from serving.gateway.options import BODY_SECONDS, GatewayOptions
from serving.server.http_checks import Checks
from serving.server.json_parsing import MAX_VALUES

_VALUE_BYTES = 100
"""Memory that a value of JSON takes while its request is answered, about."""

_FAREWELL_SECONDS = 1.0
"""Seconds in which a client takes the event that says why its stream ends."""

UNLIMITED = ("/health", "/metrics", "/v2/health/live", "/v2/health/ready")
"""Paths that are answered however many requests there are."""


class Admission:
    """An ASGI application around another one, which sees admitted requests with whole bodies.

    A request ends when its client goes, or its time is over: whatever is computed for it is
    cancelled.
    """

    def __init__(
        self, application: ASGIApp, options: GatewayOptions, checks: Checks, metrics: Metrics
    ):
        """Wraps an application.

        Args:
          application: The application.
          options: Limits.
          checks: Which names and origins are allowed.
          metrics: Metrics, to which each request is added.
        """
        self._application = application
        self._options = options
        self._checks = checks
        self._metrics = metrics
        self._running = 0
        self._body_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        answer = _Answer(send, scope["path"])
        scope = _as_json(scope)
        limited = scope["path"] not in UNLIMITED
        self._running += limited
        self._metrics.started()
        try:
            headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_head(headers, limited)
            async with asyncio.timeout(self._options.timeout):
                await self._answer(scope, receive, answer)
        except TimeoutError:
            seconds = f"{self._options.timeout:g}"
            await answer.fail(
                ApiError(504, f"the request took more than {seconds} seconds; ask for less")
            )
        except ApiError as error:
            await answer.fail(error)
        except asyncio.CancelledError:  # by the server, when the seconds of grace are over
            await answer.fail(ApiError(503, "the gateway is stopping; ask again later"))
        finally:
            self._running -= limited
            self._metrics.ended()
            route = scope.get("route")
            self._metrics.count_request(getattr(route, "path", "other"), answer.status)

    def _check_head(self, headers: dict[bytes, str], limited: bool) -> None:
        """Raises an `ApiError` for a request that is refused whatever its body."""
        refusal = self._checks.refusal(headers.get(b"host"), headers.get(b"origin"))
        if refusal:
            raise ApiError(403, refusal)
        if limited and self._running > self._options.max_requests:
            raise ApiError(429, "more requests run than can be answered; ask again later")
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise ApiError(415, "the body is compressed; send it as it is")
        length = headers.get(b"content-length", "0")
        if len(length) > 18 or int(length) > self._options.max_request_bytes:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        limit = self._options.max_request_bytes
        return ApiError(413, f"the request has more than {limit} bytes; send several")

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Reads the body, and runs the application until it ends or the client goes."""
        with contextlib.ExitStack() as reserved:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await self._read(receive, reserved)
            except TimeoutError:
                raise ApiError(408, f"no whole body came in {BODY_SECONDS:g} seconds") from None
            except _ClientGoneError:
                answer.status = 499
                return
            values = sum(body.count(mark) for mark in (b",", b"[", b"{"))
            if values > MAX_VALUES:
                raise invalid(f"the body has more than {MAX_VALUES} values; send several")
            self._reserve(_VALUE_BYTES * values, reserved)
            await self._run(scope, body, receive, answer)

    def _reserve(self, size: int, reserved: contextlib.ExitStack) -> None:
        """Reserves memory, until a context ends, of what all bodies may take together."""
        if self._body_bytes + size > self._options.max_body_memory_bytes:
            raise ApiError(429, "other requests take all memory for bodies; ask again later")
        self._body_bytes += size
        reserved.callback(self._release, size)

    def _release(self, size: int) -> None:
        self._body_bytes -= size

    async def _read(self, receive: Receive, reserved: contextlib.ExitStack) -> bytes:
        """Reads the body, within what one request and all of them may have."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGoneError
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._options.max_request_bytes:
                raise self._too_large()
            self._reserve(len(chunk), reserved)
            body += chunk
            more = message.get("more_body", False)
        return bytes(body)

    async def _run(self, scope: Scope, body: bytes, receive: Receive, answer: "_Answer") -> None:
        gone = asyncio.Event()
        bodies = [body]

        async def replay() -> Message:
            if bodies:
                return {"type": "http.request", "body": bodies.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async def answer_request() -> None:
            await self._application(scope, replay, answer)

        application = asyncio.create_task(answer_request())
        watcher = asyncio.create_task(watch())
        try:
            await asyncio.wait([application, watcher], return_when=asyncio.FIRST_COMPLETED)
            if not application.done() and not answer.is_complete:
                answer.status = 499
                application.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await application
        finally:
            watcher.cancel()
            application.cancel()
            await asyncio.gather(watcher, application, return_exceptions=True)


class _ClientGoneError(Exception):
    """The client has closed the connection."""


class _Answer:
    """What is sent to a client.

    Attributes:
      status: Status code; 499 for a client that has gone, as in the logs of nginx.
      is_complete: Whether all of it was sent.
    """

    def __init__(self, send: Send, path: str):
        self._send = send
        self._path = path
        self.status = 500
        self._has_begun = self._is_stream = False
        self.is_complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            types = [value for name, value in message.get("headers", []) if name == b"content-type"]
            self._is_stream = any(value.startswith(b"text/event-stream") for value in types)
            self.status = message["status"]
            extra = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        elif not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Answers with an error.

        An answer that has begun ends where it is; a stream of events ends with one that says why.
        """
        body = json.dumps(error.body(self._path)).encode()
        if self._has_begun:
            self.status = error.status
            if self._is_stream and not self.is_complete:
                # A client that does not read is not waited for.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        event = b"data: " + body + b"\n\n"
                        await self({"type": "http.response.body", "body": event})
            return
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        pairs = [(k.lower().encode(), v.encode()) for k, v in (headers | error.headers).items()]
        await self({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})


def _as_json(scope: Scope) -> Scope:
    """Returns a request as one whose body is JSON, whatever its client calls it, such as curl."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
