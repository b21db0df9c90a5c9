"""The stacked LSTM, the baseline of the Grid LSTM, with a hand-written gradient.

A 2-D grid whose depth dimension is a plain identity is this net. Its layers are run one after the
other over the whole sequence, because then the input half of every product is a single tall one.
"""

import keras
import tensorflow as tf

from ..core import State
from ..decoding.decode_step import Column, Packed, pack_stacked, stacked_steps, stored_kernel
from ..decoding.packed_kernels import Precision
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import dropout_mask
from ..shapes import shape_of
from ..stacked.recurrence import stacked_lstm
from ..stacked.weights import StackedWeights


class StackedLSTM(keras.layers.Layer):
    """A stacked LSTM over a time-major sequence, all layers of the same width.

    Args:
      units: width of each layer.
      layers: how many.
      kernel_initializer: of all kernels.
      forget_bias: initial bias of the forget gates.
      dropout: rate between the layers, with new masks at each step.

    Attributes:
      input_width: units.
      kernel: `[layers, 2 * units, 4 * units]`.
      bias: `[layers, 4 * units]`.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        kernel_initializer="glorot_uniform",
        forget_bias: float = 1.0,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.layers = layers
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.forget_bias = forget_bias
        self.dropout = dropout
        self.input_width = units
        self.plan: Plan = PLAIN

    def build(self, _=None) -> None:
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
        self.built = True

    @property
    def weights_now(self) -> StackedWeights:
        """The weights as tensors."""
        kernel = None if self.kernel is None else tf.convert_to_tensor(self.kernel)
        return StackedWeights(kernel, tf.convert_to_tensor(self.bias))

    def store_kernels(self, dtype: str | None) -> None:
        """Replaces the kernels by copies in a dtype, for a layer no longer trained; None drops them
        where only `column` is called, which has its own."""
        self.kernel = dtype and stored_kernel(self.kernel, dtype)

    @property
    def weights_in_use(self) -> list:
        """All variables, stored kernels among them."""
        return [part for part in (self.kernel, self.bias) if part is not None]

    def enter(self, inputs: tf.Tensor) -> tuple[tf.Tensor]:
        """What `over_time` and `step` want of `[..., units]`."""
        return (tf.cast(inputs, self.compute_dtype),)

    def call(self, sequences: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[batch, steps, units]` to the same, from the zero state and without dropout."""
        (hidden,) = self.enter(tf.transpose(sequences, [1, 0, 2]))
        zeros = tf.zeros([self.layers, *shape_of(hidden)[1:]], self.variable_dtype)
        outputs, _ = self.over_time(hidden, State(zeros, zeros), training)
        return tf.transpose(outputs, [1, 0, 2])

    def over_time(
        self,
        hidden: tf.Tensor,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """The whole sequence; as `layers.GridLSTM.over_time`, without a memory at the bottom."""
        masks = None
        if seed is not None and self.dropout and self.layers > 1:
            steps, batch, _ = shape_of(hidden)
            shape = [steps, self.layers - 1, batch, self.units]
            masks = dropout_mask(shape, self.dropout, seed, hidden.dtype)
        plan = self.plan
        recompute = plan.recompute if training else 0
        return stacked_lstm(
            hidden, state, self.weights_now, masks, plan.compilation, recompute, keep
        )

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> Packed:
        """The kernels as `column` wants them; see `column.pack_grid`."""
        return pack_stacked(self.weights_now, precision, entering)

    def column(self, packed: Packed) -> Column:
        """One time step, for a loop; takes what `enter` returns and the state."""
        return stacked_steps(packed, self.weights_now)
