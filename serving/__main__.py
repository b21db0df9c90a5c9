"""The command line: `python -m serving serve|sample|score`."""

import contextlib
import itertools
import pathlib
import sys

import click

from serving import command_line

DEFAULT_SERVER = "127.0.0.1:8500"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands():
    """Serve a character model, and ask one that is served."""


@commands.command()
@click.option("--port", default=8500, show_default=True, help="Port for gRPC; 0 for none.")
@click.option("--grpc_socket_path", default="", help="UNIX socket for gRPC.")
@click.option("--grpc_max_threads", default=64, show_default=True, help="gRPC requests at once.")
@click.option("--rest_api_port", default=0, show_default=True, help="Port for REST; 0 for none.")
@click.option(
    "--rest_api_num_threads", default=64, show_default=True, help="REST requests at once."
)
@click.option("--model_name", default="default", show_default=True, help="What requests call it.")
@click.option("--model_base_path", default="", help="Directory with a directory per version.")
@click.option(
    "--model_config_file", default="", help="A ModelServerConfig, in place of the two above."
)
@click.option(
    "--model_config_file_poll_wait_seconds",
    default=0.0,
    show_default=True,
    help="Seconds between readings of --model_config_file; 0 for one reading.",
)
@click.option(
    "--file_system_poll_wait_seconds",
    default=1.0,
    show_default=True,
    help="Seconds between looks for a new version; 0 for no looks.",
)
@click.option(
    "--max_num_load_retries",
    default=5,
    show_default=True,
    help="How often a version that cannot be loaded is tried again.",
)
@click.option(
    "--load_retry_interval_micros",
    default=60_000_000,
    show_default=True,
    help="Microseconds between these.",
)
@click.option(
    "--allow_version_labels_for_unavailable_models",
    default=False,
    show_default=True,
    help="Whether a label may name a version that is not loaded yet.",
)
@click.option(
    "--tensorflow_session_parallelism",
    default=0,
    show_default=True,
    help="Threads of TensorFlow; 0 for one per core.",
)
@click.option("--ssl_config_file", default="", help="An SSLConfig: keys for TLS.")
@click.option("--monitoring_config_file", default="", help="A MonitoringConfig: metrics at REST.")
def serve(
    model_name,
    model_base_path,
    model_config_file,
    model_config_file_poll_wait_seconds,
    file_system_poll_wait_seconds,
    max_num_load_retries,
    load_retry_interval_micros,
    allow_version_labels_for_unavailable_models,
    tensorflow_session_parallelism,
    ssl_config_file,
    monitoring_config_file,
    **listening,
):
    """Serve the newest versions of models, with the flags of tensorflow_model_server."""
    import tensorflow as tf

    from serving import config_files, server
    from serving.manager import Options

    if bool(model_base_path) == bool(model_config_file):
        raise click.UsageError("give either --model_base_path or --model_config_file")

    def config():
        if model_config_file:
            return config_files.read_models(model_config_file)
        return config_files.single_model(model_name, model_base_path)

    monitoring_path = config_files.METRICS_PATH
    if monitoring_config_file:
        monitoring_path = config_files.read_monitoring_path(monitoring_config_file)
    credentials = config_files.read_credentials(ssl_config_file) if ssl_config_file else None
    session = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=tensorflow_session_parallelism,
        intra_op_parallelism_threads=tensorflow_session_parallelism,
    )
    server.serve(
        config,
        Options(
            max_num_load_retries,
            load_retry_interval_micros,
            allow_version_labels_for_unavailable_models,
            session,
        ),
        server.Listening(**listening, credentials=credentials, monitoring_path=monitoring_path),
        file_system_poll_wait_seconds,
        model_config_file_poll_wait_seconds,
    )


def _asks(command):
    """The options of the commands that ask a server."""
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
        click.option("--timeout", default=60.0, show_default=True, help="Seconds per request."),
        click.option("--ssl_ca_file", default="", help="PEM of who vouches for the server; TLS."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def _client(server, model_base_path, model_name, timeout, ssl_ca_file):
    import grpc

    from serving.base_path import require_versions
    from serving.client import Address, Client
    from serving.launch import running_server

    if model_base_path:
        require_versions(model_base_path)
        with running_server(model_name, model_base_path) as client:
            yield client
        return
    credentials = None
    if ssl_ca_file:
        authority = pathlib.Path(ssl_ca_file).read_bytes()
        credentials = grpc.ssl_channel_credentials(authority)
    address = Address(server or DEFAULT_SERVER, model_name, timeout, credentials)
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
