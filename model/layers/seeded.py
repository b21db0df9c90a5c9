"""The seed of the dropout of a layer, and dropout of its inputs."""

from collections.abc import Iterable
from typing import Any, Literal

import keras
import tensorflow as tf

from ..config import require_one_of, require_range
from ..grid.dropout import dropout_mask
from ..shapes import shape_of


def seeds_of(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of all seeds of a model, which its noise and its masks are drawn from.

    They are none of its weights, and its checkpoints leave them out.

    Args:
      model: The model.
    """
    weights = {id(one) for one in model.weights}
    return [one for one in model.variables if id(one) not in weights]


class SeededLayer(keras.layers.Layer):
    """A layer whose dropout masks derive from one seed per call.

    Args:
      dropout: The dropout rate of the inputs. Default 0.
      recurrent_dropout: The dropout rate within the layer, which also needs the seed. Default 0.
      dropout_masks: "step" for a new mask at each step, "sequence" for one per sequence.
      seed: The seed; None for one drawn at random.
      **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
      InputError: If a rate is out of [0, 1), or `dropout_masks` is neither of its values.
    """

    def __init__(
        self,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dropout_masks: Literal["step", "sequence"] = "step",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        require_range("dropout", dropout, 0, 1)
        require_range("recurrent_dropout", recurrent_dropout, 0, 1)
        require_one_of("dropout_masks", dropout_masks, Literal["step", "sequence"])
        # NumPy's numbers become Python's, which a configuration can hold.
        self.dropout = float(dropout)
        self.recurrent_dropout = float(recurrent_dropout)
        self.dropout_masks = dropout_masks
        self.seed = None if seed is None else int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def masks_per_sequence(self) -> bool:
        """Whether all steps of a call have the same masks."""
        return self.dropout_masks == "sequence"

    def _next_seed(self, training: bool) -> tf.Tensor | None:
        """Returns a new seed, `[2]`, int32, or None where nothing is dropped."""
        if not training or not (self.dropout or self.recurrent_dropout):
            return None
        return tf.bitcast(tf.cast(self.seed_generator.next(), tf.uint32), tf.int32)

    def _drop_inputs(
        self, inputs: tf.Tensor, seed: tf.Tensor | None, shared_axes: Iterable[int]
    ) -> tf.Tensor:
        """Applies dropout to the input features.

        Args:
          inputs: The inputs.
          seed: The seed of the call; None for no dropout.
          shared_axes: The axes along which the masks of "sequence" are shared.
        """
        if seed is None or not self.dropout:
            return inputs
        shape = shape_of(inputs)
        if self.masks_per_sequence:
            shape = [1 if axis in shared_axes else size for axis, size in enumerate(shape)]
        seed = tf.random.experimental.stateless_fold_in(seed, -1)
        return inputs * dropout_mask(shape, self.dropout, seed, inputs.dtype)
