"""The directions in which a grid reads the dimensions of its inputs."""

from collections.abc import Sequence

from ..errors import InputError


def require_directions(directions: str | Sequence[str]) -> str | tuple[str, ...]:
    """Checks that directions are words that exist, and returns them as a configuration holds them.

    Args:
      directions: "forward" or "backward" for all dimensions, or such a word for each.

    Raises:
      InputError: If a word is neither.
    """
    for one in [directions] if isinstance(directions, str) else directions:
        if one not in ("forward", "backward"):
            raise InputError(f"directions names {one!r}; it must be 'forward' or 'backward'")
    return directions if isinstance(directions, str) else tuple(directions)


def backward_dimensions(directions: str | Sequence[str], count: int) -> list[int]:
    """Returns the dimensions that are read backward.

    Args:
      directions: The directions as `require_directions` returned them.
      count: The number of dimensions besides depth.

    Raises:
      InputError: If the directions are of another number of dimensions.
    """
    words = (directions,) * count if isinstance(directions, str) else directions
    if len(words) != count:
        raise InputError(
            f"directions names {len(words)} dimensions; the grid has {count} besides depth"
        )
    return [dimension for dimension, word in enumerate(words) if word == "backward"]
