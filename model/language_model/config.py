"""The configuration of a character model, and the registry of recurrent cores.

Importing this module does not import TensorFlow: the layers are imported when a core is made.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..cells.registry import MEMORY_CELLS, PLAIN_CELLS
from ..config import Connection, OutputEquation, Tied, require_integer, require_range
from ..contexts.registry import check_contexts
from ..errors import InputError, nearest

if TYPE_CHECKING:
    from ..core import RecurrentCore

Architecture = Literal["grid", "stacked", "residual_lstm", "highway_lstm", "rhn"]
"""The names of the recurrent cores, those of `CORES`."""


GRID_OPTIONS = (
    "tied",
    "depth_priority",
    "output_equation",
    "input_memory",
    "layer_normalization",
    "mogrifier_rounds",
)
"""Options that no other architecture has."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture of a character model; the shapes of its weights follow from it.

    >>> ModelConfig(layers=2, units=128).tied
    'none'

    Attributes:
      architecture: The recurrent core: "grid" for a 2-D Grid LSTM, "stacked" for a stacked LSTM,
        "residual_lstm" for one whose layers add what they receive to their outputs, "highway_lstm"
        for one with gates between the memories of layers, "rhn" for a recurrent highway network.
      cells: Name of the cell in place of the LSTM, such as "lstm_peephole", "lstm_coupled_gates" or
        "gru"; for a grid also two, of time and of depth. Depth may have a cell without memory, such
        as "tanh". Default "lstm".
      layers: Number of layers stacked along depth; of a recurrent highway network the number of
        micro-layers of a step.
      units: Width of each hidden and memory vector.
      tied: Which weights the layers of a grid share: "none", those of the "depth" LSTM (as the
        Torch7 code does), or "all" (as the paper does when it says "tied").
      depth_priority: Whether the depth LSTM of a grid sees the new hidden vector of the time LSTM.
      output_equation: Equation of the hidden vector of a grid's LSTM; other cells have their own.
      input_memory: Whether characters enter the memory of a grid at the bottom, besides the hidden
        vector.
      dropout: Dropout rate between the layers and before the output; of a recurrent highway network
        that of its state, with one mask per window, and before the output.
      weight_dropout: Dropout rate of the kernels of the core, with one mask per window
        (DropConnect, as in the AWD-LSTM).
      forget_bias: Initial bias of the forget gates, of the cells that have one.
      transform_bias: Initial bias of the transform gates of a recurrent highway network.
      init_scale: Bound of the uniform initial kernels and embeddings; 0 for 1/sqrt(units) for the
        kernels and 1 for the embedding.
      contexts: Names of what the model is told besides the last character: "output" for output
        kernels of the most frequent last one or two characters, "word" for a slow net over words,
        "ngrams" for embeddings of the last n-grams, "latent" for a vector that is given from
        outside, "sentence_input" for the sentence before and others of `contexts.registry`; with
        its size after a colon, such as "word:64". Default: none.
      tied_embeddings: Whether the output kernel is the transposed embedding of the characters
        (Press and Wolf, arXiv 1608.05859).
      layer_normalization: Whether each gate of a grid is normalised over its units before gain and
        bias (Ba et al., arXiv 1607.06450).
      mogrifier_rounds: Number of rounds in which the hidden vectors that enter a block of a grid
        gate each other (Melis et al., arXiv 1909.01792). Default 0.
      mogrifier_rank: Rank of the kernels of these rounds. Default 32.
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
    cells: tuple[str, ...] = ("lstm",)
    transform_bias: float = -2.0
    weight_dropout: float = 0.0
    contexts: tuple[str, ...] = ()
    tied_embeddings: bool = False
    layer_normalization: bool = False
    mogrifier_rounds: int = 0
    mogrifier_rank: int = 32

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Returns the configuration that `dataclasses.asdict` made a dictionary of.

        Args:
          config: The dictionary, with lists in place of tuples after JSON.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config.items()
        }
        return cls(**values)

    def __post_init__(self) -> None:
        if self.architecture not in CORES:
            raise InputError(
                f"architecture is {self.architecture!r}; it must be one of "
                f"{', '.join(map(repr, CORES))}"
            )
        self._check_cells()
        check_contexts(self.contexts)
        require_integer("layers", self.layers, 1)
        require_integer("units", self.units, 1)
        require_range("dropout", self.dropout, 0, 1)
        require_range("weight_dropout", self.weight_dropout, 0, 1)
        require_integer("mogrifier_rounds", self.mogrifier_rounds, 0)
        require_integer("mogrifier_rank", self.mogrifier_rank, 1)
        for option in GRID_OPTIONS:
            default = getattr(type(self), option)
            if getattr(self, option) != default and self.architecture != "grid":
                raise InputError(
                    f"{option} needs the architecture grid, and the architecture is "
                    f"{self.architecture}; leave it out, or use grid"
                )
        require_range("init_scale", self.init_scale, 0, math.inf)
        for name in ("forget_bias", "transform_bias"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}; it must be finite")

    def _check_cells(self) -> None:
        """Refuses names of no cell, and options that contradict the cells.

        Raises:
          InputError: If there is a mistake.
        """
        for name in self.cells:
            if name not in (*MEMORY_CELLS, *PLAIN_CELLS):
                remedy = nearest(name, (*MEMORY_CELLS, *PLAIN_CELLS))
                raise InputError(f"cells names {name!r}, which is no cell{remedy}")
        if self.architecture in ("rhn", "highway_lstm") and self.cells != ("lstm",):
            raise InputError(
                f"cells is {', '.join(self.cells)}; the architecture {self.architecture} has gates "
                f"of its own, so leave it out, or use the architecture grid or stacked"
            )
        most = 2 if self.architecture == "grid" else 1
        if not 1 <= len(self.cells) <= most:
            allowed = "one cell, or one of time and one of depth" if most == 2 else "one cell"
            raise InputError(
                f"cells names {len(self.cells)} cells; a {self.architecture} net has {allowed}"
            )
        if self.cells[0] in PLAIN_CELLS:
            raise InputError(
                f"cells is {self.cells[0]!r} along time, which has no memory; use one of "
                f"{', '.join(MEMORY_CELLS)}"
            )
        if self.output_equation != "o*tanh(m)" and "lstm" not in self.cells:
            raise InputError(
                f"output_equation is {self.output_equation!r}, which only the cell lstm has; leave "
                f"it out, or use the cell lstm in place of {' and '.join(self.cells)}"
            )

    @property
    def embedding_scale(self) -> float:
        """The bound of the uniform initial vectors that enter the core."""
        return self.init_scale or 1.0

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
        cells=config.cells if len(config.cells) == 2 else config.cells[0],
        priority=(1,) if config.depth_priority else (),
        tied=config.tied,
        output_equation=config.output_equation,
        layer_normalization=config.layer_normalization,
        mogrifier_rounds=config.mogrifier_rounds,
        mogrifier_rank=config.mogrifier_rank,
        input_memory=config.input_memory,
        project_inputs=False,
        recurrent_initializer=keras.initializers.RandomUniform(-scale, scale),
        forget_bias=config.forget_bias,
        dropout=config.dropout,
        dtype=dtype_policy,
        name=config.architecture,
    )


def _stacked_core(
    config: ModelConfig, dtype_policy: str, connection: Connection = "plain"
) -> "RecurrentCore":
    import keras

    from ..layers.stacked_lstm import StackedLSTM

    scale = config.kernel_scale
    return StackedLSTM(
        config.units,
        config.layers,
        kernel_initializer=keras.initializers.RandomUniform(-scale, scale),
        forget_bias=config.forget_bias,
        dropout=config.dropout,
        cell=config.cells[0],
        connection=connection,
        dtype=dtype_policy,
        name=config.architecture,
    )


def _rhn_core(config: ModelConfig, dtype_policy: str) -> "RecurrentCore":
    import keras

    from ..layers.recurrent_highway import RecurrentHighway

    scale = config.kernel_scale
    return RecurrentHighway(
        config.units,
        config.layers,
        kernel_initializer=keras.initializers.RandomUniform(-scale, scale),
        transform_bias=config.transform_bias,
        recurrent_dropout=config.dropout,
        dtype=dtype_policy,
        name=config.architecture,
    )


CORES: dict[str, Callable[[ModelConfig, str], "RecurrentCore"]] = {
    "grid": _grid_core,
    "stacked": _stacked_core,
    "residual_lstm": functools.partial(_stacked_core, connection="residual"),
    "highway_lstm": functools.partial(_stacked_core, connection="highway"),
    "rhn": _rhn_core,
}
"""The functions that make a recurrent core from its configuration and a Keras dtype policy."""


def make_core(config: ModelConfig, dtype_policy: str) -> "RecurrentCore":
    """Returns the recurrent core that a configuration describes, without variables yet.

    Args:
      config: The configuration.
      dtype_policy: The name of a Keras dtype policy, such as "float32" or "mixed_bfloat16".
    """
    return CORES[config.architecture](config, dtype_policy)
