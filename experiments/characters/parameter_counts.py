"""Numbers of parameters of character models, by which comparisons make them equal."""

from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig

VOCABULARY = 170
"""Number of characters of the models whose parameters are counted: that of the default corpus.

Embedding and output count, as they are a large part of a small and shallow model. On a corpus of
other characters wide models gain or lose more parameters than narrow ones; tables show them.
"""


def parameters_of(config: ModelConfig) -> int:
    """Returns the number of parameters of a model over `VOCABULARY` characters that have an effect.

    Args:
      config: Architecture of the model.
    """
    unused = 0
    if config.architecture == "highway_lstm":
        # The first layer has no memory below it that its depth gate could let in.
        unused = 2 * config.units**2 + 3 * config.units
    return CharacterModel(config, VOCABULARY).count_params() - unused
