"""Language models of sentences, with and without a latent vector, whose decoders are of one size.

A net with a latent vector has an encoder besides, of about the size of its decoder.
"""

import functools
from typing import Literal, NamedTuple

from experiments.framework.widths import nearest_width
from model.config import require_one_of
from model.execution.planner import choose
from model.language_model.config import ModelConfig
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import SentenceModel

Core = Literal["stacked", "grid"]

BASE: Core = "stacked"
"""The core whose width is given; the others have as many parameters."""


class NetConfig(NamedTuple):
    """One net of a comparison.

    Attributes:
      decoder: Name of the core of the decoder.
      encoder: Name of the core of the encoder; "" for a language model without a latent vector.
    """

    decoder: Core
    encoder: Core | Literal[""] = ""


class Sizes(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      units: Width of a stacked LSTM.
      layers: Number of layers of each core.
      latent: Number of components of the latent vector.
      dropout: Dropout rate between the layers and before the output. Default 0.
    """

    units: int
    layers: int
    latent: int
    dropout: float = 0.0


@functools.cache
def width_of(core: Core, sizes: Sizes, vocabulary_size: int) -> int:
    """Returns the width at which a language model on a core has as many parameters as the LSTM's.

    Args:
      core: Name of the core.
      sizes: What all nets have in common.
      vocabulary_size: Number of ids of words.
    """
    if core == BASE:
        return sizes.units

    def count(core: Core, units: int) -> int:
        config = SentenceModelConfig(_core_config(core, units, sizes))
        return SentenceModel(config, vocabulary_size).count_params()

    return nearest_width(count(BASE, sizes.units), functools.partial(count, core))


def _core_config(core: Core, units: int, sizes: Sizes) -> ModelConfig:
    return ModelConfig(architecture=core, layers=sizes.layers, units=units, dropout=sizes.dropout)


def build(net: NetConfig, sizes: Sizes, vocabulary_size: int, batch: int) -> SentenceModel:
    """Returns a net with its variables.

    Args:
      net: Which net.
      sizes: What all nets have in common.
      vocabulary_size: Number of ids of words.
      batch: Number of sentences of a training step.

    Raises:
      InputError: If a name is unknown, or a size out of range.
    """
    cores = {}
    for part, core in net._asdict().items():
        if core:
            require_one_of(part, core, Core)
            cores[part] = _core_config(core, width_of(core, sizes, vocabulary_size), sizes)
    config = SentenceModelConfig(**cores, latent=sizes.latent)
    units, architecture = config.decoder.units, config.decoder.architecture
    plan = choose(
        units, sizes.layers, batch, dtype="float32", jits_step=False, architecture=architecture
    )
    return SentenceModel(config, vocabulary_size, plan, name=f"{net.encoder or 'no'}-{net.decoder}")
