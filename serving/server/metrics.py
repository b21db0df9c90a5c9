"""Prometheus metrics with the names that tensorflow_model_server gives them."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import prometheus_client

from serving.server.errors import RequestError
from serving.server.memory_budget import MemoryBudget

prometheus_client.disable_created_metrics()

BUCKETS_MICROS = [10 * 1.8**power for power in range(33)]
"""Upper bounds of the histograms' buckets, in microseconds."""


class Metrics:
    """The metrics of one server."""

    def __init__(self, budget: MemoryBudget) -> None:
        """Registers the metrics, all of them at zero.

        Args:
          budget: Memory of all requests.
        """
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = self._register(
            prometheus_client.Counter,
            "request_count",
            "The total number of requests.",
            ["model_name", "status"],
        )
        self._failed_polls = self._register(
            prometheus_client.Counter,
            "failed_polls",
            "The number of looks for new versions or a new configuration that failed.",
            [],
        )
        memory = self._register(
            prometheus_client.Gauge,
            "request_memory_bytes",
            "The memory that running requests have reserved, in bytes.",
            [],
        )
        memory.set_function(lambda: budget.taken)
        self._request_latency = self._register(
            prometheus_client.Histogram,
            "request_latency",
            "Wall time of requests in microseconds.",
            ["model_name", "API", "entrypoint"],
            buckets=BUCKETS_MICROS,
        )
        self._runtime_latency = self._register(
            prometheus_client.Histogram,
            "runtime_latency",
            "Wall time in TensorFlow in microseconds.",
            ["model_name", "API", "runtime"],
            buckets=BUCKETS_MICROS,
        )

    def _register(
        self, metric: type, name: str, documentation: str, labels: list[str], **options: Any
    ) -> Any:
        return metric(
            f":tensorflow:serving:{name}",
            documentation,
            labels,
            registry=self._registry,
            **options,
        )

    @contextlib.contextmanager
    def record_request(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts the request that runs in the context, and measures its latency.

        Args:
          model_name: Name of the model.
          api: Name of the method, such as "Predict".
          entrypoint: "GRPC" or "REST".
        """
        start = time.perf_counter()
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
            # Names that clients make up must not fill the memory with labels.
            name = model_name if status == "OK" else ""
            self._requests.labels(name, status).inc()
            if status == "OK":
                latency = self._request_latency.labels(name, api, entrypoint)
                latency.observe(1e6 * (time.perf_counter() - start))

    def record_runtime(self, model_name: str, api: str, seconds: float) -> None:
        """Records the seconds that TensorFlow took for a request.

        Args:
          model_name: Name of the model.
          api: Name of the method, such as "Predict".
          seconds: Wall time in TensorFlow.
        """
        self._runtime_latency.labels(model_name, api, "TF1").observe(1e6 * seconds)

    def count_failed_poll(self) -> None:
        """Counts a look for new versions, or for a new configuration, that failed."""
        self._failed_polls.inc()

    def exposition(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        page = prometheus_client.generate_latest(self._registry)
        # The library appends a suffix to counters that tensorflow_model_server's names lack.
        return page.replace(b":request_count_total", b":request_count")
