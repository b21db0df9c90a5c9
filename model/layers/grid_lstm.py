"""Grid LSTMs as Keras layers; argument names are those of `keras.layers.LSTM`.

The layers hold weights and call the pure functions; see `grid_layer.GridLayer` for the arguments
that they share.
"""

from typing import Literal

import keras
import tensorflow as tf

from ..core import State
from ..decoding.decode_step import Column, Packed, grid_steps, pack_grid
from ..decoding.packed_kernels import Precision
from ..errors import InputError
from ..grid.reference import Sides
from ..shapes import shape_of
from .grid_layer import GridLayer


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTM(GridLayer):
    """A 2-D Grid LSTM over a sequence, in the place of `keras.layers.LSTM`.

    Dimension 0 is time, dimension 1 is depth. States are hidden and memory, both
    `[batch, layers, units]`. A masked step leaves the state as it is and repeats the output before
    it (zeros before the first).

    Args:
      return_sequences: whether to return the outputs of all steps or of the last.
      return_state: whether to return the final states, too.
      go_backwards: whether to read the sequence from its end, and return outputs in that order.
      stateful: whether a batch begins where the one before it ended.
      unroll: accepted for `keras.layers.LSTM`'s sake and without effect; likewise use_cudnn.
      activation: of the candidate and the output; only "tanh".
      recurrent_activation: of the gates; only "sigmoid".
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        use_cudnn: bool | Literal["auto"] = "auto",
        **kwargs,
    ):
        super().__init__(units, layers, **kwargs)
        for name, value, only in (
            ("activation", activation, "tanh"),
            ("recurrent_activation", recurrent_activation, "sigmoid"),
        ):
            if keras.activations.get(value) is not keras.activations.get(only):
                raise InputError(f"{name} is {value!r}; a Grid LSTM has only {only!r}")
        self._set_dimensions(2)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.use_cudnn = use_cudnn
        self.supports_masking = True
        self.states = None

    def build(self, input_shape) -> None:
        if len(input_shape) != 3:
            raise InputError(
                f"the input's shape is {tuple(input_shape)}; a GridLSTM wants "
                f"[batch, steps, features]"
            )
        super().build(input_shape)
        if self.stateful:
            if input_shape[0] is None:
                raise InputError(
                    "the batch size is unknown; a stateful layer needs it, as in "
                    "Input(batch_shape=(32, None, 8))"
                )
            shape = (input_shape[0], self.layers, self.units)
            self.states = [
                self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)
                for name in ("hidden", "memory")
            ]

    def call(self, sequences, initial_state=None, mask=None, training: bool = False):
        """A sequence.

        Args:
          sequences: `[batch, steps, features]`.
          initial_state: hidden and memory, `[batch, layers, units]` each; zeros where it is None.
          mask: `[batch, steps]`, boolean, False for steps to pass over.
          training: whether dropout applies and a gradient will be asked for.

        Returns:
          `[batch, units]`, or `[batch, steps, units]` with return_sequences; with return_state
          followed by the final hidden and memory.
        """
        if sequences.shape.rank != 3:
            raise InputError(
                f"the input's shape is {sequences.shape}; expected [batch, steps, features]"
            )
        batch = shape_of(sequences)[0]
        seed = self._next_seed(training)
        inputs = self._drop_inputs(tf.convert_to_tensor(sequences), seed, axes=(1,))
        keep = None if mask is None else tf.cast(tf.transpose(self._checked(mask)), tf.bool)
        if self.go_backwards:
            inputs = tf.reverse(inputs, [1])
            keep = None if keep is None else tf.reverse(keep, [0])
        hidden, memory = (tf.transpose(part, [1, 0, 2]) for part in self.enter(inputs))
        state = self._initial_state(initial_state, batch)
        outputs, final = self.over_time(hidden, memory, state, training, seed, keep)
        if keep is not None:
            outputs = _repeat_where_masked(outputs, keep)
        final = [tf.transpose(part, [1, 0, 2]) for part in final]
        if self.stateful:
            for variable, value in zip(self.states, final, strict=True):
                variable.assign(tf.cast(value, variable.dtype))
        returned = tf.transpose(outputs, [1, 0, 2]) if self.return_sequences else outputs[-1]
        return (returned, *final) if self.return_state else returned

    def over_time(
        self,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """The grid over a time-major sequence.

        Args:
          hidden: `[steps, batch, units]`, enters the bottom of depth; likewise memory.
          memory: see hidden.
          state: before the first step.
          training: whether a gradient will be asked for.
          seed: `[2]`, of the dropout; None for no dropout.
          keep: `[steps, batch]`, boolean, False for steps that leave the state as it is.

        Returns:
          Hidden vectors at the top, `[steps, batch, units]`, and the state after the last step.
        """
        sides = Sides(
            (tf.cast(state.hidden, self.compute_dtype), hidden),
            (tf.cast(state.memory, memory.dtype), memory),
        )
        keep = None if keep is None else keep[:, None]
        extents = (shape_of(hidden)[0], self.layers)
        leaving = self.run(sides, extents, training, seed, keep)
        return leaving.hidden[1], State(leaving.hidden[0], leaving.memory[0])

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> Packed:
        """The kernels as `column` wants them; see `column.pack_grid`."""
        return pack_grid(self.weights_now, self.equations, precision, entering)

    def column(self, packed: Packed) -> Column:
        """One time step, for a loop; takes what `enter` returns and the state."""
        return grid_steps(packed, self.weights_now, self.equations)

    def _initial_state(self, given, batch):
        if given is None:
            given = self.states
        if given is None:
            hidden, memory = self.zeros(0, [self.layers, batch])
            return State(hidden, memory)
        given = list(given)
        expected = (self.layers, self.units)
        if len(given) != 2 or any(tuple(one.shape[1:]) != expected for one in given):
            raise InputError(
                f"initial_state has the shapes {[tuple(one.shape) for one in given]}; expected two "
                f"of [batch, {self.layers}, {self.units}]"
            )
        return State(*(tf.transpose(tf.convert_to_tensor(one), [1, 0, 2]) for one in given))

    @staticmethod
    def _checked(mask):
        if len(mask.shape) != 2:
            raise InputError(f"the mask's shape is {tuple(mask.shape)}; expected [batch, steps]")
        return mask

    def reset_state(self) -> None:
        """Begins new sequences, for a stateful layer."""
        for variable in self.states or ():
            variable.assign(tf.zeros_like(variable))

    def compute_mask(self, _, mask=None):
        """The mask goes on with the sequences."""
        through = mask if self.return_sequences else None
        return [through, None, None] if self.return_state else through

    def compute_output_shape(self, sequences_shape, *_, **__):
        """See `call`."""
        batch, steps = sequences_shape[:2]
        outputs = (batch, steps, self.units) if self.return_sequences else (batch, self.units)
        state = (batch, self.layers, self.units)
        return (outputs, state, state) if self.return_state else outputs

    def get_config(self) -> dict:
        own = (
            "return_sequences",
            "return_state",
            "go_backwards",
            "stateful",
            "unroll",
            "use_cudnn",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _repeat_where_masked(outputs, keep):
    """Each step's output, or that of the last step before it that is kept."""
    steps, batch, units = shape_of(outputs)
    last = tf.scan(tf.maximum, tf.where(keep, tf.range(1, steps + 1)[:, None], 0))  # 0 for none
    padded = tf.reshape(tf.pad(outputs, [[1, 0], [0, 0], [0, 0]]), [-1, units])
    return tf.gather(padded, last * batch + tf.range(batch))
