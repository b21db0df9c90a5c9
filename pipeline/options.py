"""Options that several commands of the pipeline share, as decorators."""

import functools
from typing import get_args

import click

from common import command_line
from pipeline.settings import CORPUS_HELP, MixUntil, preset_names

DEFAULT_ROOT = "runs"
DEFAULT_PRESET = "demo"
DEFAULT_CORPUS = "stdlib"


def root(command):
    """--root, where all artifacts are."""
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all artifacts."
    )(command)


def serving(command):
    """--model_name and --serving_dir, where models are pushed to."""
    for option in (
        click.option("--model_name", default="", help="Default: the name of the corpus."),
        click.option("--serving_dir", default="", help="Default: `serving` under the root."),
    ):
        command = option(command)
    return command


def batching(command):
    """How a pushed model is to merge requests, where that is to be otherwise than exported."""
    helps = {
        "num_batch_threads": (1, "Merged batches that run at once; as exported by default."),
        "batch_timeout_micros": (0, "How long a row waits for others; as exported by default."),
        "max_batch_size": (1, "Most rows of a merged batch of requests; as exported by default."),
    }

    @functools.wraps(command)
    def wrapper(*arguments, **options):
        given = {name: options.pop(name) for name in helps}
        batching = {name: value for name, value in given.items() if value is not None}
        return command(*arguments, batching=batching, **options)

    for name, (least, help_text) in helps.items():
        wrapper = click.option(f"--{name}", type=click.IntRange(least), help=help_text)(wrapper)
    return wrapper


def corpus(command):
    """Gives a command the mixture that its options describe."""

    @functools.wraps(command)
    def wrapper(corpus, weights, mix_until, **options):
        from pipeline.data.corpus import resolve_mixture

        return command(text=resolve_mixture(corpus, weights, mix_until), **options)

    for option in (
        click.option(
            "--mix_until",
            type=click.Choice(get_args(MixUntil)),
            default=get_args(MixUntil)[0],
            show_default=True,
            help="Whether a mixture ends with the first corpus that ends, or with the last, those "
            "that end earlier beginning anew.",
        ),
        click.option(
            "--weights",
            multiple=True,
            type=float,
            help="The share of each --corpus in the mixture, in any unit; equal by default.",
        ),
        click.option(
            "--corpus",
            multiple=True,
            default=[DEFAULT_CORPUS],
            show_default=True,
            help=f"The text: {CORPUS_HELP}. Given several times, a mixture.",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper


def beam(command):
    """Arguments after `--`, for Beam."""
    return click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)(command)


def preset(*configs):
    """--preset, and an option for every parameter of the given parts of one."""

    def decorate(command):
        for config in reversed(configs):
            command = command_line.options_of(config)(command)
        return click.option(
            "--preset",
            default=DEFAULT_PRESET,
            show_default=True,
            help=f"One of {', '.join(preset_names())}, or a .toml file.",
        )(command)

    return decorate


def stage(command):
    """Gives a command the store of its --root, with a report of every artifact."""

    @functools.wraps(command)
    def wrapper(root, **options):
        from model.errors import InputError
        from pipeline.reports.report import report
        from pipeline.store.artifacts import Store
        from pipeline.training.workers import this_worker

        worker = this_worker()
        if not (worker.is_chief or command.__name__ == "trainer"):
            raise InputError(
                f"this is worker {worker.index} of a training, and only its first one runs other "
                "stages than trainer"
            )
        store = Store(root, report, leads=worker.is_chief)
        with store.writing():
            return command(store, **options)

    return root(wrapper)


def train(command):
    """What a training begins with, and where it runs."""
    for option in (
        click.option("--init_from", default="", help="Trainer artifact to take weights from."),
        click.option(
            "--devices",
            default="",
            help="Comma-separated devices, such as gpu:0,gpu:1; all GPUs or the CPU by default.",
        ),
    ):
        command = option(command)
    return command
