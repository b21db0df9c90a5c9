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
