"""The equations of an N-dimensional block: its cells, their order and their options."""

import dataclasses

from ..cells.cell import Cell
from ..cells.registry import find_cell
from ..config import OutputEquation, require_integer, require_one_of
from ..errors import InputError
from .mogrifier import mogrifier_targets


@dataclasses.dataclass(frozen=True)
class GridEquations:
    """Says which of the published equations a block of N dimensions computes.

    >>> GridEquations(cells=("lstm", "lstm"), priority=(1,)).computation_order
    ((0,), (1,))

    Attributes:
      cells: The name of the cell of each dimension (see `cells.registry`); the last dimension is
        depth. A plain cell such as "tanh" makes a "non-LSTM dimension" (paper, section 3.2).
      priority: The dimensions that are computed after the others, in this order, each of which sees
        the new hidden vectors of all that were computed before it (paper, section 3.2, "priority
        dimensions").
      output_equation: The equation of h' of an LSTM cell; see `cells.lstm.lstm_forward`.
      layer_normalization: Whether each gate's W H is normalised over its units before gain and
        bias.
      owners: For each dimension the first of those that share its weights, or itself. The weights
        of the others are not used, and the product W H of dimensions that share W and see the same
        H is computed once. Default (), none shares any.
      mogrifier_rounds: The number of rounds in which the hidden vectors that enter a block gate
        each other, depth first; see `grid.mogrifier`. Default 0.
    """

    cells: tuple[str, ...] = ("lstm", "lstm")
    priority: tuple[int, ...] = (1,)
    output_equation: OutputEquation = "o*tanh(m)"
    layer_normalization: bool = False
    owners: tuple[int, ...] = ()
    mogrifier_rounds: int = 0

    def __post_init__(self) -> None:
        if not self.cells:
            raise InputError("cells is empty; name the cell of at least one dimension")
        for name in self.cells:
            find_cell(name)
        require_one_of("output_equation", self.output_equation, OutputEquation)
        for dimension in self.priority:
            if not 0 <= dimension < self.dimensions:
                raise InputError(
                    f"priority names dimension {dimension}; the {self.dimensions} dimensions are "
                    f"counted from 0"
                )
        if len(set(self.priority)) < len(self.priority):
            raise InputError(f"priority is {self.priority}; it must name each dimension once")
        for dimension, owner in enumerate(self.owners):
            if self.owners[owner] != owner or self.cells[owner] != self.cells[dimension]:
                raise InputError(
                    f"owners is {self.owners}; a dimension shares weights with the first of those "
                    f"that have them, and its cell"
                )
        require_integer("mogrifier_rounds", self.mogrifier_rounds, 0)
        shares = any(owner != dimension for dimension, owner in enumerate(self.owners))
        if self.mogrifier_rounds and (self.dimensions == 1 or shares):
            raise InputError(
                f"mogrifier_rounds is {self.mogrifier_rounds}, which takes two or more dimensions "
                f"with weights of their own; leave it out"
            )

    @property
    def dimensions(self) -> int:
        """The number of dimensions N."""
        return len(self.cells)

    @property
    def computation_order(self) -> tuple[tuple[int, ...], ...]:
        """The dimensions in the order of computation; those of one group see the same H."""
        first = tuple(i for i in range(self.dimensions) if i not in self.priority)
        return ((first,) if first else ()) + tuple((i,) for i in self.priority)

    @property
    def mogrifier_targets(self) -> tuple[int, ...]:
        """The dimension whose hidden vector each round of the mogrifier gates."""
        return mogrifier_targets(self.dimensions, self.mogrifier_rounds)

    def cell(self, dimension: int) -> Cell:
        """Returns the cell of a dimension."""
        return find_cell(self.cells[dimension])

    def owner(self, dimension: int) -> int:
        """Returns the dimension whose weights a dimension uses."""
        return self.owners[dimension] if self.owners else dimension

    def gates(self, dimension: int) -> int:
        """Returns the width of the product of a dimension, in multiples of `units`."""
        return self.cell(dimension).gates

    def memory_width(self, dimension: int, units: int) -> int:
        """Returns the width of the memory vectors of a dimension; 0 for a cell without memory."""
        return self.cell(dimension).memory_size * units
