"""Models that a configuration describes, so that Keras saves and loads them."""

import dataclasses
from typing import Any, ClassVar, Self

import keras


class ConfiguredModel(keras.Model):
    """A Keras model that is made from a configuration and the size of a vocabulary.

    Its weights are float32 whatever its execution plan is; a loaded one has the plan that runs
    anywhere.

    Attributes:
      config_type: Class of the configuration, a dataclass with `from_dict`.
      config: The configuration.
      vocabulary_size: The number of distinct ids.
    """

    config_type: ClassVar[Any]
    config: Any
    vocabulary_size: int

    def get_config(self) -> dict:
        """Returns the arguments that create an equal model."""
        return {
            "name": self.name,
            "config": dataclasses.asdict(self.config),
            "vocabulary_size": self.vocabulary_size,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> Self:
        """Returns the model that `get_config` describes.

        Args:
          config: The arguments.
          custom_objects: Not used.
        """
        return cls(**{**config, "config": cls.config_type.from_dict(config["config"])})
