"""The parts that all command lines share: errors in one line, and options from dataclasses."""

import dataclasses
import io
import logging
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import click
import docstring_parser

from common.errors import UserError
from common.help_sections import OTHER, SectionedOption
from model.errors import InputError

# Users of a command line need no notices of what Beam did not find.
logging.disable(logging.WARNING)
logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # its errors are raised as well


def main(command: click.Command, resumes: bool = True) -> NoReturn:
    """Runs a command line and exits the process.

    Invalid user input, in the arguments or in the files they name, ends in one line on standard
    error and exit status 2, or that of the error; so does a filesystem that is full or read-only.
    A reader of the output that goes away, such as `head`, ends the command without a word.

    Args:
      command: The command.
      resumes: Whether an interrupted command continues where it was when it is run again, which it
        then says. Default True.
    """
    resumption = "; the same command resumes from here" if resumes else ""
    _make_output_safe()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(command.main(standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except InputError as error:
        _fail(str(error), error.exit_status)
    except UserError as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"interrupted{resumption}", err=True)
        sys.exit(128 + signal.SIGINT)
    except _TerminatedError:
        click.echo(f"terminated{resumption}", err=True)
        sys.exit(128 + signal.SIGTERM)
    except BrokenPipeError:
        # What is still buffered would fail again while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        _fail(_file_problem(error.strerror or str(error), error.filename))
    except Exception as error:
        problem = _filesystem_problem(error)
        if problem is not None:
            _fail(_file_problem(problem))
        if type(error).__name__ not in _LOSSES:
            raise
        _fail(
            f"a file is damaged or was removed ({str(error).splitlines()[0]}); see `python -m "
            "pipeline verify`, and run again"
        )


_LOSSES = ("DataLossError", "NotFoundError")
"""Names of TensorFlow's errors for records and checkpoints that cannot be read."""


class _TerminatedError(BaseException):
    """The process was told to end; like KeyboardInterrupt it is no mistake of the program."""


def _terminate(*_: Any) -> NoReturn:
    raise _TerminatedError


def _make_output_safe() -> None:
    """Lets any text be printed: characters that the output cannot encode are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  it lasts as long as this
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str, exit_status: int = 2) -> NoReturn:
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(exit_status)


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


def options_of(
    config: type, only: Sequence[str] | None = None, section: str = OTHER
) -> Callable[[Callable], Callable]:
    """Returns a decorator that adds an option per field of a dataclass to a command.

    The help of each option comes from the docstring of the dataclass. An option that is not given
    is None, or an empty tuple if it may be given several times, so that a preset's value applies.

    Args:
      config: Dataclass whose docstring describes its fields under `Attributes:`.
      only: Names of the fields to add options for; None (the default) for all.
      section: Section of the help. Default: that of all other options.
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
                cls=SectionedOption,
                section=section,
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
