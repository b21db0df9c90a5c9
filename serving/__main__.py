"""The command line: `python -m serving serve|gateway|sample|score`."""

import contextlib
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from common import command_line
from common.commands import TensorFlowGroup, json_option
from serving import serve_flags
from serving.gateway import flags as flags_of_gateway
from serving.generate_inputs import GENERATE_INPUTS, SAMPLING_INPUTS

if TYPE_CHECKING:
    from serving.client.client import Client

DEFAULT_SERVER = "127.0.0.1:8500"


@click.group(
    cls=TensorFlowGroup,
    example="python -m serving serve --model_name stdlib --model_base_path runs/serving/stdlib",
)
def commands() -> None:
    """Serve a character model, or send requests to a server."""


@commands.command(
    verbosity=False,  # its flags are those of tensorflow_model_server
    example="python -m serving serve --rest_api_port 8501 --model_name stdlib "
    "--model_base_path runs/serving/stdlib",
)
@serve_flags.all_flags
def serve(**flags: Any) -> None:
    """Serve the newest versions of models, with the flags of tensorflow_model_server."""
    from serving.server import flag_options, run

    serve_flags.warn_of_flags_without_effect()
    arguments = flag_options.arguments_of_serve(flags)
    beside = None
    if flags["gateway_port"]:
        from serving.gateway.beside import GatewayBeside

        beside = GatewayBeside.of_flags(flags)
    run.serve(*arguments, beside=beside)


@commands.command(
    example="python -m serving gateway --backend 127.0.0.1:8500 --model_name stdlib --port 8502",
)
@flags_of_gateway.all_flags
def gateway(**flags: Any) -> None:
    """Answer clients of the OpenAI API, in front of any server of TensorFlow Serving's protocol."""
    from serving.gateway import run
    from serving.gateway.options import GatewayOptions

    run.run(GatewayOptions(**flags))


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
        given = {"server": server, "version_label": version_label, "ssl_ca_file": ssl_ca_file}
        for name, value in given.items():
            if value:
                raise click.UsageError(
                    f"--{name} is of a server that runs, and --model_base_path starts one; give "
                    "one of the two"
                )
        require_versions(model_base_path)
        with running_server(model_name, model_base_path, timeout=timeout) as client:
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
            command = serve_flags.value(row.name, row.option_default, row.help)(command)
    return command


@commands.command(example='python -m serving sample --prompt "def " --num_samples 3 --seed 7')
@_client_options
@_generate_options
@click.option("--prompt_file", default=None, help="File of the prompt; - for standard input.")
@click.option(
    "--num_samples", default=1, show_default=True, help="Number of texts, each of a seed."
)
@click.option("--stream/--no_stream", default=False, help="Print characters as they arrive.")
@json_option
def sample(
    prompt: str,
    length: int,
    prompt_file: str | None,
    num_samples: int,
    stream: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Print a prompt and the text with which the model continues it.

    Several texts have the seeds from --seed on, and a form feed in between; as JSON each is an
    object on a line of its own.
    """
    from serving.protocol import SamplingParams

    if num_samples < 1 or (stream and num_samples > 1):
        raise click.UsageError("--num_samples must be at least 1, and 1 with --stream")
    if stream and as_json:
        raise click.UsageError("give either --stream or --json")
    if prompt_file is not None:
        if prompt:
            raise click.UsageError("give either --prompt or --prompt_file")
        with click.open_file(prompt_file, "rb") as file:
            prompt = file.read().decode("utf-8", "surrogateescape")
    names = [row.name for row in SAMPLING_INPUTS if row.name in options]
    params = SamplingParams(**{name: options.pop(name) for name in names})
    with _open_client(**options) as client:
        if as_json:
            for number, piece in enumerate(client.generate([prompt] * num_samples, length, params)):
                _write_json(prompt, params.seed + number, piece.text)
            return
        if stream:
            pieces = client.stream(prompt, length, params)
        else:
            pieces = iter(client.generate([prompt] * num_samples, length, params))
        first = list(itertools.islice(pieces, 1))  # an error comes before anything is printed
        _write(prompt.encode("utf-8", "surrogateescape"))
        for number, piece in enumerate(itertools.chain(first, pieces)):
            if number and not stream:
                _write(b"\n\f\n" + prompt.encode("utf-8", "surrogateescape"))
            _write(piece.text)
    _write(b"\n")


def _write_json(prompt: str, seed: int, text: bytes) -> None:
    """Prints one text; bytes that are no UTF-8 are lone surrogates, as in Python's file names."""
    decoded = text.decode("utf-8", "surrogateescape")
    click.echo(json.dumps({"prompt": prompt, "seed": seed, "text": decoded}))


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


@commands.command(example="python -m serving score --by_line my-texts/text.txt")
@_client_options
@click.argument("files", nargs=-1)
@click.option("--text", default=None, help="Text to score, in place of files.")
@click.option("--by_line", is_flag=True, help="Score each line as a text of its own.")
@json_option
def score(
    files: tuple[str, ...], text: str | None, by_line: bool, as_json: bool, **options: Any
) -> None:
    """Print the bits per character that the model needs for FILES of any length, or for a text.

    A file `-` is standard input.
    """
    from serving.client.bulk_score import score_files

    if (text is None) != bool(files):
        raise click.UsageError("give files, - for standard input, or a text with --text")
    with _open_client(**options) as client:
        if text is not None:
            (result,) = client.score([text])
            bits = result.bits_per_character
            if as_json:
                click.echo(json.dumps({"text": text, "bits_per_character": bits}))
            else:
                click.echo(f"{bits:.4f} bits per character")
            return
        for one in score_files(client, files, by_line):
            if as_json:
                found = one.bits_per_character if one.characters else None
                click.echo(json.dumps({**one._asdict(), "bits_per_character": found}))
            else:
                place = one.source if one.line is None else f"{one.source}:{one.line}"
                click.echo(f"{one.bits_per_character:8.4f} {one.characters:10,}  {place}")


if __name__ == "__main__":
    command_line.main(commands, resumes=False)
