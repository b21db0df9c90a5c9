"""Grid LSTM and stacked LSTM over a sequence, as Keras layers that only hold variables.

Both layers take time-major sequences `[steps, batch, width]`: the loops run over time, and a
transposition costs less once, on the character ids, than on every vector.
"""

import keras
import tensorflow as tf

from model.config import ModelConfig
from model.grid import GridWeights, State, grid_column
from model.stacked import StackedWeights, stacked_column, stacked_lstm
from model.wavefront import grid_inference, grid_wavefront


class _RecurrentLayer(keras.layers.Layer):
    """What the two nets have in common: initial values, state and dropout."""

    def __init__(self, config: ModelConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config

    def initial_state(self, batch: int | tf.Tensor) -> State:
        """The zero state for `batch` sequences."""
        zeros = tf.zeros([self.config.layers, batch, self.config.units], self.compute_dtype)
        return State(zeros, zeros)

    def _add_lstm(self, name, copies):
        """The kernel and bias of `copies` LSTM transforms."""
        units = self.config.units
        scale = self.config.init_scale or units**-0.5
        kernel = self.add_weight(
            name=f"{name}_kernel",
            shape=(copies, 2 * units, 4 * units),
            initializer=keras.initializers.RandomUniform(-scale, scale),
        )
        bias = self.add_weight(
            name=f"{name}_bias",
            shape=(copies, 4 * units),
            initializer=lambda shape, dtype: tf.repeat(
                tf.constant([[0, self.config.forget_bias, 0, 0]] * copies, dtype), units, axis=1
            ),
        )
        return kernel, bias

    def _dropout_masks(self, rows, batch, seed):
        """Factors for `rows` time steps or diagonals, or None where nothing is dropped."""
        if seed is None or not self.config.dropout or self.config.layers == 1:
            return None
        shape = [rows, self.config.layers - 1, batch, self.config.units]
        return dropout_mask(shape, self.config.dropout, seed, self.compute_dtype)


def dropout_mask(shape, rate: float, seed: tf.Tensor, dtype) -> tf.Tensor:
    """Independent factors, 0 with probability `rate` and 1 / (1 - rate) otherwise."""
    keep = tf.random.stateless_uniform(shape, seed) >= rate
    return tf.cast(keep, dtype) / (1 - rate)


class GridLSTM(_RecurrentLayer):
    """A 2-D Grid LSTM over a sequence.

    Kalchbrenner, Danihelka, Graves, "Grid Long Short-Term Memory", arXiv 1507.01526; the equations
    are in `grid.grid_block`. Weights are shared along time, and along depth as `config.tied` says.

    Attributes:
      input_width: 2 * units where characters enter the memory as well, else units.
      time_kernel: `[layers, 2 * units, 4 * units]`, or `[1, ...]` when tied is "all".
      time_bias: `[layers, 4 * units]`, or `[1, ...]` likewise.
      depth_kernel: `[layers, 2 * units, 4 * units]`, or `[1, ...]` when tied is "depth" or "all".
      depth_bias: `[layers, 4 * units]`, or `[1, ...]` likewise.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.input_width = config.units * (2 if config.input_memory else 1)

    def build(self, _=None):
        layers, tied = self.config.layers, self.config.tied
        self.time_kernel, self.time_bias = self._add_lstm("time", 1 if tied == "all" else layers)
        self.depth_kernel, self.depth_bias = self._add_lstm(
            "depth", 1 if tied in ("depth", "all") else layers
        )
        self.built = True

    @property
    def weights_now(self) -> GridWeights:
        """The weights as tensors."""
        variables = (self.time_kernel, self.time_bias, self.depth_kernel, self.depth_bias)
        return GridWeights(*(tf.convert_to_tensor(variable) for variable in variables))

    def _enter(self, inputs):
        """The hidden and memory vectors that enter the bottom."""
        units = self.config.units
        hidden = inputs[..., :units]
        return hidden, inputs[..., units:] if self.config.input_memory else tf.zeros_like(hidden)

    def call(
        self, inputs: tf.Tensor, state: State, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, State]:
        """The whole sequence.

        Args:
          inputs: `[steps, batch, input_width]`.
          state: the state before the first step.
          training: whether a gradient will be asked for.
          seed: `[2]`, the seed of the dropout masks; None for no dropout.

        Returns:
          Outputs `[steps, batch, units]` and the state after the last step.
        """
        hidden, memory = self._enter(inputs)
        arguments = hidden, memory, state, self.weights_now, self.config.equations
        if not training:
            return grid_inference(*arguments)
        steps, batch = inputs.shape[:2]
        masks = self._dropout_masks(steps + self.config.layers - 1, batch, seed)
        return grid_wavefront(*arguments, masks)

    def step(self, inputs: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """One time step: `[batch, input_width]` in, `[batch, units]` and the new state out."""
        return grid_column(*self._enter(inputs), state, self.weights_now, self.config.equations)


class StackedLSTM(_RecurrentLayer):
    """A stacked LSTM over a sequence.

    Attributes:
      input_width: units.
      kernel: `[layers, 2 * units, 4 * units]`.
      bias: `[layers, 4 * units]`.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.input_width = config.units

    def build(self, _=None):
        self.kernel, self.bias = self._add_lstm("stacked", self.config.layers)
        self.built = True

    @property
    def weights_now(self) -> StackedWeights:
        """The weights as tensors."""
        return StackedWeights(tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias))

    def call(
        self, inputs: tf.Tensor, state: State, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, State]:
        """The whole sequence; arguments and results are those of `GridLSTM.call`."""
        masks = None
        if training:
            masks = self._dropout_masks(*inputs.shape[:2], seed)
        return stacked_lstm(inputs, state, self.weights_now, masks)

    def step(self, inputs: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """One time step; arguments and results are those of `GridLSTM.step`."""
        return stacked_column(inputs, state, self.weights_now)
