"""Metrics with the names that tensorflow_model_server gives them."""

import contextlib
import time
from collections.abc import Iterator

import prometheus_client

from serving.server.errors import RequestError

prometheus_client.disable_created_metrics()

MICROSECONDS = [10 * 1.8**power for power in range(33)]


class Metrics:
    """The metrics of one server."""

    def __init__(self):
        self._registry = prometheus_client.CollectorRegistry()

        def made(kind, name, documentation, labels, **options):
            return kind(
                f":tensorflow:serving:{name}",
                documentation,
                labels,
                registry=self._registry,
                **options,
            )

        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        self._requests = made(
            counter, "request_count", "The total number of requests.", ["model_name", "status"]
        )
        self._request_latency = made(
            histogram,
            "request_latency",
            "Wall time of requests in microseconds.",
            ["model_name", "API", "entrypoint"],
            buckets=MICROSECONDS,
        )
        self._runtime_latency = made(
            histogram,
            "runtime_latency",
            "Wall time in TensorFlow in microseconds.",
            ["model_name", "API", "runtime"],
            buckets=MICROSECONDS,
        )

    @contextlib.contextmanager
    def request(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts and times a request; `entrypoint` is "GRPC" or "REST"."""
        begun = time.perf_counter()
        status = "OK"
        try:
            yield
        except RequestError as error:
            status = error.code
            raise
        except Exception:
            status = "INTERNAL"
            raise
        finally:
            # The names that clients make up are not to fill the memory.
            name = model_name if status == "OK" else ""
            self._requests.labels(name, status).inc()
            if status == "OK":
                latency = self._request_latency.labels(name, api, entrypoint)
                latency.observe(1e6 * (time.perf_counter() - begun))

    def runtime(self, model_name: str, api: str, seconds: float) -> None:
        """Counts what TensorFlow took for a request."""
        self._runtime_latency.labels(model_name, api, "TF1").observe(1e6 * seconds)

    def page(self) -> bytes:
        """All metrics in Prometheus's text format."""
        # The library appends to counters what tensorflow_model_server's names do not have.
        page = prometheus_client.generate_latest(self._registry)
        return page.replace(b":request_count_total", b":request_count")
