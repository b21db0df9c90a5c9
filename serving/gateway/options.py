"""The options of the gateway, and the limits that they are not."""

from typing import NamedTuple

from serving.limits import DEFAULT_REST_REQUEST_BYTES, MAX_ROWS

MAX_CHOICES = 64
"""Largest number of texts of a request: its prompts times `n`."""

MAX_TOTAL_TOKENS = 200_000
"""Largest number of characters of a request: the prompts, and `max_tokens` of each text."""

MAX_REPORTED = 500_000
"""Largest number of log-probabilities in an answer, those of alternatives included."""

MAX_ANSWER_VALUES = 1_000_000
"""Largest number of elements of an answer in JSON of the Open Inference Protocol."""

MAX_ANSWER_BYTES = 64 << 20
"""Largest size of an answer of the model server."""

MAX_STOPS = 4
"""Largest number of stop strings."""

MAX_STOP_BYTES = 1000
"""Largest size of a stop string in UTF-8."""

SCORED_ROWS = 16
"""Number of characters whose alternatives a call finds at least, each by a row of its own."""

MAX_ROWS_OF_CALL = 1024
"""Largest number of rows of a call that may be chosen."""

MAX_NAME = 200
"""Largest number of characters of a name in a request."""

BODY_SECONDS = 30.0
"""Seconds in which the head of a request, and then its body, must have arrived."""


class GatewayOptions(NamedTuple):
    """Options of the gateway; the names are those of the flags.

    Attributes:
      backend: Address of the model server's gRPC, `host:port` or `unix:path`.
      model_names: Names of the models that clients may use; the protocol has no list of them.
      host: Name or address to listen on; empty for this machine alone.
      port: Port for HTTP; `serve_flags.ANY_PORT` for any that is free.
      timeout: Seconds that a request may take, its answer's way to the client included.
      backend_timeout: Seconds that a call of the model server may take.
      backend_ca_file: Path of the PEM of the authority that signed the server's certificate; empty
        for no TLS.
      max_request_bytes: Largest size of the body of a request.
      max_body_memory_bytes: Memory of the bodies of all requests together: their bytes, and 100 for
        each value of their JSON.
      max_requests: Number of requests that are answered at once; more are refused.
      max_connections: Number of open connections; more are closed at once.
      max_backend_calls: Number of calls that the model server computes at once; more wait.
      max_rows: Largest number of rows of a call, the `--max_batch_size` that models were pushed
        with.
      cache_bytes: Memory of the states of prompts' beginnings; 0 for none.
      grace_seconds: Seconds that requests have to end after SIGTERM or SIGINT.
      allowed_hosts: Names by which clients may call the gateway, separated by commas; "*" for any;
        empty for those of the addresses it listens on.
      allowed_origins: Origins of pages that may send requests, separated by commas; "*" for any;
        empty for the gateway's own.
      enable_cors_support: Whether these pages may read the answers, too. No flag of the gateway;
        that beside a server follows `--rest_api_enable_cors_support`.
    """

    backend: str = "127.0.0.1:8500"
    model_names: tuple[str, ...] = ("stdlib",)
    host: str = ""
    port: int = 8502
    timeout: float = 300.0
    backend_timeout: float = 60.0
    backend_ca_file: str = ""
    max_request_bytes: int = DEFAULT_REST_REQUEST_BYTES
    max_body_memory_bytes: int = 512 << 20
    max_requests: int = 256
    max_connections: int = 1000
    max_backend_calls: int = 32
    max_rows: int = MAX_ROWS
    cache_bytes: int = 256 << 20
    grace_seconds: float = 30.0
    allowed_hosts: str = ""
    allowed_origins: str = ""
    enable_cors_support: bool = True
