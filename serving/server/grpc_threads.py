"""Threads of their own for the kinds of gRPC calls, so that no kind waits for another.

A server under full load must still say that it is alive, or whoever watches it ends it.
"""

import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc

INFERENCE = frozenset({"Predict", "Classify", "Regress", "MultiInference"})
"""Names of the methods that run a model."""

STATUS = frozenset({"GetModelStatus", "GetModelMetadata", "Check"})
"""Names of the methods that say at once what the server has in memory."""

_STATUS_THREADS, _STATUS_CALLS = 4, 1000
_OTHER_THREADS, _OTHER_CALLS = 8, 8


class CountedThreads(futures.ThreadPoolExecutor):
    """Threads that know how many calls they have been given."""

    def __init__(self, threads: int, calls: int):
        """Configures the threads; they start as calls come.

        Args:
          threads: Number of calls that are answered at once.
          calls: Number of calls that are answered or wait; more are to be refused.
        """
        super().__init__(threads)
        self._limit = calls
        self._calls = 0
        self._counting = threading.Lock()

    def submit(self, function: Callable, /, *arguments: Any, **options: Any) -> futures.Future:
        """Schedules a call, and counts it until it is done."""
        with self._counting:
            self._calls += 1
        future = super().submit(function, *arguments, **options)
        future.add_done_callback(self._uncount)
        return future

    def _uncount(self, _: futures.Future) -> None:
        with self._counting:
            self._calls -= 1

    @property
    def is_full(self) -> bool:
        """Whether there are as many calls as there may be."""
        return self._calls >= self._limit


class Threads(grpc.ServerInterceptor):
    """Gives each call to the threads of its kind, or refuses it where these have enough.

    A call is refused before its message is read. The threads of a server itself are for all that
    is neither inference nor status, such as reflection, whose calls last as long as a client likes.

    Attributes:
      other: Threads for the server itself.
    """

    def __init__(self, inference_calls: int):
        """Configures the threads.

        Args:
          inference_calls: Number of inference requests answered at once.
        """
        self.other = CountedThreads(_OTHER_THREADS, _OTHER_CALLS)
        self._inference = CountedThreads(inference_calls, inference_calls)
        self._status = CountedThreads(_STATUS_THREADS, _STATUS_CALLS)
        self._refusal = grpc.stream_unary_rpc_method_handler(_on(self._status, _refuse))

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Returns the handler of a call, on the threads of its kind."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method.rpartition("/")[2]
        behavior = handler.unary_unary
        threads = self.other
        if behavior and name in INFERENCE | STATUS:
            threads = self._inference if name in INFERENCE else self._status
        if threads.is_full:
            return self._refusal
        if behavior is None or threads is self.other:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _on(threads, behavior),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _on(threads: CountedThreads, behavior: Callable) -> Callable:
    """Returns the behaviour of a method, with the mark by which gRPC chooses its threads."""

    def call(request: Any, context: grpc.ServicerContext) -> Any:
        return behavior(request, context)

    call.experimental_thread_pool = threads  # type: ignore[attr-defined]  # of any function
    return call


def _refuse(_: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
