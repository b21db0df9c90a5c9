"""The flags of `python -m serving serve`: those of tensorflow_model_server, and some more.

It needs no TensorFlow, so that `--help` answers at once.
"""

import importlib.metadata
from collections.abc import Callable
from typing import Any

import click

import model
from serving.limits import (
    DEFAULT_GRPC_REQUEST_BYTES,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_REST_REQUEST_BYTES,
    MAX_MESSAGE_BYTES,
)

ANY_PORT = -1
"""Value of a port that the server chooses among those that are free."""

WITHOUT_EFFECT = {
    "enable_batching": "this project's models merge requests within the graph",
    "enable_per_model_batching_parameters": "this project's models merge requests within the graph",
    "num_load_threads": "versions are loaded one after the other",
    "num_unload_threads": "versions are unloaded one after the other",
    "flush_filesystem_caches": "the server leaves these caches to the system",
    "platform_config_file": "SavedModels are the only platform",
    "remove_unused_fields_from_bundle_metagraph": "nothing of a model's description is kept",
    "prefer_tflite_model": "SavedModels are run by TensorFlow",
    "num_tflite_pools": "SavedModels are run by TensorFlow",
    "num_tflite_interpreters_per_pool": "SavedModels are run by TensorFlow",
    "enable_signature_method_name_check": "method names are not checked",
    "xla_cpu_compilation_enabled": "the model says what XLA compiles",
    "xla_gpu_compilation_enabled": "the model says what XLA compiles",
    "enable_profiler": "there is no profiler service",
    "thread_pool_factory_config_file": "sessions have thread pools of their own",
    "mixed_precision": "the precision is that of the export",
    "skip_initialize_tpu": "there is no TPU to initialize",
    "enable_grpc_healthcheck_service": "the health service is always there",
    "enable_serialization_as_tensor_content": "values are always in typed fields",
}
"""Flags of tensorflow_model_server that are only accepted, with the reason."""

OWN = (
    "allow_reload",
    "host",
    "rest_api_host",
    "grpc_max_request_bytes",
    "grpc_timeout_in_ms",
    "rest_api_max_request_bytes",
    "max_request_memory_bytes",
    "rest_api_allowed_hosts",
    "rest_api_allowed_origins",
    "gateway_port",
)
"""Flags that tensorflow_model_server does not have."""

_MAX_SECONDS = 1e9  # what the system can wait
_PORT_HELP = "0 for none, as tensorflow_model_server has it; `any` for one that is free."


class Port(click.ParamType):
    """A port: a number, 0 for none, or `any` for one that the server chooses."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the number of the port; `ANY_PORT` for any."""
        if value == "any" or value == ANY_PORT:
            return ANY_PORT
        text = str(value)
        if len(text) <= 5 and text.isascii() and text.isdecimal() and int(text) <= 65535:
            return int(text)
        self.fail(f"{text[:20]} is no port; give one from 1 to 65535, 0 or any")


def flag(name: str, default: bool, help_text: str) -> Callable:
    """Returns a boolean flag as tensorflow_model_server has it: `--name`, `--name=true`."""
    return click.option(
        f"--{name}", type=bool, is_flag=False, flag_value=True, default=default,
        show_default=True, help=help_text,
    )  # fmt: skip


def value(name: str, default: Any, help_text: str, kind: Any = None) -> Callable:
    """Returns an option with a value; an empty default is not shown."""
    return click.option(
        f"--{name}", default=default, show_default=default != "", help=help_text, type=kind
    )


def _number(name: str, default: int, help_text: str, least: int, most: int = 2**31 - 1) -> Callable:
    return value(name, default, help_text, click.IntRange(least, most))


def _seconds(name: str, default: float, help_text: str) -> Callable:
    return value(name, default, help_text, click.FloatRange(max=_MAX_SECONDS))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"Grid LSTM model server: {model.__version__}")
        click.echo(f"TensorFlow Library: {importlib.metadata.version('tensorflow')}")
        ctx.exit()


_LISTENING = (
    value("host", "", "Name or address to listen on; 0.0.0.0 or :: for all. Default: this machine "
          "alone, 127.0.0.1 and ::1."),
    value("port", 8500, f"Port for gRPC; {_PORT_HELP}", Port()),
    value("grpc_socket_path", "", "UNIX socket for gRPC."),
    _number("grpc_max_threads", 64, "Number of gRPC requests answered at once.", 1, 10_000),
    value("grpc_channel_arguments", "", "Arguments of gRPC's core: name=value,name=value."),
    _number("grpc_max_request_bytes", DEFAULT_GRPC_REQUEST_BYTES, "Largest gRPC request.", 1),
    _number("grpc_timeout_in_ms", 300_000, "Milliseconds that a gRPC request may take, whatever "
            "its own deadline.", 1),
    value("rest_api_host", "", "Name or address for REST. Default: that of --host."),
    value("rest_api_port", 0, f"Port for REST and the playground; {_PORT_HELP}", Port()),
    _number("rest_api_num_threads", 64, "Number of REST requests answered at once.", 1, 10_000),
    _number("rest_api_timeout_in_ms", 30_000, "Milliseconds that a REST request may take.", 1),
    _number("rest_api_max_request_bytes", DEFAULT_REST_REQUEST_BYTES, "Largest body of a REST "
            "request, unpacked.", 1, MAX_MESSAGE_BYTES),
    _number("max_request_memory_bytes", DEFAULT_MEMORY_BYTES, "Memory that all requests together "
            "may take, without that of the models.", 1 << 20, 1 << 50),
    value("rest_api_allowed_hosts", "", "Names by which REST clients may call the server, "
          "separated by commas; * for any. Default: those of the addresses it listens on."),
    value("rest_api_allowed_origins", "", "Origins of other pages that may send REST requests, "
          "such as https://example.com, separated by commas; * for any. Default: none."),
    flag("rest_api_enable_cors_support", False, "Whether REST answers may be read by pages of "
         "--rest_api_allowed_origins, or of any origin without these."),
    value("gateway_port", 0, "Port of a gateway for clients of the OpenAI API and the Open "
          f"Inference Protocol, beside REST; {_PORT_HELP}", Port()),
    value("ssl_config_file", "", "File with an SSLConfig, to serve gRPC over TLS; REST then has "
          "to stay on this machine."),
    flag("use_alts_credentials", False, "Whether gRPC uses Google's ALTS in place of TLS."),
    value("monitoring_config_file", "", "File with a MonitoringConfig, for metrics over REST."),
)  # fmt: skip
_MODELS = (
    value("model_name", "default", "Name of the model in requests."),
    value("model_base_path", "", "Directory with a directory per version."),
    value("model_config_file", "", "File with a ModelServerConfig, in place of --model_name and "
          "--model_base_path."),
    _seconds("model_config_file_poll_wait_seconds", 0.0, "Seconds between reads of "
             "--model_config_file; 0 to read it once."),
    _seconds("file_system_poll_wait_seconds", 1.0, "Seconds between checks for new versions; 0 "
             "for none."),
    _number("max_num_load_retries", 5, "Number of retries for a version that fails to load.", 0),
    _number("load_retry_interval_micros", 60_000_000, "Microseconds between these retries.",
            -(2**62), 2**62),
    flag("allow_version_labels_for_unavailable_models", False, "Whether a label may name a "
         "version that is not loaded yet."),
    value("allow_reload", "", "Directory below which ReloadConfig requests of clients may name "
          "base paths; without it they are refused."),
    value("saved_model_tags", "serve", "Tags of the graph to load, separated by commas."),
    flag("enable_model_warmup", True, "Whether a version answers its warm-up requests first."),
    _number("num_request_iterations_for_warmup", 1, "How often it answers each of them.", 0),
    value("batching_parameters_file", "", "File with BatchingParameters; it is only validated."),
    value("tensorflow_session_config_file", "", "File with a ConfigProto of TensorFlow's "
          "sessions, which the following flags change."),
    _number("tensorflow_session_parallelism", 0, "Number of TensorFlow's threads; 0 for one per "
            "core.", 0, 10_000),
    _number("tensorflow_intra_op_parallelism", 0, "Threads of one op; 0 for "
            "--tensorflow_session_parallelism or else half of the cores, as two merged batches "
            "run at once.", 0, 10_000),
    _number("tensorflow_inter_op_parallelism", 0, "Ops of a request that run at once; 0 for "
            "--tensorflow_session_parallelism or else one, in the thread of the request.", 0,
            10_000),
    value("per_process_gpu_memory_fraction", 0.0, "Share of the GPU memory to take at once; 0 "
          "to leave that to TensorFlow.", click.FloatRange(0, 1)),
)  # fmt: skip


def all_flags(command: Callable) -> Callable:
    """Adds all flags to a command; those without effect are not shown by `--help`."""
    for name in WITHOUT_EFFECT:
        command = click.option(
            f"--{name}", is_flag=False, flag_value="true", default=None, hidden=True,
            expose_value=False,
        )(command)  # fmt: skip
    for add in reversed((*_LISTENING, *_MODELS)):
        command = add(command)
    return click.option(
        "--version", type=bool, is_flag=False, flag_value=True, default=False, is_eager=True,
        expose_value=False, callback=_print_version, help="Print the version, and exit.",
    )(command)  # fmt: skip


def warn_of_flags_without_effect() -> None:
    """Writes one line about each flag of the running command that is only accepted."""
    context = click.get_current_context()
    for name, reason in WITHOUT_EFFECT.items():
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            click.echo(f"--{name} has no effect: {reason}", err=True)
