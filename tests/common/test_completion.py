"""Completion in shells: the scripts are sourced, and asked as a shell asks them."""

import shutil
import subprocess
import sys

import pytest
from commands import run_module

ASK_BASH = """
source "$1"
complete -p python
COMP_WORDS=(python "${@:3}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_grid_lstm "$2"
printf '%s\\n' "${COMPREPLY[@]}"
"""
ASK_ZSH = """
autoload -U compinit && compinit -u -D
source "$1"
print $_comps[python]
words=("$2" "${@:3}")
CURRENT=$#words
_describe() { print -l -- $described }
compadd() { print -l -- $plain }
_python() { }
_grid_lstm
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The scripts of the shells, as files."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        printed = run_module("pipeline", "--print_completion", shell)
        assert printed.returncode == 0, printed.stderr
        (folder / shell).write_text(printed.stdout)
    return folder


@pytest.mark.parametrize(
    "line,expected",
    [
        (
            "-m pipeline tra",
            {"trainer", "transform", "translation_trainer", "translation_evaluator"},
        ),
        ("-m pipeline run --learning_", {"--learning_rate"}),
        ("-m pipeline run --learning-", {"--learning_rate"}),
        ("-m pipeline run --preset sh", {"shakespeare"}),
        ("-m serving s", {"sample", "score", "serve"}),
        ("-m experiments run parity --scale ", {"tiny", "small", "full"}),
        ("-m benchmarks.train_step --model ", {"grid", "stacked"}),
        ("-m model ex", {"explain"}),
        ("-m model explain --instruction-", {"--instruction_set"}),
        ("-m model explain --execution wave", {"wavefront"}),
        ("-m model explain --device = acc", {"accelerator"}),
        ("-m model explain --device=acc", {"--device=accelerator"}),
        ("-m http.server -", set()),
        ("script.py pipeline tr", set()),
    ],
)
def test_bash_completes_commands_options_and_values(scripts, line, expected):
    words = line.split(" ")
    found = subprocess.run(
        ["bash", "--norc", "-c", ASK_BASH, "bash", scripts / "bash", sys.executable, *words],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    registered, *completions = found.stdout.splitlines()
    assert "-F _grid_lstm python" in registered
    assert {word for word in completions if word} == expected


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_commands_with_their_help(scripts):
    words = ("-m", "pipeline", "tr")
    found = subprocess.run(
        ["zsh", "-f", "-c", ASK_ZSH, "zsh", scripts / "zsh", sys.executable, *words],
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.stderr == ""
    registered, *described = found.stdout.splitlines()
    assert registered == "_grid_lstm"
    expected = ["trainer", "transform", "translation_evaluator", "translation_trainer"]
    assert [line.partition(":")[0] for line in described] == expected


def test_the_scripts_of_all_programs_are_the_same(scripts):
    for module in ("serving", "benchmarks.suite"):
        printed = run_module(module, "--print_completion", "bash").stdout
        assert printed == (scripts / "bash").read_text()
