"""What a task is to the nets that learn it."""

from typing import NamedTuple, Protocol

import tensorflow as tf

UNCOUNTED = -1


class Examples(NamedTuple):
    """Inputs and what is to be said of them.

    Attributes:
      inputs: `[size, ...]`, float32.
      labels: `[size]` or `[size, steps]`, int32, classes; `UNCOUNTED` where none is asked for.
    """

    inputs: tf.Tensor
    labels: tf.Tensor


class Task(Protocol):
    """Something to be learned from examples; a dataclass, whose fields say which.

    Attributes:
      classes: how many there are.
    """

    classes: int

    def draw(self, seed: tf.Tensor, size: int) -> Examples:
        """Examples to train on.

        They are a pure function of the seed, `[2]`, int32, so batch number n of a training is the
        same after a kill and whatever was drawn before it.
        """

    def held_out(self) -> Examples:
        """Examples to test on, the same each time."""
