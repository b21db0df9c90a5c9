"""The configuration of a variational autoencoder of sentences.

Importing this module does not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..config import require_integer
from ..contexts.registry import MAX_SIZE
from ..errors import InputError
from ..language_model.config import ModelConfig

LATENT = "latent"
"""The name of the context by which a decoder is told the latent vector."""


@dataclasses.dataclass(frozen=True)
class SentenceModelConfig:
    """The architecture of a `SentenceModel`.

    >>> SentenceModelConfig(ModelConfig(units=64), ModelConfig(units=64)).decoder_core.contexts
    ('latent:32',)

    Attributes:
      decoder: The decoder: its core, and contexts that it has besides the latent vector.
      encoder: The core of the encoder; None (the default) for a language model without a latent
        vector, with which the model is compared.
      latent: The number of components of the latent vector. Default 32.
    """

    decoder: ModelConfig
    encoder: ModelConfig | None = None
    latent: int = 32

    def __post_init__(self) -> None:
        require_integer("latent", self.latent, 1)
        if self.latent > MAX_SIZE:
            raise InputError(f"latent is {self.latent}; it must be at most {MAX_SIZE}")
        if any(text.partition(":")[0] == LATENT for text in self.decoder.contexts):
            raise InputError(
                f"the contexts of the decoder name {LATENT}, which it has by itself; leave it out, "
                "and give the size as `latent`"
            )
        if self.encoder is not None and self.encoder.contexts:
            raise InputError(
                f"contexts of the encoder is {', '.join(self.encoder.contexts)}, which only the "
                "decoder has; leave it out"
            )
        for name in ("weight_dropout", "tied_embeddings"):
            if self.encoder is not None and getattr(self.encoder, name):
                raise InputError(
                    f"{name} of the encoder is {getattr(self.encoder, name)}, which only the "
                    "decoder has; leave it out"
                )

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "SentenceModelConfig":
        """Returns the configuration that `dataclasses.asdict` made a dictionary of.

        Args:
          config: The dictionary, with lists in place of tuples after JSON.
        """
        encoder = config["encoder"]
        return cls(
            decoder=ModelConfig.from_dict(config["decoder"]),
            encoder=None if encoder is None else ModelConfig.from_dict(encoder),
            latent=config["latent"],
        )

    @property
    def decoder_core(self) -> ModelConfig:
        """The configuration of the decoder with all its contexts."""
        if self.encoder is None:
            return self.decoder
        contexts = (*self.decoder.contexts, f"{LATENT}:{self.latent}")
        return dataclasses.replace(self.decoder, contexts=contexts)
