"""Options that several benchmarks have."""

from collections.abc import Callable
from typing import Any

import click

HELP = {
    "layers": "Number of layers.",
    "units": "Width of the layers.",
    "batch": "Number of rows of a batch.",
    "window": "Number of characters of a row.",
    "steps": "Number of training steps that are timed.",
    "rounds": "Number of times that each measurement is repeated, in turns with the others.",
}
"""What the options say of themselves, by name."""

Decorated = Callable[..., Any]


dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="bfloat16",
    show_default=True,
    help="Dtype of the products.",
)
"""The option of the dtype in which products are computed."""


def output_option(name: str) -> Callable[[Decorated], Decorated]:
    """Returns a decorator that adds the option of the file of the measurements.

    Args:
      name: Name of the file by default, in `runs/benchmarks`, without its ending.
    """
    return click.option(
        "--output",
        default=f"runs/benchmarks/{name}.json",
        show_default=True,
        help="JSON file for all measurements.",
    )


def counts(**defaults: int) -> Callable[[Decorated], Decorated]:
    """Returns a decorator that adds options of counts to a command.

    Args:
      **defaults: The default of each option, by its name in `HELP`.
    """

    def decorate(command: Decorated) -> Decorated:
        for name, default in reversed(defaults.items()):
            command = click.option(
                f"--{name}",
                type=click.IntRange(1),
                default=default,
                show_default=True,
                help=HELP[name],
            )(command)
        return command

    return decorate
