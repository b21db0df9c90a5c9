"""The width at which a net has a given number of parameters, for comparisons at equal size."""

import math
from collections.abc import Callable


def nearest_width(parameters: int, count: Callable[[int], int]) -> int:
    """Returns the width at which a net comes nearest to a number of parameters.

    That number is a polynomial of degree 2 in the width, as matrices have the square of it, so that
    three small nets tell those of all widths.

    >>> nearest_width(1_000, lambda units: 3 * units**2 + 5 * units + 7)
    17

    Args:
      parameters: Number of parameters.
      count: Function that returns the number of parameters of a net of a width.
    """
    first, second, third = (count(units) for units in (1, 2, 3))
    square = (third - 2 * second + first) / 2
    linear = second - first - 3 * square
    constant = first - square - linear

    def counted(units: int) -> float:
        return (square * units + linear) * units + constant

    root = math.sqrt(max(linear**2 - 4 * square * (constant - parameters), 0.0))
    below = max(math.floor((root - linear) / (2 * square)), 1)
    return min((below, below + 1), key=lambda units: abs(counted(units) - parameters))
