"""The configuration of a language model over words.

Importing this module does not import TensorFlow.
"""

import dataclasses
from typing import Any, Literal, Self

from ..config import require_integer, require_one_of
from ..errors import InputError
from ..language_model.config import ModelConfig

WordInputs = Literal["words", "characters"]
"""What the vector of an input word is made from: a row of a table, or its characters."""


@dataclasses.dataclass(frozen=True)
class WordModelConfig:
    """The architecture of a language model over words.

    The defaults are those of the small model of Kim, Jernite, Sontag, Rush (arXiv 1508.06615).

    >>> WordModelConfig(ModelConfig(architecture="stacked", units=300)).highway_layers
    1

    Attributes:
      core: The recurrent core, its dropout rate, and `init_scale`, the bound of the uniform initial
        weights; 0 for 1/sqrt(units).
      inputs: "characters" (the default) for words made from their characters, "words" for a table
        with a row per word.
      character_width: The width of the embedding of a character. Default 15.
      widths: The numbers of characters that the convolutions see. Default 1 to 6.
      maps_per_width: The number of maps of a convolution per character that it sees. Default 25.
      max_maps: The largest number of maps of a convolution. Default 200.
      highway_layers: The number of highway layers after the convolutions. Default 1.
    """

    core: ModelConfig
    inputs: WordInputs = "characters"
    character_width: int = 15
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    maps_per_width: int = 25
    max_maps: int = 200
    highway_layers: int = 1

    def __post_init__(self) -> None:
        require_one_of("inputs", self.inputs, WordInputs)
        if self.core.contexts:
            raise InputError(
                f"contexts is {', '.join(self.core.contexts)}, which only character models have; "
                "leave it out"
            )
        for option in ("weight_dropout", "tied_embeddings"):
            if getattr(self.core, option):
                raise InputError(
                    f"{option} is of character models, and this one is of words; leave it out"
                )
        require_convolutions(self.character_width, self.widths, self.maps_per_width, self.max_maps)
        require_integer("highway_layers", self.highway_layers, 0)

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """Returns the configuration that `dataclasses.asdict` made a dictionary of.

        Args:
          config: The dictionary, with lists in place of tuples after JSON.
        """
        core = ModelConfig.from_dict(config["core"])
        return cls(**{**config, "core": core, "widths": tuple(config["widths"])})


def require_convolutions(
    character_width: int, widths: tuple[int, ...], maps_per_width: int, max_maps: int
) -> None:
    """Checks the sizes of the convolutions over the characters of a word.

    Args:
      character_width: The width of the embedding of a character.
      widths: The numbers of characters that the convolutions see.
      maps_per_width: The number of maps of a convolution per character that it sees.
      max_maps: The largest number of maps of a convolution.

    Raises:
      InputError: If one is out of range.
    """
    for name, value in (
        ("character_width", character_width),
        ("maps_per_width", maps_per_width),
        ("max_maps", max_maps),
    ):
        require_integer(name, value, 1)
    if not widths:
        raise InputError("widths is empty; give a width for each convolution, such as (1, 2, 3)")
    for width in widths:
        require_integer("widths", width, 1)
