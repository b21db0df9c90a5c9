"""The 2-D Grid LSTM over a sequence, in the place of `keras.layers.LSTM`."""

from typing import Any, Literal

import keras
import tensorflow as tf

from ..config import Precision
from ..core import CoreInputs, DecodeStep, State
from ..decoding.grid_step import grid_decode_step, pack_grid
from ..decoding.packed_weights import PackedWeights
from ..errors import InputError
from ..grid.reference import DimensionWeights, Sides
from ..shapes import shape_of
from .grid_layer import GridLayer
from .grid_lstm_cell import GridLSTMCell, require_step_masks
from .sequence import SequenceLayer


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTM(SequenceLayer, GridLayer):
    """A 2-D Grid LSTM over a sequence, with the arguments of `keras.layers.LSTM`.

    Dimension 0 is time, dimension 1 is depth; a block with depth priority computes

        (h_T', m_T') = LSTM_T([h_T, h_D], m_T)
        (h_D', m_D') = LSTM_D([h_T', h_D], m_D)

    States are hidden and memory, both `[batch, layers, units]`. A masked step leaves the state as
    it is and repeats the output before it (zeros before the first), or puts out zeros with
    `zero_output_for_mask`.

    >>> layer = GridLSTM(4, layers=2, return_sequences=True)
    >>> layer(np.zeros([3, 5, 7], "float32")).shape
    TensorShape([3, 5, 4])

    Args:
      units: The width of each hidden and memory vector.
      layers: The number of blocks along depth. Default 1.
      return_sequences: Whether to return the outputs of all steps rather than of the last. Default
        False.
      return_state: Whether to return the final states after the outputs. Default False.
      go_backwards: Whether to read the sequence from its end, and return outputs in that order.
        Default False.
      stateful: Whether a batch begins with the final states of the batch before. Default False.
      zero_output_for_mask: Whether the output of a masked step is zeros. Default False.
      unroll: Accepted for compatibility with `keras.layers.LSTM`; it has no effect.
      activation: The activation of the candidate and the output; only "tanh".
      recurrent_activation: The activation of the gates; only "sigmoid".
      use_cudnn: Accepted for compatibility with `keras.layers.LSTM`; it has no effect.
      **kwargs: Arguments of `grid_layer.GridLayer`.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        unroll: bool = False,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_cudnn: bool | Literal["auto"] = "auto",
        **kwargs: Any,
    ):
        super().__init__(
            units=units,
            layers=layers,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        for name, value, only in (
            ("activation", activation, "tanh"),
            ("recurrent_activation", recurrent_activation, "sigmoid"),
        ):
            if keras.activations.get(value) is not keras.activations.get(only):
                raise InputError(f"{name} is {value!r}; a Grid LSTM has only {only!r}")
        self._set_dimensions(2)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unroll = unroll
        self.use_cudnn = use_cudnn

    @property
    def is_bounded(self) -> bool:
        """Whether all that enters the products lies within [-1, 1], as LSTMs' hidden vectors do."""
        cells = map(self.equations.cell, range(self.equations.dimensions))
        return not self.mogrifier_rounds and all(cell.is_bounded for cell in cells)

    @property
    def cell(self) -> GridLSTMCell:
        """A cell for `keras.layers.RNN` with the weights of this layer, once that is built.

        Raises:
          InputError: If masks of dropout are those of a sequence, which a cell does not see.
        """
        require_step_masks(self)
        own = {"unroll", "use_cudnn", "return_sequences", "return_state", "go_backwards"}
        own |= {"stateful", "zero_output_for_mask", "name"}
        config = {name: value for name, value in self.get_config().items() if name not in own}
        cell = GridLSTMCell.from_config(config)
        for name in ("kernel", "bias", "block_weights", "built"):
            if hasattr(self, name):
                setattr(cell, name, getattr(self, name))
        return cell

    def over_time(
        self,
        inputs: CoreInputs,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
        weights: list[DimensionWeights] | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Runs the grid over a time-major sequence; see `core.RecurrentCore.over_time`."""
        assert inputs.memory is not None
        sides = Sides(
            hidden=(tf.cast(state.hidden, self.compute_dtype), inputs.hidden),
            memory=(tf.cast(state.memory, inputs.memory.dtype), inputs.memory),
        )
        keep = None if keep is None else keep[:, None]
        extents = (shape_of(inputs.hidden)[0], self.layers)
        leaving = self.run(sides, extents, training, seed, keep, weights)
        return leaving.hidden[1], State(hidden=leaving.hidden[0], memory=leaving.memory[0])

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> PackedWeights:
        """Packs the kernels for `decode_step`; see `decoding.grid_step.pack_grid`."""
        return pack_grid(self.weight_tensors(), self.equations, precision, entering)

    def decode_step(
        self, packed: PackedWeights, weights: list[DimensionWeights] | None = None
    ) -> DecodeStep:
        """Returns the function that advances all layers by one step; see `core.RecurrentCore`."""
        return grid_decode_step(packed, weights or self.weight_tensors(), self.equations)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        return {**super().get_config(), "unroll": self.unroll, "use_cudnn": self.use_cudnn}
