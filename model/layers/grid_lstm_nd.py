"""Grid LSTMs over vectors, sequences, images and volumes."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..errors import InputError
from ..grid.reference import Sides
from ..shapes import shape_of
from .directions import backward_dimensions, require_directions
from .grid_layer import GridLayer


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTMND(GridLayer):
    """A grid of N dimensions over an input of N - 1: a vector, a sequence, an image, a volume.

    The last dimension of the grid, depth, is the layer's own; the others are those of the input.
    For a vector, N = 1, this is a gated feed-forward net (paper, section 3.1). At a masked place
    all vectors but those of depth pass unchanged, and the output is zeros.

    >>> layer = GridLSTMND(4, layers=2, directions=("forward", "backward"))
    >>> layer(np.zeros([1, 5, 6, 3], "float32")).shape
    TensorShape([1, 5, 6, 4])

    Args:
      units: The width of each hidden and memory vector.
      layers: The number of blocks along depth. Default 1.
      directions: The direction in which each of the input's dimensions is read, "forward" or
        "backward"; one word stands for all. Default "forward".
      **kwargs: Arguments of `grid_layer.GridLayer`.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        directions: str | Sequence[str] = "forward",
        **kwargs: Any,
    ):
        super().__init__(units, layers, **kwargs)
        self.directions = require_directions(directions)
        self.supports_masking = True

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables, for a grid of one dimension more than the input."""
        across = len(input_shape) - 2
        if across < 0:
            raise InputError(
                f"the input's shape is {tuple(input_shape)}; expected [batch, ..., features]"
            )
        self._backward = [one + 1 for one in backward_dimensions(self.directions, across)]
        self._set_dimensions(across + 1)
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Computes the outputs of a batch.

        Args:
          inputs: The inputs, `[batch, *extents, features]`.
          mask: The mask, `[batch, *extents]`, boolean, False for places to skip; None for no mask.
          training: Whether dropout applies and a gradient will be taken. Default False.

        Returns:
          The outputs, `[batch, *extents, units]`.
        """
        seed = self._next_seed(training)
        inputs = tf.convert_to_tensor(inputs)
        if mask is not None:
            mask = self._require_mask(tf.cast(mask, tf.bool), inputs)
        inputs = self._drop_inputs(inputs, seed, shared_axes=range(1, inputs.shape.rank - 1))
        if self._backward:
            inputs = tf.reverse(inputs, self._backward)
        batch, *across, _ = shape_of(inputs)
        count = len(across)
        batch_inside = [*range(1, count + 1), 0, count + 1]
        hidden, memory = (tf.transpose(part, batch_inside) for part in self.core_inputs(inputs))
        extents = (*across, self.layers)
        sides = [self.zeros(i, [*extents[:i], *extents[i + 1 :], batch]) for i in range(count)]
        sides.append((hidden, memory))
        keep = None if mask is None else tf.transpose(mask, batch_inside[:-1])[..., None, :]
        leaving = self.run(Sides(*zip(*sides, strict=True)), extents, training, seed, keep)
        outputs = tf.transpose(leaving.hidden[-1], [count, *range(count), count + 1])
        if mask is not None:
            outputs = tf.where(mask[..., None], outputs, tf.zeros_like(outputs))
        return tf.reverse(outputs, self._backward) if self._backward else outputs

    def _require_mask(self, mask: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """Returns a mask in the order in which the inputs are read."""
        if mask.shape.rank != inputs.shape.rank - 1:
            raise InputError(
                f"the mask's shape is {tuple(mask.shape)}; expected that of the input without "
                f"features, {tuple(inputs.shape[:-1])}"
            )
        return tf.reverse(mask, self._backward) if self._backward else mask

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the shape of what `call` returns."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        return {**super().get_config(), "directions": self.directions}
