"""Which dimensions of a grid share their weights."""

from collections.abc import Sequence

from ..config import Tied
from ..errors import InputError


def require_groups(groups: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Checks that the argument `tied_dimensions` has groups of dimensions, and returns them.

    Args:
      groups: The argument.

    Raises:
      InputError: If it has not.
    """
    if not all(isinstance(group, list | tuple) for group in groups):
        raise InputError(
            f"tied_dimensions is {tuple(groups)}; it must have groups of dimensions, such as "
            f"((0, 1),)"
        )
    return tuple(tuple(map(int, group)) for group in groups)


def weight_owners(
    groups: Sequence[Sequence[int]], cells: Sequence[str], tied: Tied = "none"
) -> tuple[int, ...]:
    """Returns, for each dimension, the dimension whose weights it uses: the first of its group.

    >>> weight_owners([(0, 1)], cells=("lstm", "lstm", "identity"))
    (0, 0, 2)

    Args:
      groups: The groups of dimensions that share their weights, counted from 0, or from the end
        if negative.
      cells: The name of the cell of each dimension.
      tied: Which weights the layers share; see `grid_layer.GridLayer`. Default "none".

    Raises:
      InputError: If a group names a dimension that does not exist, or that is in another group; if
        its dimensions have different cells; or if layers share the weights of one of its dimensions
        and not of another.
    """
    count = len(cells)
    owners = list(range(count))
    grouped: set[int] = set()
    for group in groups:
        for one in group:
            if not -count <= one < count:
                raise InputError(
                    f"tied_dimensions names dimension {one}; the grid has {count}, counted from 0"
                )
        members = sorted({one % count for one in group})
        if len(members) < 2:
            raise InputError(
                f"tied_dimensions has the group {tuple(group)}, which names one dimension of "
                f"{count}; a group needs two"
            )
        if grouped & set(members):
            raise InputError(
                f"tied_dimensions is {tuple(groups)}; a dimension must not be in two groups"
            )
        grouped.update(members)
        names = sorted({cells[one] for one in members})
        if len(names) > 1:
            raise InputError(
                f"tied_dimensions ties the cells {', '.join(names)}; dimensions that share their "
                f"weights need the same cell"
            )
        if tied == "depth" and count - 1 in members:
            raise InputError(
                "tied_dimensions ties depth to another dimension, and tied='depth' only the "
                "layers of depth; use tied='all' or tied='none'"
            )
        for one in members:
            owners[one] = members[0]
    return tuple(owners)
