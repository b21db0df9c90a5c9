"""The cells by name. A new cell is a file of its own and an entry here.

Importing this module does not import TensorFlow, so that the names can be checked without it.
"""

import functools
from typing import TYPE_CHECKING

from ..errors import InputError, nearest

if TYPE_CHECKING:
    from .cell import Cell

MEMORY_CELLS = (
    "lstm",
    "lstm_peephole",
    "lstm_no_input_gate",
    "lstm_no_forget_gate",
    "lstm_no_output_gate",
    "lstm_no_input_activation",
    "lstm_no_output_activation",
    "lstm_coupled_gates",
    "lstm_full_gate_recurrence",
    "gru",
)
"""The names of the cells with a memory."""

PLAIN_CELLS = ("tanh", "relu", "identity")
"""The names of the cells without a memory."""


@functools.cache
def registered_cells() -> "dict[str, Cell]":
    """Returns the records of all cells by their names."""
    from .gru import GRU
    from .lstm import LSTM
    from .lstm_variants import LSTM_VARIANTS
    from .plain import IDENTITY, RELU, TANH

    cells = (LSTM, *LSTM_VARIANTS, GRU, TANH, RELU, IDENTITY)
    return {cell.name: cell for cell in cells}


def find_cell(name: str) -> "Cell":
    """Returns the cell of a name.

    >>> find_cell("lstm").gates
    4

    Args:
      name: The name of a registered cell, such as "lstm" or "tanh".

    Raises:
      InputError: If there is no such cell; the message names the nearest, or lists all.
    """
    cells = registered_cells()
    if name not in cells:
        raise InputError(f"there is no cell {name!r}{nearest(name, cells)}")
    return cells[name]
