"""Grid LSTMs as Keras layers; argument names are those of `keras.layers.LSTM`.

The layers hold weights and call the pure functions; see `grid_layer.GridLayer` for the arguments
that they share.
"""

import keras
import tensorflow as tf

from ..grid.reference import Sides
from .grid_layer import GridLayer


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTMCell(GridLayer):
    """One column of a 2-D Grid LSTM, for `keras.layers.RNN`.

    `GridLSTM` computes the same with the same weights, many times faster. States are hidden and
    memory, `[batch, layers, units]` each.
    """

    def __init__(self, units: int, *args, **kwargs):
        super().__init__(units, *args, **kwargs)
        self._set_dimensions(2)
        self.state_size = [(self.layers, self.units), (self.layers, self.units)]
        self.output_size = self.units

    def call(self, inputs, states, training: bool = False):
        """`[batch, features]` and two states to `[batch, units]` and two new states."""
        seed = self._next_seed(training)
        hidden, memory = self.enter(self._drop_inputs(inputs, seed, axes=()))
        state = [tf.transpose(tf.convert_to_tensor(state), [1, 0, 2]) for state in states]
        sides = Sides(
            (tf.cast(state[0], self.compute_dtype), hidden[None]),
            (tf.cast(state[1], self.variable_dtype), memory[None]),
        )
        leaving = self.run(sides, (1, self.layers), training, seed)
        new = [tf.transpose(part[0], [1, 0, 2]) for part in leaving]
        return leaving.hidden[1][0], [
            tf.cast(one, old.dtype) for one, old in zip(new, states, strict=True)
        ]

    def get_initial_state(self, batch_size=None):
        """Zeros."""
        return [
            tf.zeros([batch_size, self.layers, self.units], self.compute_dtype) for _ in range(2)
        ]
