"""What all commands have: an example, `--version`, `-v` and `-q`, and completion in shells.

It needs Click alone, for commands that run where the rest of the project is not installed.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

import click

from common import completion
from common.help_sections import SectionedCommand
from common.quiet_tensorflow import import_tensorflow
from model import __version__

CONTEXT: dict[str, Any] = {
    # Options are spelled as those of TensorFlow's own tools; dashes are accepted as well.
    "token_normalize_func": lambda token: token.replace("-", "_"),
    "help_option_names": ["--help", "-h"],
    "max_content_width": 100,
}


class Exemplified(click.Command):
    """A command whose help ends with an example; it may be all of a program, or a part of one.

    Attributes:
      example: The example, a line for a shell; None for a command without one.
    """

    def __init__(self, *arguments: Any, example: str | None = None, **options: Any):
        """Creates the command; arguments other than the example are those of `click.Command`."""
        options["context_settings"] = {**CONTEXT, **(options.get("context_settings") or {})}
        super().__init__(*arguments, **options)
        self.example = example
        self._of_program = _of_program()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the example as one line, however long, so that it can be copied."""
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns the parameters, with those of a program if the command is all of one."""
        parameters = super().get_params(ctx)
        return parameters if ctx.parent else [*parameters, *self._of_program]

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Runs the command, or completes words if a shell asks for that; see `click.Command`."""
        completion.register()
        return super().main(*arguments, **{"complete_var": completion.VARIABLE, **options})


class Command(Exemplified, SectionedCommand):
    """A command with an example, sections in its help, `-v` and `-q`."""

    def __init__(self, *arguments: Any, verbosity: bool = True, **options: Any):
        """Creates the command.

        Args:
          *arguments: Arguments of `Exemplified`.
          verbosity: Whether there are `-v` and `-q`.
          **options: Options of `Exemplified`.
        """
        super().__init__(*arguments, **options)
        if verbosity:
            self.params += _of_verbosity()


class Group(Exemplified, click.Group):
    """A group of such commands."""

    command_class = Command


class TensorFlowCommand(Command):
    """A command that imports TensorFlow when it runs, and not for its help."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        import_tensorflow()
        return super().invoke(ctx)


class TensorFlowGroup(Group):
    """A group of commands that import TensorFlow."""

    command_class = TensorFlowCommand


def _of_program() -> list[click.Parameter]:
    """Returns the options of a whole program."""
    return [
        click.Option(
            ["--print_completion"],
            type=click.Choice(completion.SHELLS),
            expose_value=False,
            is_eager=True,
            callback=_print_completion,
            help="Print the script that completes commands and options in a shell, and exit.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version, and exit.",
        ),
    ]


def _of_verbosity() -> list[click.Parameter]:
    """Returns the options that decide what a command says of its work."""

    def flag(name: str, act: Callable[[], None], text: str) -> click.Option:
        def callback(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
            if wanted and not ctx.resilient_parsing:
                act()

        return click.Option(
            [f"--{name}", f"-{name[0]}"],
            is_flag=True,
            expose_value=False,
            callback=callback,
            help=text,
        )

    return [
        flag("quiet", _be_quiet, "Print results and errors only."),
        flag("verbose", _be_verbose, "Print the logs of TensorFlow and Beam, too."),
    ]


def json_option(command: Callable) -> Callable:
    """Adds --json to a command, which is then given `as_json` and says nothing of its work."""

    def callback(ctx: click.Context, _: click.Parameter, wanted: bool) -> bool:
        if wanted and not ctx.resilient_parsing:
            _be_quiet()
        return wanted

    return click.option(
        "--json", "as_json", is_flag=True, callback=callback, help="Print JSON, and nothing else."
    )(command)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"grid-lstm {__version__}")
        ctx.exit()


def _print_completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:
        click.echo(completion.script(ctx.command, shell), nl=False)
        ctx.exit()


def _be_quiet() -> None:
    from common.progress import console

    console.quiet = True


def _be_verbose() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel(logging.INFO)
