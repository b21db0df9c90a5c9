"""What defines a character model: its architecture, and what a character is."""

import dataclasses
from typing import Literal, get_args

from .errors import InputError

Architecture = Literal["grid", "stacked"]
CharacterUnit = Literal["bytes", "unicode"]
OutputEquation = Literal["o*tanh(m)", "tanh(o*m)"]
Transform = Literal["lstm", "tanh", "relu", "identity"]
Tied = Literal["none", "depth", "all"]
Execution = Literal["auto", "reference", "wavefront"]
ComputeType = Literal["auto", "float32", "bfloat16"]
Device = Literal["cpu", "accelerator"]
InstructionSet = Literal["amx", "avx512_bf16", "avx512", "other"]


@dataclasses.dataclass(frozen=True)
class GridEquations:
    """Which of the published equations a block of N dimensions computes.

    Attributes:
      transforms: for each dimension whether it is an LSTM or a plain `a(W H)` (paper, section 3.2,
        "non-LSTM dimensions"); the last dimension is depth.
      priority: dimensions that are computed after the others, in this order, each of which sees the
        new hidden vectors of all that were computed before it (paper, section 3.2, "priority
        dimensions").
      output_equation: how h' is read from the memory; see `transforms.lstm_transform`.
      layer_normalization: whether each gate's W H is normalised over its units before gain and
        bias.
    """

    transforms: tuple[Transform, ...] = ("lstm", "lstm")
    priority: tuple[int, ...] = (1,)
    output_equation: OutputEquation = "o*tanh(m)"
    layer_normalization: bool = False

    def __post_init__(self):
        if not self.transforms:
            raise InputError("transforms is empty; name the transform of at least one dimension")
        for kind in self.transforms:
            require_one_of("transforms", kind, Transform)
        require_one_of("output_equation", self.output_equation, OutputEquation)
        for dimension in self.priority:
            if not 0 <= dimension < self.dimensions:
                raise InputError(
                    f"priority names dimension {dimension}; the {self.dimensions} dimensions are "
                    f"counted from 0"
                )
        if len(set(self.priority)) < len(self.priority):
            raise InputError(f"priority is {self.priority}; it must name each dimension once")

    @property
    def dimensions(self) -> int:
        """N."""
        return len(self.transforms)

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The dimensions in the order of computation; those of one stage see the same H."""
        first = tuple(i for i in range(self.dimensions) if i not in self.priority)
        return ((first,) if first else ()) + tuple((i,) for i in self.priority)

    def gates(self, dimension: int) -> int:
        """How many times `units` wide the product of a dimension is."""
        return 4 if self.transforms[dimension] == "lstm" else 1


def require_one_of(name: str, value: object, choices: object) -> None:
    """Raises an InputError unless the value is one of a `Literal` type's."""
    choices = get_args(choices)
    if value not in choices:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def require_range(name: str, value: float, least: float, below: float) -> None:
    """Raises an InputError unless least <= value < below."""
    if not least <= value < below:
        raise InputError(f"{name} is {value}; it must be at least {least} and below {below}")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture of a character model; the weights' shapes follow from it.

    Attributes:
      architecture: "grid" for a 2-D Grid LSTM, "stacked" for a stacked LSTM.
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

    architecture: Architecture = "grid"
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
        require_range("dropout", self.dropout, 0, 1)
        if self.init_scale < 0:
            raise InputError(f"init_scale is {self.init_scale}; it must not be negative")

    @property
    def equations(self) -> GridEquations:
        """The block's equations, for the pure functions."""
        return GridEquations(
            priority=(1,) if self.depth_priority else (), output_equation=self.output_equation
        )
