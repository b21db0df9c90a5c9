"""What the command lines of this project have in common: one-line errors, and typed options."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import click
import docstring_parser

from common.errors import UserError
from model.errors import InputError

# TensorFlow's and Beam's notices of what they did not find are no news to the users of a command
# line. This is read when TensorFlow is imported, which the commands do when they run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
logging.disable(logging.WARNING)
logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # it raises what it logs

CONTEXT = {
    # Options are spelled as TensorFlow's own tools spell them; dashes are accepted, too.
    "token_normalize_func": lambda token: token.replace("-", "_"),
    "help_option_names": ["--help", "-h"],
    "max_content_width": 100,
}


class Command(click.Command):
    """A command that uses TensorFlow, which is imported when it runs and not for its help."""

    def invoke(self, ctx):
        import_tensorflow()
        return super().invoke(ctx)


class Commands(click.Group):
    """A group of such commands."""

    command_class = Command


def import_tensorflow():
    """Imports TensorFlow without the notices it writes before it can be told not to.

    Nor is Keras to find what it would wrap: that takes a quarter of the time.
    """
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere, _missing("matplotlib", "sklearn"):
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
            import tensorflow_text  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _missing(*modules):
    """Lets the modules not be found that are not imported yet."""
    hidden = [module for module in modules if module not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]


def main(command: click.Command) -> NoReturn:
    """Runs a command line and exits.

    A user's mistake, whether in the arguments or in what they name, ends in one line on standard
    error and exit status 2; so does a filesystem that is full or refuses to be written.
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
        click.echo("interrupted; the same command goes on from here", err=True)
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


def _file_problem(problem, path=None):
    where = f"{path}: " if path else ""
    full = "no space left" in problem.lower()
    remedy = "free some, or choose another --root" if full else "check the path and its permissions"
    return f"{where}{problem}; {remedy}"


def _filesystem_problem(error):
    """What TensorFlow or Beam, which wrap such errors in their own, say of the filesystem."""
    for line in reversed(str(error).splitlines()):
        lowered = line.lower()
        for problem in ("No space left on device", "Permission denied", "Read-only file system"):
            if problem.lower() in lowered:
                return problem
    return None


def options_of(config: type) -> Callable[[Callable], Callable]:
    """Options for the fields of a dataclass, with their help from its docstring.

    An option that is not given is None, so that a preset's value can stand.
    """
    documentation = docstring_parser.parse(config.__doc__ or "")
    helps = {parameter.arg_name: parameter.description for parameter in documentation.params}
    hints = get_type_hints(config)

    def decorate(command: Callable) -> Callable:
        for field in reversed(dataclasses.fields(config)):
            command = click.option(
                _declaration(field.name, hints[field.name]),
                type=_parameter_type(hints[field.name]),
                default=None,
                help=" ".join((helps.get(field.name) or "").split()),
            )(command)
        return command

    return decorate


def _declaration(name, hint):
    return f"--{name}/--no_{name}" if hint is bool else f"--{name}"


def _parameter_type(hint: Any) -> click.ParamType | type:
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return hint
