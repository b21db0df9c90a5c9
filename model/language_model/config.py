"""The configuration of a character model, and the registry of recurrent cores.

Importing this module does not import TensorFlow: the layers are imported when a core is made.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ..config import OutputEquation, Tied, require_integer, require_range
from ..errors import InputError

if TYPE_CHECKING:
    from ..core import RecurrentCore

Architecture = Literal["grid", "stacked"]
"""The names of the recurrent cores, those of `CORES`."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture of a character model; the shapes of its weights follow from it.

    >>> ModelConfig(layers=2, units=128).tied
    'none'

    Attributes:
      architecture: The recurrent core: "grid" for a 2-D Grid LSTM, "stacked" for a stacked LSTM.
      layers: Number of layers stacked along depth.
      units: Width of each hidden and memory vector.
      tied: Which weights the layers of a grid share: "none", those of the "depth" LSTM (as the
        Torch7 code does), or "all" (as the paper does when it says "tied").
      depth_priority: Whether the depth LSTM of a grid sees the new hidden vector of the time LSTM.
      output_equation: Equation of the hidden vector of a grid's LSTM.
      input_memory: Whether characters enter the memory of a grid at the bottom, besides the hidden
        vector.
      dropout: Dropout rate between the layers and before the output.
      forget_bias: Initial bias of the forget gates.
      init_scale: Bound of the uniform initial kernels and embeddings; 0 for 1/sqrt(units) for the
        kernels and 1 for the embedding.
    """

    architecture: Architecture = "grid"
    layers: int = 2
    units: int = 128
    tied: Tied = "none"
    depth_priority: bool = True
    output_equation: OutputEquation = "o*tanh(m)"
    input_memory: bool = True
    dropout: float = 0.0
    forget_bias: float = 1.0
    init_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.architecture not in CORES:
            raise InputError(
                f"architecture is {self.architecture!r}; it must be one of "
                f"{', '.join(map(repr, CORES))}"
            )
        require_integer("layers", self.layers, 1)
        require_integer("units", self.units, 1)
        require_range("dropout", self.dropout, 0, 1)
        if self.init_scale < 0:
            raise InputError(f"init_scale is {self.init_scale}; it must not be negative")

    @property
    def kernel_scale(self) -> float:
        """The bound of the uniform initial kernels."""
        return self.init_scale or self.units**-0.5


def _grid_core(config: ModelConfig, dtype_policy: str) -> "RecurrentCore":
    import keras

    from ..layers.grid_lstm import GridLSTM

    scale = config.kernel_scale
    return GridLSTM(
        config.units,
        config.layers,
        priority=(1,) if config.depth_priority else (),
        tied=config.tied,
        output_equation=config.output_equation,
        input_memory=config.input_memory,
        project_inputs=False,
        recurrent_initializer=keras.initializers.RandomUniform(-scale, scale),
        forget_bias=config.forget_bias,
        dropout=config.dropout,
        dtype=dtype_policy,
        name=config.architecture,
    )


def _stacked_core(config: ModelConfig, dtype_policy: str) -> "RecurrentCore":
    import keras

    from ..layers.stacked_lstm import StackedLSTM

    scale = config.kernel_scale
    return StackedLSTM(
        config.units,
        config.layers,
        kernel_initializer=keras.initializers.RandomUniform(-scale, scale),
        forget_bias=config.forget_bias,
        dropout=config.dropout,
        dtype=dtype_policy,
        name=config.architecture,
    )


CORES: dict[str, Callable[[ModelConfig, str], "RecurrentCore"]] = {
    "grid": _grid_core,
    "stacked": _stacked_core,
}
"""The functions that make a recurrent core from its configuration and a Keras dtype policy."""


def make_core(config: ModelConfig, dtype_policy: str) -> "RecurrentCore":
    """Returns the recurrent core that a configuration describes, without variables yet.

    Args:
      config: The configuration.
      dtype_policy: The name of a Keras dtype policy, such as "float32" or "mixed_bfloat16".
    """
    return CORES[config.architecture](config, dtype_policy)
