"""The gateway's metrics, for Prometheus."""

import time

import prometheus_client

prometheus_client.disable_created_metrics()

_SECONDS = [0.0005 * 2**power for power in range(18)]  # from half a millisecond to a minute


class Metrics:
    """The metrics of one gateway."""

    def __init__(self) -> None:
        """Registers the metrics."""
        registry = self._registry = prometheus_client.CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> prometheus_client.Counter:
            return prometheus_client.Counter(f"gateway_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str) -> prometheus_client.Histogram:
            return prometheus_client.Histogram(
                f"gateway_{name}_seconds", text, registry=registry, buckets=_SECONDS
            )

        self._requests = counter("requests", "Requests, by route and status code.", "route", "code")
        self._backend_errors = counter(
            "backend_errors", "Calls of the model server that failed, by gRPC code.", "code"
        )
        self._cache_characters = counter(
            "prompt_characters", "Characters of prompts: read, or found in the cache.", "source"
        )
        self._cache_lookups = counter(
            "cache_lookups", "Prompts of at least a block, by what the cache had.", "result"
        )
        self._first = seconds(
            "time_to_first_character", "Seconds from a request to the first character of a text."
        )
        self._each = seconds(
            "time_per_character", "Seconds per character after the first, a text's mean."
        )
        self._waiting = seconds("backend_wait", "Seconds that a call waited for its turn.")
        self._running = prometheus_client.Gauge(
            "gateway_running_requests", "Requests that are being answered.", registry=registry
        )
        self.cache_bytes = prometheus_client.Gauge(
            "gateway_cache_bytes", "Memory of the cached states.", registry=registry
        )

    def started(self) -> None:
        """Counts a request that begins to be answered."""
        self._running.inc()

    def ended(self) -> None:
        """Counts the end of a request that was answered."""
        self._running.dec()

    def count_request(self, route: str, code: int) -> None:
        """Counts a request.

        Args:
          route: Pattern of the path, such as "/v1/models/{model}"; a client chooses none.
          code: Status code of the answer.
        """
        self._requests.labels(route, str(code)).inc()

    def count_backend_error(self, code: str) -> None:
        """Counts a call that failed, by the name of its gRPC status code."""
        self._backend_errors.labels(code).inc()

    def waited(self, seconds: float) -> None:
        """Records how long a call waited for its turn."""
        self._waiting.observe(seconds)

    def looked_up(self, cached: int, read: int) -> None:
        """Records a look into the cache.

        Args:
          cached: Number of a prompt's characters whose state the cache had.
          read: Number of its characters that the model reads.
        """
        self._cache_lookups.labels("hit" if cached else "miss").inc()
        self._cache_characters.labels("cache").inc(cached)
        self._cache_characters.labels("model").inc(read)

    def generated(self, pace: "Pace") -> None:
        """Records the pace of a text, unless it has no characters."""
        if pace.characters:
            self._first.observe(pace.first - pace.begun)
        if pace.characters > pace.first_characters:
            rest = pace.characters - pace.first_characters
            self._each.observe((pace.last - pace.first) / rest)

    def exposition(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return prometheus_client.generate_latest(self._registry)


class Pace:
    """When the characters of a text came, on the clock of `time.perf_counter`.

    Attributes:
      begun: When the text was asked for.
      first: When its first piece came.
      last: When its last piece came.
      first_characters: Number of characters of the first piece.
      characters: Number of characters of all pieces.
    """

    def __init__(self) -> None:
        """Begins a text."""
        self.begun = self.first = self.last = time.perf_counter()
        self.first_characters = 0
        self.characters = 0

    def add(self, characters: int) -> None:
        """Adds a piece of a number of characters, which comes now."""
        self.last = time.perf_counter()
        if not self.characters:
            self.first, self.first_characters = self.last, characters
        self.characters += characters
