"""The flags of `python -m serving gateway`; it needs no TensorFlow, so that `--help` is quick."""

from collections.abc import Callable

import click

from serving.gateway.options import MAX_ROWS_OF_CALL, SCORED_ROWS, GatewayOptions
from serving.serve_flags import Port, value

_MAX_BYTES = 2**40
_DEFAULTS = GatewayOptions()


def _flag(name: str, help_text: str, kind: click.ParamType | None = None) -> Callable:
    """Returns the flag of an option, with the option's default."""
    return value(name, getattr(_DEFAULTS, name), help_text, kind)


_FLAGS = (
    _flag("backend", "Address of the model server's gRPC."),
    click.option("--model_name", "model_names", multiple=True, default=_DEFAULTS.model_names,
                 show_default=True, help="Name of a model that clients may use; may be repeated."),
    _flag("host", "Name or address to listen on; 0.0.0.0 or :: for all. Default: this machine "
          "alone, 127.0.0.1 and ::1."),
    _flag("port", "Port for HTTP; `any` for one that is free.", Port()),
    _flag("timeout", "Seconds that a request may take.", click.FloatRange(0.001, 1e6)),
    _flag("backend_timeout", "Seconds that a call of the model server may take.",
          click.FloatRange(0.001, 1e6)),
    _flag("backend_ca_file", "PEM of the authority to trust; uses TLS to the model server."),
    _flag("max_request_bytes", "Largest size of the body of a request.", click.IntRange(1, 2**30)),
    _flag("max_body_memory_bytes", "Memory of the bodies of all requests together.",
          click.IntRange(1, _MAX_BYTES)),
    _flag("max_requests", "Requests that are answered at once; more are refused.",
          click.IntRange(1, 100_000)),
    _flag("max_connections", "Open connections; more are closed at once.",
          click.IntRange(1, 100_000)),
    _flag("max_backend_calls", "Calls that the model server computes at once; more wait.",
          click.IntRange(1, 10_000)),
    _flag("max_rows", "Rows of a call, the --max_batch_size that models were pushed with.",
          click.IntRange(SCORED_ROWS, MAX_ROWS_OF_CALL)),
    _flag("cache_bytes", "Memory of the states of prompts' beginnings; 0 for none.",
          click.IntRange(0, _MAX_BYTES)),
    _flag("grace_seconds", "Seconds that requests have to end when the gateway is stopped.",
          click.FloatRange(0, 1e6)),
    _flag("allowed_hosts", "Names by which clients may call the gateway, separated by commas; "
          "* for any. Default: those of the addresses it listens on."),
    _flag("allowed_origins", "Origins of pages that may send requests and read the answers (CORS), "
          "separated by commas; * for any. Default: none but its own."),
)  # fmt: skip


def all_flags(command: Callable) -> Callable:
    """Adds all flags to a command, which has the fields of `GatewayOptions` as parameters."""
    for add in reversed(_FLAGS):
        command = add(command)
    return command
