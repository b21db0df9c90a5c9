"""The exception that stands for a mistake of the user, and the remedy of a mistyped name."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """An argument, option or file of the user cannot be used.

    The message is one line that names the problem and the remedy. Command lines print it after
    `error: ` and exit; any other exception is a fault of the program.

    Attributes:
      exit_status: The status with which a command line exits. Default 2.
    """

    exit_status = 2


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a remedy for a name that does not exist: the nearest one, or all there are.

    >>> nearest("grid_lsm", ["grid_lstm", "lstm"])
    '; did you mean grid_lstm?'

    Args:
      name: The name that does not exist.
      names: The names that do.
    """
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
