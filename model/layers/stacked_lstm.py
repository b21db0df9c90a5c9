"""The stacked LSTM, or a stacked net of another cell, as a Keras layer: the grid's baseline."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from ..cells.registry import find_cell
from ..config import Connection, Precision, require_integer, require_one_of
from ..core import CoreInputs, DecodeStep, State
from ..decoding.packed_weights import PackedWeights
from ..decoding.stacked_step import pack_stacked, stacked_decode_step
from ..errors import InputError
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import dropout_mask
from ..shapes import shape_of
from ..stacked.highway_lstm import HIGHWAY_LSTM
from ..stacked.recurrence import stacked_lstm
from ..stacked.weights import TIME, StackedWeights
from .cell_weights import add_parameters, with_forget_bias
from .initialization import VariableInitializers
from .sequence import SequenceLayer
from .stored import stored_variable


@keras.saving.register_keras_serializable(package="grid_lstm")
class StackedLSTM(SequenceLayer):
    """A stack of LSTMs over a sequence, all layers of the same width.

        z = [h_below, h_time] W + b;  i, f, o, g of z;  m' = f * m + i * g;  h' = o * tanh(m')

    Another `cell` replaces the equations after the product W. The first layer reads the inputs
    themselves, so these must be `units` wide. States are hidden and memory, both
    `[batch, layers, units]`; the memory of some cells is wider. A masked step leaves the state as
    it is and repeats the output before it (zeros before the first), or puts out zeros with
    `zero_output_for_mask`.

    >>> layer = StackedLSTM(4, layers=2, return_sequences=True)
    >>> layer(np.zeros([3, 5, 4], "float32")).shape
    TensorShape([3, 5, 4])

    Args:
      units: The width of each layer, and of the inputs.
      layers: The number of layers. Default 1.
      return_sequences: Whether to return the outputs of all steps rather than of the last. Default
        False.
      return_state: Whether to return the final states after the outputs. Default False.
      go_backwards: Whether to read the sequence from its end, and return outputs in that order.
        Default False.
      stateful: Whether a batch begins with the final states of the batch before. Default False.
      zero_output_for_mask: Whether the output of a masked step is zeros. Default False.
      kernel_initializer: The initializer of all kernels and of parameters of the cells, such as
        peepholes.
      forget_bias: The initial bias of the forget gates. Default 1.
      dropout: The dropout rate of the inputs and between the layers. Default 0.
      dropout_masks: "step" for a new mask at each step, "sequence" for one per sequence.
      seed: The seed of the dropout; None for one drawn at random.
      cell: The name of the cell of all layers, of those in `cells.registry`: "lstm", one of its
        variants such as "lstm_peephole", "gru" or "tanh". Default "lstm".
      connection: How each layer but the first is connected with the one below. "plain": it reads
        its outputs. "residual": it also adds them to its own (Wu et al., arXiv 1609.08144, section
        3.1). "highway": the layers are highway LSTMs, whose memory takes in that of the layer below
        through a gate; see `stacked.highway_lstm`. Default "plain".
      **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
      input_width: The width of the inputs, `units`.
      memory_width: The width of the memory vectors of the state; `units` for an LSTM.
      is_bounded: Whether what enters products lies within [-1, 1], as that of LSTMs does.
      kernel: The kernels, `[layers, 2 * units, 4 * units]` for an LSTM.
      bias: The biases, `[layers, 4 * units]` for an LSTM.
      parameters: The cell's own parameters, `[layers, ...]` each; an LSTM has none.
      plan: The execution plan.
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
        kernel_initializer: Any = "glorot_uniform",
        forget_bias: float = 1.0,
        dropout: float = 0.0,
        dropout_masks: Literal["step", "sequence"] = "step",
        seed: int | None = None,
        cell: str = "lstm",
        connection: Connection = "plain",
        **kwargs: Any,
    ):
        if kwargs.pop("recurrent_dropout", 0.0):
            raise InputError(
                "recurrent_dropout is not of a StackedLSTM; use dropout, which is that of the "
                "inputs and between the layers, or GridLSTM"
            )
        super().__init__(
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            zero_output_for_mask=zero_output_for_mask,
            dropout=dropout,
            dropout_masks=dropout_masks,
            seed=seed,
            autocast=False,
            **kwargs,
        )
        self.units = require_integer("units", units, 1)
        self.layers = self.state_layers = require_integer("layers", layers, 1)
        require_one_of("connection", connection, Connection)
        if connection == "highway" and cell != "lstm":
            raise InputError(
                f"cell is {cell!r} and connection 'highway', which is one of LSTMs; leave the cell "
                f"out, or use the connection 'residual'"
            )
        self.cell = cell
        self.connection = connection
        self._cell = HIGHWAY_LSTM if connection == "highway" else find_cell(cell)
        self.memory_width = (self._cell.memory_size or 1) * self.units
        self.is_bounded = self._cell.is_bounded and connection != "residual"
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.forget_bias = float(forget_bias)
        self.input_width = self.units
        self.plan: Plan = PLAIN

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables."""
        if input_shape[-1] != self.units:
            raise InputError(
                f"the input is {input_shape[-1]} wide; a StackedLSTM of {self.units} units needs "
                f"inputs of that width, as from Dense({self.units})"
            )
        initializers = VariableInitializers(self.kernel_initializer)
        self.kernel = self.add_weight(
            autocast=False,
            name="kernel",
            shape=(self.layers, 2 * self.units, self._cell.kernel_gates * self.units),
            initializer=initializers.of_layers(self.layers),
        )
        self.bias = self.add_weight(
            autocast=False,
            name="bias",
            shape=(self.layers, self._cell.gates * self.units),
            initializer=lambda shape, dtype: with_forget_bias(
                self._cell, tf.zeros(shape, dtype), self.forget_bias
            ),
        )
        self.parameters = add_parameters(self, self._cell, self.units, self.layers, initializers)
        # A tf.train.Checkpoint finds variables by attributes, and none within a tuple.
        for parameter, variable in zip(self._cell.parameters, self.parameters, strict=True):
            setattr(self, f"cell_{parameter.name}", variable)
        super().build(input_shape)
        self.built = True

    def weight_tensors(self) -> StackedWeights:
        """Returns the weights as tensors, with kernels as products take them."""
        return StackedWeights(
            kernel=self._cell.product_kernel(tf.convert_to_tensor(self.kernel), own=TIME),
            bias=tf.convert_to_tensor(self.bias),
            parameters=tuple(map(tf.convert_to_tensor, self.parameters)),
        )

    def stored_weights(self, kernel_dtype: str | None) -> StackedWeights:
        """Returns copies of the weights as variables that are not trained.

        Args:
          kernel_dtype: The dtype of the kernels; None to leave the kernels out.
        """
        weights = self.weight_tensors()
        return StackedWeights(
            kernel=kernel_dtype and stored_variable(weights.kernel, kernel_dtype),
            bias=stored_variable(weights.bias),
            parameters=tuple(map(stored_variable, weights.parameters)),
        )

    def core_inputs(self, embedded: tf.Tensor) -> CoreInputs:
        """Returns the vectors that enter the bottom, from `[..., units]`."""
        return CoreInputs(hidden=tf.cast(embedded, self.compute_dtype))

    def over_time(
        self,
        inputs: CoreInputs,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
        weights: StackedWeights | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Runs the layers over a time-major sequence; see `core.RecurrentCore.over_time`."""
        masks = None
        if seed is not None and self.dropout and self.layers > 1:
            steps, batch, _ = shape_of(inputs.hidden)
            steps = 1 if self.masks_per_sequence else steps
            shape = [steps, self.layers - 1, batch, self.units]
            masks = dropout_mask(shape, self.dropout, seed, inputs.hidden.dtype)
        return stacked_lstm(
            inputs.hidden,
            state,
            weights or self.weight_tensors(),
            masks,
            self.plan.compilation,
            self.plan.remat_steps if training else 0,
            keep,
            training,
            self._cell,
            self.connection == "residual",
        )

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> PackedWeights:
        """Packs the kernels for `decode_step`; see `decoding.stacked_step.pack_stacked`."""
        is_residual = self.connection == "residual"
        return pack_stacked(self.weight_tensors(), precision, entering, self._cell, is_residual)

    def decode_step(
        self, packed: PackedWeights, weights: StackedWeights | None = None
    ) -> DecodeStep:
        """Returns the function that advances all layers by one step; see `core.RecurrentCore`."""
        is_residual = self.connection == "residual"
        return stacked_decode_step(
            packed, weights or self.weight_tensors(), self._cell, is_residual
        )

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        config = super().get_config()
        names = ["units", "layers", "cell", "connection", "forget_bias"]
        names += ["dropout", "dropout_masks", "seed"]
        config.update({name: getattr(self, name) for name in names})
        config["kernel_initializer"] = keras.saving.serialize_keras_object(self.kernel_initializer)
        return config
