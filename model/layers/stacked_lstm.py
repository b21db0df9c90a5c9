"""The stacked LSTM over a sequence as a Keras layer, the baseline of the Grid LSTM."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from ..config import Precision, require_integer
from ..core import CoreInputs, DecodeStep, State
from ..decoding.decode_step import PackedWeights, pack_stacked, stacked_decode_step
from ..errors import InputError
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import dropout_mask
from ..shapes import shape_of
from ..stacked.recurrence import stacked_lstm
from ..stacked.weights import StackedWeights
from .sequence import SequenceLayer
from .stored import stored_variable


@keras.saving.register_keras_serializable(package="grid_lstm")
class StackedLSTM(SequenceLayer):
    """A stack of LSTMs over a sequence, all layers of the same width.

        z = [h_below, h_time] W + b;  i, f, o, g of z;  m' = f * m + i * g;  h' = o * tanh(m')

    The first layer reads the inputs themselves, so these must be `units` wide. States are hidden
    and memory, both `[batch, layers, units]`. A masked step leaves the state as it is and repeats
    the output before it (zeros before the first).

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
      kernel_initializer: The initializer of all kernels.
      forget_bias: The initial bias of the forget gates. Default 1.
      dropout: The dropout rate of the inputs and between the layers. Default 0.
      dropout_masks: "step" for a new mask at each step, "sequence" for one per sequence.
      seed: The seed of the dropout; None for one drawn at random.
      **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
      input_width: The width of the inputs, `units`.
      kernel: The kernels, `[layers, 2 * units, 4 * units]`.
      bias: The biases, `[layers, 4 * units]`.
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
        kernel_initializer: Any = "glorot_uniform",
        forget_bias: float = 1.0,
        dropout: float = 0.0,
        dropout_masks: Literal["step", "sequence"] = "step",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            dropout=dropout,
            dropout_masks=dropout_masks,
            seed=seed,
            autocast=False,
            **kwargs,
        )
        require_integer("units", units, 1)
        require_integer("layers", layers, 1)
        self.units = units
        self.layers = layers
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.forget_bias = forget_bias
        self.input_width = units
        self.plan: Plan = PLAIN
        # Under `Model.fit` Keras compiles the whole step if all layers support it.
        self.supports_jit = False

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables."""
        if input_shape[-1] != self.units:
            raise InputError(
                f"the input is {input_shape[-1]} wide; a StackedLSTM of {self.units} units needs "
                f"inputs of that width, as from Dense({self.units})"
            )
        self.kernel = self.add_weight(
            autocast=False,
            name="kernel",
            shape=(self.layers, 2 * self.units, 4 * self.units),
            initializer=self.kernel_initializer,
        )
        start = tf.repeat(tf.constant([0, self.forget_bias, 0, 0], tf.float32), self.units)
        self.bias = self.add_weight(
            autocast=False,
            name="bias",
            shape=(self.layers, 4 * self.units),
            initializer=lambda shape, dtype: tf.cast(tf.broadcast_to(start, shape), dtype),
        )
        super().build(input_shape)
        self.built = True

    def weight_tensors(self) -> StackedWeights:
        """Returns the weights as tensors."""
        return StackedWeights(
            kernel=tf.convert_to_tensor(self.kernel), bias=tf.convert_to_tensor(self.bias)
        )

    def stored_weights(self, kernel_dtype: str | None) -> StackedWeights:
        """Returns copies of the weights as variables that are not trained.

        Args:
          kernel_dtype: The dtype of the kernels; None to leave the kernels out.
        """
        return StackedWeights(
            kernel=kernel_dtype and stored_variable(self.kernel, kernel_dtype),
            bias=stored_variable(self.bias),
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
            steps = steps if self.dropout_masks == "step" else 1
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
        )

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> PackedWeights:
        """Packs the kernels for `decode_step`; see `decoding.decode_step.pack_stacked`."""
        return pack_stacked(self.weight_tensors(), precision, entering)

    def decode_step(
        self, packed: PackedWeights, weights: StackedWeights | None = None
    ) -> DecodeStep:
        """Returns the function that advances all layers by one step; see `core.RecurrentCore`."""
        return stacked_decode_step(packed, weights or self.weight_tensors())

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        config = super().get_config()
        names = ("units", "layers", "forget_bias", "dropout", "dropout_masks", "seed")
        config.update({name: getattr(self, name) for name in names})
        config["kernel_initializer"] = keras.saving.serialize_keras_object(self.kernel_initializer)
        return config
