"""The options of the pipeline's commands, as decorators; most are fields of the settings."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import click

from common import command_line
from pipeline.settings import RunConfig, Settings, load_preset, preset_names
from pipeline.stages.graph import Stage

DEFAULT_ROOT = "runs"
DEFAULT_PRESET = "demo"

Command = Callable[..., Any]

_RUN_OPTIONS = tuple(field.name for field in dataclasses.fields(RunConfig))
_OTHERS = {
    "serving_dir": "Directory that models are pushed to. Default: `serving` under the root.",
    "init_from": "Trainer artifact whose weights to start from. Default: random weights.",
    "devices": "Comma-separated devices, such as gpu:0,gpu:1. Default: all GPUs, or the CPU.",
}
"""Options that are no settings, as they depend on the machine."""


def root(command: Command) -> Command:
    """Adds --root, the directory of all artifacts."""
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all artifacts."
    )(command)


def context_of(
    options: Iterable[type | str], takes_corpus: bool, every_worker: bool = False, lock: bool = True
) -> Callable[[Command], Command]:
    """Gives a command the context that its options describe, as its first argument.

    Args:
      options: Dataclasses of settings, and names of single options; as in `Stage.options`.
      takes_corpus: Whether the command reads a corpus itself.
      every_worker: Whether all workers of a cluster run the command, and not only the chief.
      lock: Whether the command writes the root, and so locks it.
    """
    options = _ordered(options)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def in_context(root: str, preset: str = DEFAULT_PRESET, **given: Any) -> Any:
            from pipeline.reports.report import report
            from pipeline.stages.context import RunContext
            from pipeline.store.artifacts import Store

            is_chief = _require_chief(every_worker or not lock)
            others = {name: given.pop(name) for name in _OTHERS if name in given}
            others["devices"] = tuple(filter(None, others.pop("devices", "").split(",")))
            beam_options = given.pop("beam_options", ())
            extra = {name: given.pop(name) for name in [*given] if not _is_setting(name)}
            context = RunContext(
                store=Store(root, report, is_chief),
                settings=_settings(preset, given),
                takes_corpus=takes_corpus,
                beam_options=tuple(beam_options),
                **others,
            )
            if not lock:
                return command(context, **extra)
            if takes_corpus:
                _ = context.text  # a mistake is reported before the root is created
            with context.store.writing():
                return command(context, **extra)

        wrapper: Command = in_context
        for option in reversed(options):
            wrapper = _add(option, wrapper)
        if any(option not in _OTHERS and option != "beam_options" for option in options):
            wrapper = _preset(wrapper)
        return root(wrapper)

    return decorate


def all_options(stages: Iterable[Stage]) -> list[type | str]:
    """Returns the options of a command that runs several stages."""
    return _ordered([*_RUN_OPTIONS, *(option for stage in stages for option in stage.options)])


def _ordered(options: Iterable[type | str]) -> list[type | str]:
    """Returns options without repetitions, the arguments for Beam last."""
    return sorted(dict.fromkeys(options), key=lambda option: option == "beam_options")


def _is_setting(name: str) -> bool:
    return any(name in config.__dataclass_fields__ for config in Settings.__annotations__.values())


def _settings(preset: str, given: dict[str, Any]) -> Settings:
    """Reads a preset; options that are given take precedence over it."""
    # An option that may be given several times is an empty tuple if it is not given.
    overrides = {name: value for name, value in given.items() if value not in (None, ())}
    if "corpus" in overrides:
        overrides.setdefault("weights", ())  # those of a preset are for its own corpora
    return load_preset(preset, overrides)


def _require_chief(every_worker: bool) -> bool:
    """Returns whether this worker is the chief.

    Raises:
      InputError: If it is not, and the command is for the chief alone.
    """
    from model.errors import InputError
    from pipeline.training.workers import this_worker

    worker = this_worker()
    if not (worker.is_chief or every_worker):
        raise InputError(
            f"this is worker {worker.index} of a training, and only its first one runs other "
            "stages than trainer"
        )
    return worker.is_chief


def _preset(command: Command) -> Command:
    return click.option(
        "--preset",
        default=DEFAULT_PRESET,
        show_default=True,
        help=f"One of {', '.join(preset_names())}, or a .toml file.",
    )(command)


def _add(option: type | str, command: Command) -> Command:
    """Adds an option, or the options of a dataclass, to a command."""
    if isinstance(option, type):
        return command_line.options_of(option)(command)
    if option in _OTHERS:
        return click.option(f"--{option}", default="", help=_OTHERS[option])(command)
    if option == "beam_options":
        return click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)(command)
    return command_line.options_of(RunConfig, only=(option,))(command)
