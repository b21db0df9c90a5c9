"""The protocol of tasks, from whose examples nets learn."""

import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol

import tensorflow as tf

UNCOUNTED = -1
"""Label of a step that does not count."""


class Examples(NamedTuple):
    """Inputs and their labels.

    Attributes:
      inputs: Inputs `[size, ...]`, float32.
      labels: Classes `[size]` or `[size, steps]`, int32; `UNCOUNTED` for steps that do not count.
    """

    inputs: tf.Tensor
    labels: tf.Tensor


class Task(Protocol):
    """A task to learn from examples; a dataclass whose fields are its parameters."""

    # `dataclasses.asdict` takes only what has these.
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def classes(self) -> int:
        """Number of classes."""

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Draws examples to train on.

        They are a pure function of the seed, so that batch n of a training is the same after a kill
        and whatever was drawn before it.

        Args:
          seed: Seed `[2]`, int32.
          size: Number of examples.
        """

    def held_out(self) -> Examples:
        """Returns the examples to test on, which are always the same."""
