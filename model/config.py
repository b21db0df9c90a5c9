"""What defines a character model: its architecture, and what a character is."""

import dataclasses
from typing import Literal

from model.errors import InputError

AlphabetKind = Literal["bytes", "unicode"]
OutputEquation = Literal["o*tanh(m)", "tanh(o*m)"]


@dataclasses.dataclass(frozen=True)
class GridEquations:
    """Which of the published equations a block computes.

    Attributes:
      depth_priority: the depth LSTM is computed last and sees the new hidden vector of the time
        LSTM (paper, section 3.2, "priority dimensions").
      output_equation: how h' is read from the memory; see `lstm_transform`.
    """

    depth_priority: bool = True
    output_equation: OutputEquation = "o*tanh(m)"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture of a character model; the weights' shapes follow from it.

    Attributes:
      kind: "grid" for a 2-D Grid LSTM, "stacked" for a stacked LSTM.
      layers: cells along depth.
      units: width of each hidden and memory vector.
      tied: which LSTMs the layers of a grid share: none, the depth one (as the Torch7 code does),
        or both (as the paper does when it says "tied").
      depth_priority: whether the depth LSTM of a block sees the new hidden vector of the time LSTM.
      output_equation: how a grid reads h' from the memory.
      input_memory: whether characters are projected into a grid's memory, too, at the bottom.
      dropout: rate on the non-recurrent connections: between layers and before the output.
      forget_bias: initial bias of the forget gates.
      init_scale: kernels and embeddings start uniform in ±init_scale; 0 means ±1/sqrt(units) for
        the kernels and ±1 for the embedding.
    """

    kind: Literal["grid", "stacked"] = "grid"
    layers: int = 2
    units: int = 128
    tied: Literal["none", "depth", "all"] = "none"
    depth_priority: bool = True
    output_equation: OutputEquation = "o*tanh(m)"
    input_memory: bool = True
    dropout: float = 0.0
    forget_bias: float = 1.0
    init_scale: float = 0.0

    def __post_init__(self):
        for name in ("layers", "units"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if self.init_scale < 0:
            raise InputError(f"init_scale is {self.init_scale}; it must not be negative")

    @property
    def equations(self) -> GridEquations:
        """The block's equations, for the pure functions."""
        return GridEquations(self.depth_priority, self.output_equation)
