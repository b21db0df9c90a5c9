"""Every command line: its help needs nothing heavy, and its example is valid."""

import argparse
import importlib
import shlex
import subprocess
import sys

import click
import click.testing
import pytest
from conftest import PROJECT

from common import progress
from common.code_version import PACKAGES
from common.commands import Command, Group
from model import __version__

HEAVY = {"apache_beam", "grpc", "jax", "keras", "matplotlib", "tensorflow", "torch"}
SHOW_HELP = f"""
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
assert not (found := {HEAVY} & set(sys.modules)), found
"""


def programs():
    """The modules that are run with `python -m`, each with its command or parser."""
    found = {}
    for folder in (*PACKAGES, "docs"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            if '\nif __name__ == "__main__":\n' not in path.read_text():
                continue
            name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            module = importlib.import_module(name)
            found[name.removesuffix(".__main__")] = (
                module.parser()
                if hasattr(module, "parser")
                else getattr(module, "commands", None) or module.main
            )
    return found


def subcommands(program):
    """The commands of a program by name; those of a parser are parsers."""
    if isinstance(program, click.Group):
        return program.commands
    found = {}
    for action in getattr(program, "_actions", ()):
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def parse(command, arguments, parent=None):
    """Parses a command line, and runs nothing."""
    if isinstance(command, argparse.ArgumentParser):
        command.parse_args(arguments)
        return
    with command.make_context(command.name, arguments, parent=parent) as context:
        assert all(one.startswith("--") for one in context.params.get("beam_options", ()))
        if isinstance(command, click.Group):
            words = [*context._protected_args, *context.args]
            _, chosen, rest = command.resolve_command(context, words)
            parse(chosen, rest, context)


PROGRAMS = programs()
COMMANDS = [
    (module, words)
    for module, program in PROGRAMS.items()
    for words in ([], *([name] for name in subcommands(program)))
]
OF_CLICK = {name: one for name, one in PROGRAMS.items() if isinstance(one, click.Command)}


def test_all_programs_are_found():
    assert {"pipeline", "serving", "experiments", "model", "benchmarks.suite"} <= set(PROGRAMS)
    assert ("pipeline", ["trainer"]) in COMMANDS and ("model", ["explain"]) in COMMANDS


@pytest.mark.parametrize("module,words", COMMANDS, ids=lambda value: "".join(value))
def test_help_is_quick_and_ends_with_a_valid_example(module, words, tmp_path, monkeypatch):
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, module, *words, "--help"],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, "")
    *_, heading, example = shown.stdout.rstrip().splitlines()
    assert heading.lower() == "example:"
    python, m, name, *arguments = shlex.split(example.partition("| ")[2] or example)
    assert (python, m, name) == ("python", "-m", module)
    assert arguments[: len(words)] == words
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()  # what some of the examples read
    (tmp_path / "exported").mkdir()
    monkeypatch.setattr(progress.console, "quiet", False)
    parse(PROGRAMS[module], arguments)


@pytest.mark.parametrize("module", OF_CLICK)
def test_every_program_says_its_version(module):
    printed = click.testing.CliRunner().invoke(OF_CLICK[module], ["--version"])
    assert (printed.exit_code, printed.output) == (0, f"grid-lstm {__version__}\n")


def test_every_command_can_be_quiet_or_verbose():
    for module, program in OF_CLICK.items():
        assert isinstance(program, Command | Group), module
        for name, command in (subcommands(program) or {module: program}).items():
            letters = {letter for option in command.params for letter in option.opts}
            assert {"-q", "-v"} <= letters or name == "serve", f"{module} {name}"


def test_quiet_commands_print_their_results(tmp_path):
    runner = click.testing.CliRunner()
    listed = runner.invoke(OF_CLICK["experiments"], ["list", "-q", "--json", "--root", tmp_path])
    assert listed.exit_code == 0 and '"parity"' in listed.output
