"""Language models over words, of as many parameters each: a table, or characters and highways."""

import functools
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.widths import nearest_width
from model.config import require_integer, require_one_of
from model.errors import InputError, nearest
from model.execution.planner import choose
from model.language_model.config import ModelConfig
from model.words.config import WordModelConfig
from model.words.word_model import WordModel

Core = Literal["stacked", "grid"]

TABLE = "word table"
INPUTS: dict[str, dict[str, Any]] = {
    TABLE: {"inputs": "words"},
    "characters": {"inputs": "characters", "highway_layers": 0},
    "characters, 1 highway": {"inputs": "characters", "highway_layers": 1},
    "characters, 2 highways": {"inputs": "characters", "highway_layers": 2},
}
"""What the vector of a word is made from, by name."""


class Sizes(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      parameters: Number of parameters of each net.
      layers: Number of layers of the core.
      dropout: Dropout rate between the layers and before the output. Default 0.
      maps_per_width: Number of maps of a convolution per character that it sees. Default 25.
      widths: Numbers of characters that the convolutions see. Default 1 to 6.
    """

    parameters: int
    layers: int
    dropout: float = 0.0
    maps_per_width: int = 25
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6)


def config_of(inputs: str, core: Core, sizes: Sizes, units: int) -> WordModelConfig:
    """Returns the configuration of a net.

    Args:
      inputs: Name in `INPUTS`.
      core: Name of the recurrent core.
      sizes: What all nets have in common.
      units: Width of the core.

    Raises:
      InputError: If a name is unknown, or a size out of range.
    """
    require_one_of("core", core, Core)
    if inputs not in INPUTS:
        raise InputError(f"there are no inputs {inputs}{nearest(inputs, INPUTS)}")
    require_integer("parameters", sizes.parameters, 1)
    return WordModelConfig(
        ModelConfig(
            architecture=core,
            layers=sizes.layers,
            units=units,
            dropout=sizes.dropout,
            forget_bias=0.0,
        ),
        widths=sizes.widths,
        maps_per_width=sizes.maps_per_width,
        **INPUTS[inputs],
    )


@functools.cache
def width_of(inputs: str, core: Core, sizes: Sizes, words: int, characters: int) -> int:
    """Returns the width of the core at which a net comes nearest to a number of parameters.

    Args:
      inputs: Name in `INPUTS`.
      core: Name of the recurrent core.
      sizes: What all nets have in common.
      words: Number of ids of words.
      characters: Number of ids of characters.
    """

    def count(units: int) -> int:
        config = config_of(inputs, core, sizes, units)
        return WordModel(config, words, characters).count_params()

    return nearest_width(sizes.parameters, count)


def build(
    inputs: str, core: Core, sizes: Sizes, words: int, characters: int, batch: int
) -> WordModel:
    """Returns a net of as many parameters as the others, with its variables.

    Args:
      inputs: Name in `INPUTS`.
      core: Name of the recurrent core.
      sizes: What all nets have in common.
      words: Number of ids of words.
      characters: Number of ids of characters.
      batch: Number of streams of a training step.
    """
    units = width_of(inputs, core, sizes, words, characters)
    plan = choose(units, sizes.layers, batch, dtype="float32", jits_step=False, architecture=core)
    return WordModel(
        config_of(inputs, core, sizes, units), words, characters, plan, name=f"{core}-{units}"
    )


def start_uniformly(net: keras.Model, scale: float, seed: int) -> None:
    """Draws all weights anew, uniform within +-scale around 0, or biases around where they start.

    So do the authors of the paper, whose biases b_T of the gates are around -2 and all others
    around 0.

    Args:
      net: The net.
      scale: The bound.
      seed: Seed of the weights.
    """
    random = np.random.default_rng(seed)
    for variable in net.trainable_variables:
        drawn = random.uniform(-scale, scale, size=variable.shape).astype(np.float32)
        middle = variable if "bias" in variable.name else tf.zeros(variable.shape)
        variable.assign(middle + drawn)
