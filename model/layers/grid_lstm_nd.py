"""Grid LSTMs over vectors, sequences, images and volumes."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..errors import InputError
from ..grid.reference import Sides
from ..shapes import shape_of
from .grid_layer import GridLayer


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTMND(GridLayer):
    """A grid of N dimensions over an input of N - 1: a vector, a sequence, an image, a volume.

    The last dimension of the grid, depth, is the layer's own; the others are those of the input.
    For a vector, N = 1, this is a gated feed-forward net (paper, section 3.1).

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
        self.directions = directions if isinstance(directions, str) else tuple(directions)
        for one in [directions] if isinstance(directions, str) else directions:
            if one not in ("forward", "backward"):
                raise InputError(f"directions names {one!r}; it must be 'forward' or 'backward'")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables, for a grid of one dimension more than the input."""
        across = len(input_shape) - 2
        if across < 0:
            raise InputError(
                f"the input's shape is {tuple(input_shape)}; expected [batch, ..., features]"
            )
        words = self.directions
        words = (words,) * across if isinstance(words, str) else words
        if len(words) != across:
            raise InputError(
                f"directions names {len(words)} dimensions; the input has {across} besides batch "
                f"and features"
            )
        self._backward = [axis + 1 for axis, word in enumerate(words) if word == "backward"]
        self._set_dimensions(across + 1)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes `[batch, *extents, units]` from `[batch, *extents, features]`."""
        seed = self._next_seed(training)
        inputs = tf.convert_to_tensor(inputs)
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
        leaving = self.run(Sides(*zip(*sides, strict=True)), extents, training, seed)
        outputs = tf.transpose(leaving.hidden[-1], [count, *range(count), count + 1])
        return tf.reverse(outputs, self._backward) if self._backward else outputs

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the shape of what `call` returns."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        return {**super().get_config(), "directions": self.directions}
