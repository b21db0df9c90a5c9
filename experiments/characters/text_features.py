"""Features of text that a reader of code or prose keeps track of, as numbers per character.

After Karpathy, Johnson, Fei-Fei, "Visualizing and Understanding Recurrent Networks", arXiv
1506.02078, section 4.2. Each feature is a function of the text up to and including the character.
"""

from collections.abc import Callable

import numpy as np

OPENING, CLOSING = b"([{", b")]}"


def in_quotes(text: bytes) -> np.ndarray:
    """Returns 1 between double quotes, from the opening one on, and 0 elsewhere.

    A line feed closes a quote.
    """
    inside, values = False, []
    for code in text:
        if code == ord('"'):
            inside = not inside
        elif code == ord("\n"):
            inside = False
        values.append(inside)
    return np.array(values, np.float64)


def bracket_depth(text: bytes) -> np.ndarray:
    """Returns the number of open round, square and curly brackets."""
    depth, values = 0, []
    for code in text:
        if code in OPENING:
            depth += 1
        elif code in CLOSING:
            depth = max(depth - 1, 0)
        values.append(depth)
    return np.array(values, np.float64)


def line_position(text: bytes) -> np.ndarray:
    """Returns the number of characters since the last line feed."""
    position, values = 0, []
    for code in text:
        position = 0 if code == ord("\n") else position + 1
        values.append(position)
    return np.array(values, np.float64)


def indentation(text: bytes) -> np.ndarray:
    """Returns the number of spaces at the beginning of the line."""
    spaces, beginning, values = 0, True, []
    for code in text:
        if code == ord("\n"):
            spaces, beginning = 0, True
        elif beginning and code == ord(" "):
            spaces += 1
        else:
            beginning = False
        values.append(spaces)
    return np.array(values, np.float64)


FEATURES: dict[str, Callable[[bytes], np.ndarray]] = {
    "in quotes": in_quotes,
    "open brackets": bracket_depth,
    "position in the line": line_position,
    "indentation": indentation,
}
