"""The parts that all command lines share: errors in one line, and options from dataclasses."""

import contextlib
import dataclasses
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import click
import docstring_parser

from common.errors import UserError
from model.errors import InputError

# Users of a command line need no notices of what TensorFlow and Beam did not find. TensorFlow reads
# these variables at its import, which happens when a command runs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
logging.disable(logging.WARNING)
logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # its errors are raised as well

CONTEXT = {
    # Options are spelled as those of TensorFlow's own tools; dashes are accepted as well.
    "token_normalize_func": lambda token: token.replace("-", "_"),
    "help_option_names": ["--help", "-h"],
    "max_content_width": 100,
}


class Command(click.Command):
    """A command that imports TensorFlow when it runs, and not for its help."""

    def invoke(self, ctx: click.Context) -> Any:
        import_tensorflow()
        return super().invoke(ctx)


class Commands(click.Group):
    """A group of commands that import TensorFlow."""

    command_class = Command


def import_tensorflow() -> None:
    """Imports TensorFlow without the notices that it writes before it can be told not to.

    Keras is kept from finding matplotlib and scikit-learn, whose import takes a quarter of the
    time.
    """
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere, _hidden("matplotlib", "sklearn"):
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
            import tensorflow_text  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Makes modules that are not imported yet impossible to find."""
    hidden = [module for module in modules if module not in sys.modules]
    for module in hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # as the import system has it
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]


def main(command: click.Command) -> NoReturn:
    """Runs a command line and exits the process.

    Invalid user input, in the arguments or in the files they name, ends in one line on standard
    error and exit status 2; so does a filesystem that is full or read-only.
    """
    try:
        sys.exit(command.main(standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except (InputError, UserError) as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; the same command resumes from here", err=True)
        sys.exit(130)
    except OSError as error:
        _fail(_file_problem(error.strerror or str(error), error.filename))
    except Exception as error:
        problem = _filesystem_problem(error)
        if problem is None:
            raise
        _fail(_file_problem(problem))


def _fail(message: str) -> NoReturn:
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(2)


def _file_problem(problem: str, path: str | None = None) -> str:
    where = f"{path}: " if path else ""
    full = "no space left" in problem.lower()
    remedy = "free some, or choose another --root" if full else "check the path and its permissions"
    return f"{where}{problem}; {remedy}"


def _filesystem_problem(error: Exception) -> str | None:
    """Returns the problem of the filesystem in an error that TensorFlow or Beam wrapped."""
    for line in reversed(str(error).splitlines()):
        lowered = line.lower()
        for problem in ("No space left on device", "Permission denied", "Read-only file system"):
            if problem.lower() in lowered:
                return problem
    return None


def options_of(config: type, only: Sequence[str] | None = None) -> Callable[[Callable], Callable]:
    """Returns a decorator that adds an option per field of a dataclass to a command.

    The help of each option comes from the docstring of the dataclass. An option that is not given
    is None, or an empty tuple if it may be given several times, so that a preset's value applies.

    Args:
      config: Dataclass whose docstring describes its fields under `Attributes:`.
      only: Names of the fields to add options for; None (the default) for all.
    """
    documentation = docstring_parser.parse(config.__doc__ or "")
    helps = {parameter.arg_name: parameter.description for parameter in documentation.params}
    hints = get_type_hints(config)

    def decorate(command: Callable) -> Callable:
        for field in reversed(dataclasses.fields(config)):
            if only is not None and field.name not in only:
                continue
            hint = hints[field.name]
            command = click.option(
                _declaration(field.name, hint),
                type=_parameter_type(hint),
                multiple=get_origin(hint) is tuple,
                default=None,
                help=" ".join((helps.get(field.name) or "").split()),
            )(command)
        return command

    return decorate


def _declaration(name: str, hint: Any) -> str:
    return f"--{name}/--no_{name}" if hint is bool else f"--{name}"


def _parameter_type(hint: Any) -> click.ParamType | type:
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    if get_origin(hint) in (tuple, Union, types.UnionType):  # tuple[X, ...] or X | None
        return get_args(hint)[0]
    return hint
