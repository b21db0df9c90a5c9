"""Grid LSTMs as Keras layers; argument names are those of `keras.layers.LSTM`.

The layers hold weights and call the pure functions; see `grid_layer.GridLayer` for the arguments
that they share.
"""

from collections.abc import Sequence

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

    Args:
      directions: for each of the input's dimensions whether it is read "forward" or "backward"; one
        word stands for all.
    """

    def __init__(
        self, units: int, layers: int = 1, directions: str | Sequence[str] = "forward", **kwargs
    ):
        super().__init__(units, layers, **kwargs)
        self.directions = directions if isinstance(directions, str) else tuple(directions)
        for one in [directions] if isinstance(directions, str) else directions:
            if one not in ("forward", "backward"):
                raise InputError(f"directions names {one!r}; it must be 'forward' or 'backward'")

    def build(self, input_shape) -> None:
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

    def call(self, inputs, training: bool = False):
        """`[batch, *extents, features]` to `[batch, *extents, units]`."""
        seed = self._next_seed(training)
        inputs = tf.convert_to_tensor(inputs)
        inputs = self._drop_inputs(inputs, seed, axes=range(1, inputs.shape.rank - 1))
        if self._backward:
            inputs = tf.reverse(inputs, self._backward)
        batch, *across, _ = shape_of(inputs)
        count = len(across)
        inward = [*range(1, count + 1), 0, count + 1]
        bottom = [tf.transpose(part, inward) for part in self.enter(inputs)]
        extents = (*across, self.layers)
        sides = [self.zeros(i, [*extents[:i], *extents[i + 1 :], batch]) for i in range(count)] + [
            bottom
        ]
        leaving = self.run(Sides(*zip(*sides, strict=True)), extents, training, seed)
        outputs = tf.transpose(leaving.hidden[-1], [count, *range(count), count + 1])
        return tf.reverse(outputs, self._backward) if self._backward else outputs

    def compute_output_shape(self, input_shape):
        """See `call`."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "directions": self.directions}
