"""The command line: `python -m serving serve|sample|score`."""

import contextlib
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from common import command_line
from serving.generate_inputs import GENERATE_INPUTS, SAMPLING_INPUTS

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from serving.client.client import Client

DEFAULT_SERVER = "127.0.0.1:8500"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands() -> None:
    """Serve a character model, or send requests to a server."""


def _flag(name: str, default: bool, help_text: str) -> Callable:
    """Returns a boolean flag as tensorflow_model_server has it: `--name`, `--name=true`."""
    return click.option(
        f"--{name}", type=bool, is_flag=False, flag_value=True, default=default,
        show_default=True, help=help_text,
    )  # fmt: skip


def _value(name: str, default: str | int | float, help_text: str) -> Callable:
    """Returns an option with a value; an empty default is not shown."""
    return click.option(f"--{name}", default=default, show_default=default != "", help=help_text)


@commands.command()
@_value("port", 8500, "Port for gRPC; 0 for none.")
@_value("grpc_socket_path", "", "UNIX socket for gRPC.")
@_value("grpc_max_threads", 64, "Number of gRPC requests answered at once.")
@_value("grpc_channel_arguments", "", "Arguments of gRPC's core: name=value,name=value.")
@_value("rest_api_port", 0, "Port for REST and the playground; 0 for none.")
@_value("rest_api_num_threads", 64, "Number of REST requests answered at once.")
@_value("rest_api_timeout_in_ms", 30_000, "Milliseconds that a REST request may take.")
@_value("model_name", "default", "Name of the model in requests.")
@_value("model_base_path", "", "Directory with a directory per version.")
@_value(
    "model_config_file",
    "",
    "File with a ModelServerConfig, in place of --model_name and --model_base_path.",
)
@_value(
    "model_config_file_poll_wait_seconds",
    0.0,
    "Seconds between reads of --model_config_file; 0 to read it once.",
)
@_value(
    "file_system_poll_wait_seconds", 1.0, "Seconds between checks for new versions; 0 for none."
)
@_value("max_num_load_retries", 5, "Number of retries for a version that fails to load.")
@_value("load_retry_interval_micros", 60_000_000, "Microseconds between these retries.")
@_flag(
    "allow_version_labels_for_unavailable_models",
    False,
    "Whether a label may name a version that is not loaded yet.",
)
@_flag("enable_model_warmup", True, "Whether a version answers its warm-up requests first.")
@_flag(
    "enable_batching",
    False,
    "Has no effect: this project's models merge requests within the graph.",
)
@_value("batching_parameters_file", "", "File with BatchingParameters; it is only validated.")
@_value("tensorflow_session_parallelism", 0, "Number of TensorFlow's threads; 0 for one per core.")
@_value(
    "tensorflow_intra_op_parallelism",
    0,
    "Threads of one op; 0 for --tensorflow_session_parallelism or else half of the cores, as two "
    "merged batches run at once.",
)
@_value(
    "tensorflow_inter_op_parallelism",
    0,
    "Ops of a request that run at once; 0 for --tensorflow_session_parallelism or else one, in the "
    "thread of the request.",
)
@_value("ssl_config_file", "", "File with an SSLConfig, to serve over TLS.")
@_value("monitoring_config_file", "", "File with a MonitoringConfig, for metrics over REST.")
def serve(
    model_name: str,
    model_base_path: str,
    model_config_file: str,
    model_config_file_poll_wait_seconds: float,
    file_system_poll_wait_seconds: float,
    batching_parameters_file: str,
    ssl_config_file: str,
    monitoring_config_file: str,
    **flags: Any,
) -> None:
    """Serve the newest versions of models, with the flags of tensorflow_model_server."""
    from serving.server import config_files, grpc_server
    from serving.server.manager import LoadOptions

    if not model_base_path and not model_config_file:
        raise click.UsageError("give --model_base_path or --model_config_file")
    if batching_parameters_file:
        config_files.read_batching(batching_parameters_file)

    def read_config() -> "ModelServerConfig":
        if model_config_file:
            return config_files.read_models(model_config_file)
        return config_files.single_model(model_name, model_base_path)

    monitoring_path = config_files.METRICS_PATH
    if monitoring_config_file:
        monitoring_path = config_files.read_monitoring_path(monitoring_config_file)
    credentials = config_files.read_credentials(ssl_config_file) if ssl_config_file else None
    grpc_server.serve(
        read_config,
        _from_flags(LoadOptions, flags, session=_session_config(**flags)),
        _from_flags(
            grpc_server.ListenOptions,
            flags,
            credentials=credentials,
            monitoring_path=monitoring_path,
        ),
        file_system_poll_wait_seconds,
        model_config_file_poll_wait_seconds,
    )


def _from_flags(options_class: type, flags: dict[str, Any], **others: Any) -> Any:
    """Returns a NamedTuple of the flags that are its fields, and of other fields."""
    fields = {name: flags[name] for name in options_class.__annotations__ if name in flags}
    return options_class(**fields, **others)


def _session_config(
    tensorflow_session_parallelism: int,
    tensorflow_intra_op_parallelism: int,
    tensorflow_inter_op_parallelism: int,
    **_: Any,
) -> Any:
    from serving.server.servable import session_config

    threads = tensorflow_session_parallelism
    return session_config(
        tensorflow_intra_op_parallelism or threads, tensorflow_inter_op_parallelism or threads
    )


def _client_options(command: Callable) -> Callable:
    """Adds the options that say which server a command sends its requests to."""
    options = (
        click.option(
            "--server", default=None, help=f"Server's host:port; {DEFAULT_SERVER} by default."
        ),
        click.option(
            "--model_base_path",
            default=None,
            help="Start a server for this base path, and stop it afterwards.",
        ),
        click.option("--model_name", default="stdlib", show_default=True, help="Model's name."),
        click.option("--version_label", default="", help="Version's label; default: the newest."),
        click.option("--timeout", default=60.0, show_default=True, help="Seconds per request."),
        click.option("--ssl_ca_file", default="", help="PEM of the authority to trust; uses TLS."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def _open_client(
    server: str | None,
    model_base_path: str | None,
    model_name: str,
    version_label: str,
    timeout: float,
    ssl_ca_file: str,
) -> Iterator["Client"]:
    """Opens the client that the options of `_client_options` describe."""
    import grpc

    from serving.base_path import require_versions
    from serving.client.client import Address, Client
    from serving.client.launch import running_server

    if model_base_path:
        require_versions(model_base_path)
        with running_server(model_name, model_base_path) as client:
            yield client
        return
    credentials = None
    if ssl_ca_file:
        authority = pathlib.Path(ssl_ca_file).read_bytes()
        credentials = grpc.ssl_channel_credentials(authority)
    address = Address(
        server=server or DEFAULT_SERVER,
        model_name=model_name,
        timeout=timeout,
        credentials=credentials,
        version=version_label or None,
    )
    with Client(address) as client:
        yield client


def _generate_options(command: Callable) -> Callable:
    """Adds an option for each input of `generate` that has a default on the command line."""
    for row in reversed(GENERATE_INPUTS):
        if row.option_default is not None:
            command = _value(row.name, row.option_default, row.help)(command)
    return command


@commands.command()
@_client_options
@_generate_options
@click.option("--stream/--no_stream", default=False, help="Print characters as they arrive.")
def sample(prompt: str, length: int, stream: bool, **options: Any) -> None:
    """Print a prompt and the text with which the model continues it."""
    from serving.protocol import SamplingParams

    names = [row.name for row in SAMPLING_INPUTS if row.name in options]
    params = SamplingParams(**{name: options.pop(name) for name in names})
    with _open_client(**options) as client:
        if stream:
            pieces = client.stream(prompt, length, params)
        else:
            pieces = iter(client.generate([prompt], length, params))
        first = list(itertools.islice(pieces, 1))  # an error comes before anything is printed
        _write(prompt.encode("utf-8", "surrogateescape"))
        for piece in itertools.chain(first, pieces):
            _write(piece.text)
    _write(b"\n")


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


@commands.command()
@_client_options
@click.argument("text")
def score(text: str, **options: Any) -> None:
    """Print the bits per character that the model needs for TEXT."""
    with _open_client(**options) as client:
        (result,) = client.score([text])
    click.echo(f"{result.bits_per_character:.4f} bits per character")


if __name__ == "__main__":
    command_line.main(commands)
