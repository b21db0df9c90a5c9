"""The recurrent highway network as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..config import Precision, require_integer
from ..core import CoreInputs, DecodeStep, State
from ..decoding.highway_step import highway_decode_step, pack_highway
from ..decoding.packed_weights import PackedWeights
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import dropout_mask
from ..highway.gate import TRANSFORM
from ..highway.recurrence import HighwayWeights, recurrent_highway
from ..shapes import shape_of
from .initialization import VariableInitializers
from .sequence import SequenceLayer
from .stored import stored_variable


@keras.saving.register_keras_serializable(package="grid_lstm")
class RecurrentHighway(SequenceLayer):
    """A recurrent highway network: a recurrent net whose step is a highway network of its own.

        s_0(t) = s_L(t - 1)
        t_l = sigmoid(x W_t [l = 1] + s_{l-1} R_t^l + b_t^l)
        h_l = tanh(x W_h [l = 1] + s_{l-1} R_h^l + b_h^l)
        s_l = t_l * h_l + (1 - t_l) * s_{l-1};  the output is s_L(t)

    Zilly, Srivastava, Koutnik, Schmidhuber, "Recurrent Highway Networks" (arXiv 1607.03474),
    section 4, with coupled gates. Where a stacked net has a state per layer, this one has a single
    state, which passes through all micro-layers at each step. It is returned and taken twice, as
    hidden and memory, `[batch, 1, units]`: the first in the compute dtype, the second in that of
    the weights. A masked step leaves the state as it is and repeats the output before it (zeros
    before the first), or puts out zeros with `zero_output_for_mask`.

    >>> layer = RecurrentHighway(4, depth=3, return_sequences=True)
    >>> layer(np.zeros([2, 5, 8], "float32")).shape
    TensorShape([2, 5, 4])

    Args:
      units: The width of the state.
      depth: The number of micro-layers L of a step. Default 1.
      return_sequences: Whether to return the outputs of all steps rather than of the last. Default
        False.
      return_state: Whether to return the final states after the outputs. Default False.
      go_backwards: Whether to read the sequence from its end, and return outputs in that order.
        Default False.
      stateful: Whether a batch begins with the final states of the batch before. Default False.
      zero_output_for_mask: Whether the output of a masked step is zeros. Default False.
      kernel_initializer: The initializer of the kernel of the inputs and of those of the state.
      transform_bias: The initial bias of the transform gates t. Default -2: negative, so that a
        deep net initially carries its state along.
      dropout: The dropout rate of the inputs. Default 0.
      recurrent_dropout: The dropout rate of the state where it enters products. Default 0. Both
        have one mask per sequence (variational dropout), which all micro-layers share.
      seed: The seed of the dropout; None for one drawn at random.
      **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
      state_layers: The number of layers with a state, 1.
      input_width: The width of the inputs of a character model, `units`.
      memory_width: The width of the memory of the state, `units`.
      is_bounded: Whether the states lie within [-1, 1], whatever the first is: False.
      kernel: The kernel of the inputs, `[features, 2 * units]`, of t and then of h.
      recurrent_kernel: The kernels of the state, `[depth, units, 2 * units]`.
      bias: The biases, `[depth, 2 * units]`.
      plan: The execution plan.
    """

    def __init__(
        self,
        units: int,
        depth: int = 1,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        transform_bias: float = -2.0,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            zero_output_for_mask=zero_output_for_mask,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            dropout_masks="sequence",
            seed=seed,
            autocast=False,
            **kwargs,
        )
        self.units = self.memory_width = self.input_width = require_integer("units", units, 1)
        self.depth = require_integer("depth", depth, 1)
        self.state_layers = 1
        self.is_bounded = False  # a state that a client sends may be anything
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.transform_bias = float(transform_bias)
        self.plan: Plan = PLAIN

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables."""
        initializers = VariableInitializers(self.kernel_initializer)
        self.kernel = self.add_weight(
            autocast=False,
            name="kernel",
            shape=(input_shape[-1], 2 * self.units),
            initializer=initializers.of_variable(),
        )
        self.recurrent_kernel = self.add_weight(
            autocast=False,
            name="recurrent_kernel",
            shape=(self.depth, self.units, 2 * self.units),
            initializer=initializers.of_layers(self.depth),
        )
        self.bias = self.add_weight(
            autocast=False,
            name="bias",
            shape=(self.depth, 2 * self.units),
            initializer=self._initial_bias,
        )
        super().build(input_shape)
        self.built = True

    def _initial_bias(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        gates = tf.split(tf.zeros(shape, dtype), 2, axis=-1)
        gates[TRANSFORM] += self.transform_bias
        return tf.concat(gates, axis=-1)

    def weight_tensors(self) -> HighwayWeights:
        """Returns the weights as tensors."""
        return HighwayWeights(
            kernel=tf.convert_to_tensor(self.kernel),
            recurrent_kernel=tf.convert_to_tensor(self.recurrent_kernel),
            bias=tf.convert_to_tensor(self.bias),
        )

    def stored_weights(self, kernel_dtype: str | None) -> HighwayWeights:
        """Returns copies of the weights as variables that are not trained.

        Args:
          kernel_dtype: The dtype of the kernels; None to leave the kernels out.
        """
        weights = self.weight_tensors()
        return HighwayWeights(
            kernel=kernel_dtype and stored_variable(weights.kernel, kernel_dtype),
            recurrent_kernel=kernel_dtype
            and stored_variable(weights.recurrent_kernel, kernel_dtype),
            bias=stored_variable(weights.bias),
        )

    def core_inputs(self, embedded: tf.Tensor) -> CoreInputs:
        """Returns the vectors that enter the first micro-layer, from `[..., features]`."""
        return CoreInputs(hidden=tf.cast(embedded, self.compute_dtype))

    def over_time(
        self,
        inputs: CoreInputs,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
        weights: HighwayWeights | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Runs the net over a time-major sequence; see `core.RecurrentCore.over_time`."""
        mask = None
        if seed is not None and self.recurrent_dropout:
            shape = [1, 1, shape_of(inputs.hidden)[1], self.units]
            mask = dropout_mask(shape, self.recurrent_dropout, seed, inputs.hidden.dtype)
        return recurrent_highway(
            inputs.hidden,
            state,
            weights or self.weight_tensors(),
            mask,
            self.plan.compilation,
            self.plan.remat_steps if training else 0,
            keep,
            training,
        )

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> PackedWeights:
        """Packs the kernels for `decode_step`; see `decoding.highway_step.pack_highway`."""
        return pack_highway(self.weight_tensors(), precision, entering)

    def decode_step(
        self, packed: PackedWeights, weights: HighwayWeights | None = None
    ) -> DecodeStep:
        """Returns the function that computes one time step; see `core.RecurrentCore`."""
        return highway_decode_step(packed, weights or self.weight_tensors())

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        config = super().get_config()
        names = ("units", "depth", "transform_bias", "dropout", "recurrent_dropout", "seed")
        config.update({name: getattr(self, name) for name in names})
        config["kernel_initializer"] = keras.saving.serialize_keras_object(self.kernel_initializer)
        return config
