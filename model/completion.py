"""Completion of `python -m model ...` in the shells that source the project's script.

The package needs no more than TensorFlow and Keras, so that its command line is not one of Click,
which answers the script for all other commands (`common/completion.py` has the script).
"""

import argparse
import os
from collections.abc import Sequence

VARIABLE = "_GRID_LSTM_COMPLETE"
"""Variable by which the script asks for completions, with the name of the shell."""


def answer(parser: argparse.ArgumentParser) -> bool:
    """Prints the completions that the script asks for, and returns whether it asks.

    Args:
      parser: Parser of the command line.
    """
    shell = os.environ.get(VARIABLE)
    if shell not in ("bash_complete", "zsh_complete"):
        return False
    words = os.environ.get("COMP_WORDS", "").split()
    place = int(os.environ.get("COMP_CWORD", len(words)))
    # bash takes "=" for a word of its own, zsh for a part of the option.
    before = [word for word in words[3:place] if word != "="]
    incomplete = "".join(words[place : place + 1])
    option, equals, value = incomplete.rpartition("=")
    if option:
        before, incomplete = [*before, option], value
    for word in completions(parser, before, incomplete.lstrip("=")):
        word = f"{option}{equals}{word}" if option else word
        print(f"plain,{word}" if shell == "bash_complete" else f"plain\n{word}\n_")
    return True


def completions(
    parser: argparse.ArgumentParser, words: Sequence[str], incomplete: str
) -> list[str]:
    """Returns what a word may become: names of commands and options, or values of an option.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument("--device", choices=("cpu", "gpu"))
    >>> completions(parser, [], "--d"), completions(parser, ["--device"], "")
    (['--device'], ['cpu', 'gpu'])

    Args:
      parser: Parser of the command line.
      words: The words before it, without the name of the program.
      incomplete: Beginning of the word.
    """
    last: argparse.Action | None = None
    for word in words:
        if last is None and (command := _commands(parser).get(word)):
            parser = command
            continue
        option = parser._option_string_actions.get(_with_underscores(word))
        last = option if option and option.nargs != 0 else None
    if last:
        candidates = list(last.choices or ())
    elif incomplete.startswith("-"):
        incomplete = _with_underscores(incomplete if incomplete != "-" else "--")
        candidates = [name for name in parser._option_string_actions if name.startswith("--")]
    else:
        candidates = list(_commands(parser))
    return [word for word in candidates if word.startswith(incomplete)]


def _with_underscores(option: str) -> str:
    """Returns the name of an option, which people also spell with dashes."""
    return "--" + option[2:].replace("-", "_") if option.startswith("--") else option


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of the commands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
