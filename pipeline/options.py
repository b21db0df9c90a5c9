"""The options of the pipeline's commands, as decorators; most are fields of the settings."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from common import command_line
from model.errors import InputError
from pipeline.preset_files import describe_preset, load_preset, preset_names, to_toml, to_toml_value
from pipeline.settings import DEFAULTS, DataConfig, RunConfig, Settings
from pipeline.stages.graph import CORPUS_OPTIONS, Stage

DEFAULT_ROOT = "runs"
DEFAULT_PRESET = "demo"

Command = Callable[..., Any]

_SECTIONS = {config: section for section, config in Settings.__annotations__.items()}
_RUN_OPTIONS = tuple(field.name for field in dataclasses.fields(RunConfig))
_OTHERS = {
    "serving_dir": "Directory that models are pushed to. Default: `serving` under the root.",
    "init_from": "Trainer artifact, or the pointer `latest` beside it, whose weights to start "
    "from; those of characters that it lacks start afresh. Default: random weights.",
    "devices": "Comma-separated devices, such as gpu:0,gpu:1. Default: all GPUs, or the CPU.",
}
"""Options that are no settings, as they depend on the machine."""


def root(command: Command) -> Command:
    """Adds --root, the directory of all artifacts."""
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all artifacts."
    )(command)


def context_of(
    options: Iterable[type | str],
    takes_corpus: bool | None,
    every_worker: bool = False,
    lock: bool = True,
) -> Callable[[Command], Command]:
    """Gives a command the context that its options describe, as its first argument.

    Args:
      options: Dataclasses of settings, and names of single options; as in `Stage.options`.
      takes_corpus: Whether the command reads a corpus itself; None if it does where one is given.
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

            print_config, dry_run = given.pop("print_config", False), given.get("dry_run", False)
            is_chief = _require_chief(every_worker or not lock)
            others = {name: given.pop(name) for name in _OTHERS if name in given}
            others["devices"] = tuple(filter(None, others.pop("devices", "").split(",")))
            beam_options = given.pop("beam_options", ())
            extra = {name: given.pop(name) for name in [*given] if not _is_setting(name)}
            settings = _settings(preset, given)
            reads = bool(given.get("corpus")) if takes_corpus is None else takes_corpus
            if not reads and takes_corpus is None:
                _require_no_options_of_a_corpus(given)
            if print_config:
                click.echo(to_toml(settings), nl=False)
                return None
            context = RunContext(
                store=Store(root, report, is_chief),
                settings=settings,
                takes_corpus=reads,
                beam_options=tuple(beam_options),
                **others,
            )
            if not lock or dry_run:
                return command(context, **extra)
            if reads:
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


def _require_no_options_of_a_corpus(given: Mapping[str, Any]) -> None:
    """Checks that none of the options that say how a corpus is read is given."""
    of_corpus = {field.name for field in dataclasses.fields(DataConfig)}
    of_corpus |= {option for option in CORPUS_OPTIONS if isinstance(option, str)}
    for name, value in given.items():
        if name in of_corpus and value not in (None, (), ""):
            raise InputError(
                f"--{name} says how a corpus is read, and none is given; add --corpus, or leave "
                f"--{name} out to read the newest examples"
            )


def values_in_force(given: Mapping[str, Any]) -> dict[str, str]:
    """Returns the value that each option has if it is not given, and where that is from."""
    preset = given.get("preset") or DEFAULT_PRESET
    shown = {}
    for section, default in zip(load_preset(preset), DEFAULTS, strict=True):
        for name, value in vars(section).items():
            source = f"preset {preset}" if value != getattr(default, name) else "default"
            if value not in (None, "", ()):
                shown[name] = f"{to_toml_value(value)}, {source}"
    return shown


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
        overrides.setdefault("mixture_weights", ())  # those of a preset are for its own corpora
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
            "stages than the trainers"
        )
    return worker.is_chief


def _preset(command: Command) -> Command:
    command = click.option(
        "--print_config", is_flag=True, help="Print the settings in force as a preset, and end."
    )(command)
    described = "; ".join(f"{name}: {describe_preset(name)}" for name in preset_names())
    return click.option(
        "--preset",
        default=DEFAULT_PRESET,
        show_default=True,
        is_eager=True,  # before --help, which shows its values
        shell_complete=_complete_preset,
        help=f"Name of a preset, or a .toml file. {described}",
    )(command)


def _complete_preset(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Returns the names of presets, or that a file is meant."""
    names = [name for name in preset_names() if name.startswith(begun)]
    return [CompletionItem(name) for name in names] or [CompletionItem(begun, type="file")]


def _add(option: type | str, command: Command) -> Command:
    """Adds an option, or the options of a dataclass, to a command."""
    if isinstance(option, type):
        section = _SECTIONS[option]
        return command_line.options_of(option, section=f"Settings [{section}]")(command)
    if option in _OTHERS:
        return click.option(f"--{option}", default="", help=_OTHERS[option])(command)
    if option == "beam_options":
        return click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)(command)
    return command_line.options_of(RunConfig, (option,), "Settings [run]")(command)
