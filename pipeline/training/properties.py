"""The properties that the Trainer reports."""

import dataclasses

from pipeline.store.manifest import Properties


@dataclasses.dataclass(frozen=True)
class TrainerProperties(Properties):
    """The properties of a Trainer artifact.

    Attributes:
      steps: Number of steps done.
      characters: Number of characters trained on, repetitions included.
      epochs: Number of passes over the training split, with three decimals.
      parameters: Number of trainable parameters of the model.
      checkpoint: Checkpoint that was exported, relative to the artifact's directory.
      validation_nats: Validation loss of that checkpoint, in nats per character.
    """

    steps: int
    characters: int
    epochs: float
    parameters: int
    checkpoint: str
    validation_nats: float
