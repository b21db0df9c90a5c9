"""The cells by name. A new cell is a file of its own and an entry here."""

from ..errors import InputError
from .cell import Cell
from .lstm import LSTM
from .plain import IDENTITY, RELU, TANH

CELLS: dict[str, Cell] = {cell.name: cell for cell in (LSTM, TANH, RELU, IDENTITY)}


def find_cell(name: str) -> Cell:
    """Returns the cell of a name.

    >>> find_cell("lstm").gates
    4

    Args:
      name: The name of a registered cell, such as "lstm" or "tanh".

    Raises:
      InputError: If there is no such cell; the message lists those that there are.
    """
    if name not in CELLS:
        raise InputError(f"cell is {name!r}; it must be one of {', '.join(map(repr, CELLS))}")
    return CELLS[name]
