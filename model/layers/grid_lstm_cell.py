"""One time step of a 2-D Grid LSTM, for `keras.layers.RNN`."""

from typing import Any

import keras
import tensorflow as tf

from ..errors import InputError
from ..grid.reference import Sides
from .grid_layer import GridLayer


def require_step_masks(layer: GridLayer) -> None:
    """Checks that the dropout masks of a layer, if it has any, are those of steps.

    Args:
      layer: The layer that is, or becomes, a cell.

    Raises:
      InputError: If they are those of a sequence.
    """
    if layer.masks_per_sequence and (layer.dropout or layer.recurrent_dropout):
        raise InputError(
            "dropout_masks is 'sequence', and a cell sees one step at a time; use 'step', or the "
            "layer GridLSTM"
        )


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTMCell(GridLayer):
    """One time step of all layers of a 2-D Grid LSTM, for `keras.layers.RNN`.

    `GridLSTM` computes the same with the same weights, many times faster. States are hidden and
    memory, `[batch, layers, units]` each; the memory is `memory_width` wide. As of any cell of
    Keras, both are in the compute dtype: with mixed precision the memory is rounded at each step,
    unlike that of `GridLSTM`.

    >>> layer = keras.layers.RNN(GridLSTMCell(4, layers=2))
    >>> layer(np.zeros([3, 5, 7], "float32")).shape
    TensorShape([3, 4])

    Args:
      units: The width of each hidden and memory vector.
      layers: The number of blocks along depth. Default 1.
      **kwargs: Arguments of `grid_layer.GridLayer`.

    Raises:
      InputError: If masks of dropout are to be those of a sequence, which a cell does not see.
    """

    def __init__(self, units: int, layers: int = 1, **kwargs: Any):
        super().__init__(units, layers, **kwargs)
        require_step_masks(self)
        self._set_dimensions(2)
        self.state_size = [(self.layers, self.units), (self.layers, self.memory_width)]
        self.output_size = self.units

    def call(
        self, inputs: tf.Tensor, states: list[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Computes one time step.

        Args:
          inputs: The inputs, `[batch, features]`.
          states: The hidden and memory vectors, `[batch, layers, units]` each.
          training: Whether dropout applies and a gradient will be taken. Default False.

        Returns:
          The output, `[batch, units]`, and the two new states.
        """
        seed = self._next_seed(training)
        entering = self.core_inputs(self._drop_inputs(inputs, seed, shared_axes=()))
        hidden, memory = (tf.transpose(tf.convert_to_tensor(state), [1, 0, 2]) for state in states)
        assert entering.memory is not None
        sides = Sides(
            hidden=(tf.cast(hidden, self.compute_dtype), entering.hidden[None]),
            memory=(tf.cast(memory, self.variable_dtype), entering.memory[None]),
        )
        leaving = self.run(sides, (1, self.layers), training, seed)
        new_states = [tf.transpose(part[0], [1, 0, 2]) for part in leaving]
        return leaving.hidden[1][0], [
            tf.cast(new, old.dtype) for new, old in zip(new_states, states, strict=True)
        ]

    def get_initial_state(self, batch_size: int | tf.Tensor | None = None) -> list[tf.Tensor]:
        """Returns zero states."""
        return [tf.zeros([batch_size, *size], self.compute_dtype) for size in self.state_size]
