"""The command line: `python -m serving serve|sample|score`."""

import contextlib
import itertools
import pathlib
import sys

import click

from common import command_line

DEFAULT_SERVER = "127.0.0.1:8500"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands():
    """Serve a character model, and ask one that is served."""


def _flag(name, default, help_text):
    """A boolean as tensorflow_model_server takes it: `--name`, `--name=true` or `--name=false`."""
    return click.option(
        f"--{name}", type=bool, is_flag=False, flag_value=True, default=default,
        show_default=True, help=help_text,
    )  # fmt: skip


def _value(name, default, help_text):
    shown = default != ""
    return click.option(f"--{name}", default=default, show_default=shown, help=help_text)


@commands.command()
@_value("port", 8500, "Port for gRPC; 0 for none.")
@_value("grpc_socket_path", "", "UNIX socket for gRPC.")
@_value("grpc_max_threads", 64, "gRPC requests at once.")
@_value("grpc_channel_arguments", "", "Options of gRPC's core: name=value,name=value.")
@_value("rest_api_port", 0, "Port for REST and the playground; 0 for none.")
@_value("rest_api_num_threads", 64, "REST requests at once.")
@_value("rest_api_timeout_in_ms", 30_000, "How long an answer over REST may take.")
@_value("model_name", "default", "What requests call it.")
@_value("model_base_path", "", "Directory with a directory per version.")
@_value("model_config_file", "", "A ModelServerConfig; it takes the place of the two above.")
@_value(
    "model_config_file_poll_wait_seconds",
    0.0,
    "Seconds between readings of --model_config_file; 0 for one reading.",
)
@_value(
    "file_system_poll_wait_seconds", 1.0, "Seconds between looks for a new version; 0 for none."
)
@_value("max_num_load_retries", 5, "How often a version that cannot be loaded is tried again.")
@_value("load_retry_interval_micros", 60_000_000, "Microseconds between these.")
@_flag(
    "allow_version_labels_for_unavailable_models",
    False,
    "Whether a label may name a version that is not loaded yet.",
)
@_flag("enable_model_warmup", True, "Whether a version answers its warm-up requests first.")
@_flag(
    "enable_batching",
    False,
    "Without effect: this project's models merge requests within the graph.",
)
@_value("batching_parameters_file", "", "A BatchingParameters; read for its mistakes only.")
@_value("tensorflow_session_parallelism", 0, "Threads of TensorFlow; 0 for one per core.")
@_value(
    "tensorflow_intra_op_parallelism",
    0,
    "Threads of one op; 0 for as many as above or else half of the cores, as merged batches run "
    "two at once.",
)
@_value(
    "tensorflow_inter_op_parallelism",
    0,
    "Ops of a request at once; 0 for as many as above or else one, in the request's own thread.",
)
@_value("ssl_config_file", "", "An SSLConfig: keys for TLS.")
@_value("monitoring_config_file", "", "A MonitoringConfig: metrics at REST.")
def serve(
    model_name,
    model_base_path,
    model_config_file,
    model_config_file_poll_wait_seconds,
    file_system_poll_wait_seconds,
    batching_parameters_file,
    ssl_config_file,
    monitoring_config_file,
    **flags,
):
    """Serve the newest versions of models, with the flags of tensorflow_model_server."""
    from serving.server import config_files, grpc_server
    from serving.server.manager import Options

    if not model_base_path and not model_config_file:
        raise click.UsageError("give --model_base_path or --model_config_file")
    if batching_parameters_file:
        config_files.read_batching(batching_parameters_file)

    def config():
        if model_config_file:
            return config_files.read_models(model_config_file)
        return config_files.single_model(model_name, model_base_path)

    monitoring_path = config_files.METRICS_PATH
    if monitoring_config_file:
        monitoring_path = config_files.read_monitoring_path(monitoring_config_file)
    credentials = config_files.read_credentials(ssl_config_file) if ssl_config_file else None
    grpc_server.serve(
        config,
        _of(Options, flags, session=_session(**flags)),
        _of(grpc_server.Listening, flags, credentials=credentials, monitoring_path=monitoring_path),
        file_system_poll_wait_seconds,
        model_config_file_poll_wait_seconds,
    )


def _of(kind, flags, **others):
    """A NamedTuple whose fields are flags, but for some others."""
    return kind(**{name: flags[name] for name in kind._fields if name in flags}, **others)


def _session(
    tensorflow_session_parallelism,
    tensorflow_intra_op_parallelism,
    tensorflow_inter_op_parallelism,
    **_,
):
    from serving.server.servable import session_config

    usual = tensorflow_session_parallelism
    return session_config(
        tensorflow_intra_op_parallelism or usual, tensorflow_inter_op_parallelism or usual
    )


def _asks(command):
    """The options of the commands that ask a grpc_server."""
    options = (
        click.option(
            "--server", default=None, help=f"host:port of a server; {DEFAULT_SERVER} by default."
        ),
        click.option(
            "--model_base_path",
            default=None,
            help="Start a server for this base path, and stop it afterwards.",
        ),
        click.option("--model_name", default="stdlib", show_default=True, help="Which model."),
        click.option("--version_label", default="", help="Which version; the newest by default."),
        click.option("--timeout", default=60.0, show_default=True, help="Seconds per request."),
        click.option("--ssl_ca_file", default="", help="PEM of who vouches for the server; TLS."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def _client(server, model_base_path, model_name, version_label, timeout, ssl_ca_file):
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
        server or DEFAULT_SERVER, model_name, timeout, credentials, version_label or None
    )
    with Client(address) as client:
        yield client


@commands.command()
@_asks
@click.option("--prompt", default="", help="What to continue; empty starts from nothing.")
@click.option("--length", default=500, show_default=True, help="Characters to add.")
@click.option("--temperature", default=0.8, show_default=True, help="0 takes the likeliest.")
@click.option("--top_k", default=0, show_default=True, help="Only the k likeliest; 0 for all.")
@click.option("--top_p", default=1.0, show_default=True, help="Only the likeliest with this mass.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same text.")
@click.option("--stop", default="", help="The text ends after this.")
@click.option("--stream/--no_stream", default=False, help="Print characters as they come.")
def sample(prompt, length, temperature, top_k, top_p, seed, stop, stream, **server):
    """Print a prompt and what the model makes of it."""
    from serving.protocol import Choices

    choices = Choices(temperature, top_k, top_p, seed, stop)
    with _client(**server) as client:
        pieces = client.stream(prompt, length, choices)
        if not stream:
            pieces = client.generate([prompt], length, choices)
        first = next(iter(pieces), None)
        _write(prompt.encode("utf-8", "surrogateescape"))
        for piece in itertools.chain([first] if first else [], pieces if stream else []):
            _write(piece.text)
    _write(b"\n")


def _write(text):
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


@commands.command()
@_asks
@click.argument("text")
def score(text, **server):
    """Print the bits per character the model needs for TEXT."""
    with _client(**server) as client:
        (result,) = client.score([text])
    click.echo(f"{result.bits_per_character:.4f} bits per character")


if __name__ == "__main__":
    command_line.main(commands)
