"""The command line: `python -m serving serve|sample|score`."""

import contextlib
import sys

import click

from serving import command_line

DEFAULT_SERVER = "127.0.0.1:8500"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands():
    """Serve a character model, and ask one that is served."""


@commands.command()
@click.option("--port", default=8500, show_default=True, help="Port for gRPC.")
@click.option("--rest_api_port", default=0, show_default=True, help="Port for REST; 0 for none.")
@click.option("--model_name", default="default", show_default=True, help="What requests call it.")
@click.option("--model_base_path", required=True, help="Directory with a directory per version.")
@click.option(
    "--file_system_poll_wait_seconds",
    default=1.0,
    show_default=True,
    help="Seconds between looks for a new version; 0 for no looks.",
)
@click.option("--grpc_max_threads", default=16, show_default=True, help="Requests at once.")
def serve(
    port,
    rest_api_port,
    model_name,
    model_base_path,
    file_system_poll_wait_seconds,
    grpc_max_threads,
):
    """Serve the newest version of a model, with the flags of tensorflow_model_server."""
    from serving import server

    server.serve(
        model_name,
        model_base_path,
        port,
        rest_api_port,
        file_system_poll_wait_seconds,
        grpc_max_threads,
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
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def _client(server, model_base_path, model_name):
    from serving.client import Client
    from serving.launch import running_server
    from serving.models import require_versions

    if model_base_path:
        require_versions(model_base_path)
        with running_server(model_name, model_base_path) as client:
            yield client
    else:
        with Client(server or DEFAULT_SERVER, model_name) as client:
            yield client


@commands.command()
@_asks
@click.option("--prompt", default="", help="What to continue; empty starts from nothing.")
@click.option("--length", default=500, show_default=True, help="Characters to add.")
@click.option("--temperature", default=0.8, show_default=True, help="0 takes the likeliest.")
@click.option("--top_k", default=0, show_default=True, help="Only the k likeliest; 0 for all.")
@click.option("--top_p", default=1.0, show_default=True, help="Only the likeliest with this mass.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same text.")
def sample(server, model_base_path, model_name, prompt, length, temperature, top_k, top_p, seed):
    """Print a prompt and what the model makes of it."""
    with _client(server, model_base_path, model_name) as client:
        (text,) = client.generate([prompt], length, temperature, top_k, top_p, seed)
    sys.stdout.buffer.write(prompt.encode("utf-8", "surrogateescape") + text.text + b"\n")


@commands.command()
@_asks
@click.argument("text")
def score(server, model_base_path, model_name, text):
    """Print the bits per character the model needs for TEXT."""
    with _client(server, model_base_path, model_name) as client:
        (result,) = client.score([text])
    click.echo(f"{result.bits_per_character:.4f} bits per character")


if __name__ == "__main__":
    command_line.main(commands)
