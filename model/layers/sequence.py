"""Sequence handling in the manner of `keras.layers.LSTM`, for layers that are recurrent cores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ..core import CoreInputs, RecurrentCore, State
from ..errors import InputError
from ..shapes import shape_of
from .seeded import SeededLayer


class _CarriedStates(tf.Module):
    """The states of a stateful layer, which as in Keras's layers are none of its weights.

    Keras takes each variable that an attribute of a layer holds for a weight, but does not look
    into modules. TensorFlow does, so that functions that call the layer can be saved.

    Attributes:
      states: The variables; None before they are created.
    """

    def __init__(self) -> None:
        super().__init__(name="states")
        self.states: list[keras.Variable] | None = None

    def create(self, batch: int, sizes: Sequence[tuple[int, ...]], dtype: str) -> None:
        """Creates the variables, of zeros.

        Args:
          batch: The number of batch rows.
          sizes: The shapes of hidden and memory of one row.
          dtype: The dtype of the variables.
        """
        self.states = [
            keras.Variable(tf.zeros([batch, *size]), dtype=dtype, trainable=False, name=name)
            for name, size in zip(("hidden", "memory"), sizes, strict=True)
        ]


class SequenceLayer(SeededLayer):
    """Runs a recurrent core over batch-major sequences: masks, states, direction and dropout.

    A subclass sets `units`, `state_layers` and `memory_width`, and implements `core_inputs` and
    `over_time` of `core.RecurrentCore`. States are hidden and memory, of the shapes
    `[batch, state_layers, units]` and `[batch, state_layers, memory_width]`. A masked step leaves
    the state as it is and repeats the output before it (zeros before the first), or puts out zeros
    with `zero_output_for_mask`.

    Args:
      return_sequences: Whether to return the outputs of all steps rather than of the last. Default
        False.
      return_state: Whether to return the final states after the outputs. Default False.
      go_backwards: Whether to read the sequence from its end, and return outputs in that order.
        Default False.
      stateful: Whether a batch begins with the final states of the batch before. Default False.
      zero_output_for_mask: Whether the output of a masked step is zeros. Default False.
      **kwargs: Arguments of the class that holds the weights.

    Attributes:
      state_size: The shapes of the states of one batch row, as `keras.layers.LSTM` has them.
      states: The states of a stateful layer once it is built; otherwise None.
    """

    units: int
    state_layers: int
    memory_width: int

    if TYPE_CHECKING:  # a definition here would hide that of the class that holds the weights
        core_inputs = RecurrentCore.core_inputs
        over_time = RecurrentCore.over_time

    def __init__(
        self,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self._carried = _CarriedStates()

    @property
    def state_size(self) -> list[tuple[int, int]]:
        """The shapes of hidden and memory of one batch row, `(layers, units)` each.

        A cell whose memory is wider than `units` has `(layers, memory_width)` for the second.
        """
        return [(self.state_layers, self.units), (self.state_layers, self.memory_width)]

    def get_initial_state(self, batch_size: int | tf.Tensor) -> list[tf.Tensor]:
        """Returns zero states: hidden in the compute dtype, memory in that of the weights.

        Args:
          batch_size: The number of batch rows.
        """
        dtypes = self.compute_dtype, self.variable_dtype
        return [
            tf.zeros([batch_size, *size], dtype)
            for size, dtype in zip(self.state_size, dtypes, strict=True)
        ]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights, and the states of a stateful layer."""
        if len(input_shape) != 3:
            raise InputError(
                f"the input's shape is {tuple(input_shape)}; a {type(self).__name__} needs "
                f"[batch, steps, features]"
            )
        batch = input_shape[0]
        if self.stateful and batch is None:
            raise InputError(
                "the batch size is unknown; a stateful layer needs it, as in "
                "Input(batch_shape=(32, None, 8))"
            )
        super().build(input_shape)
        if self.stateful and batch is not None:
            self._carried.create(batch, self.state_size, self.variable_dtype)

    @property
    def states(self) -> list | None:
        """The states of a stateful layer once it is built; otherwise None."""
        return self._carried.states

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Sequence[tf.Tensor] | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor | tuple[tf.Tensor, ...]:
        """Computes the outputs of a batch of sequences.

        Args:
          sequences: The sequences, `[batch, steps, features]`.
          initial_state: The initial hidden and memory, `[batch, layers, units]` each; None for
            zeros, or for the final state of the batch before in a stateful layer.
          mask: The mask, `[batch, steps]`, boolean, False for steps to skip; None for no mask.
          training: Whether dropout applies and a gradient will be taken. Default False.

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
        inputs = self._drop_inputs(tf.convert_to_tensor(sequences), seed, shared_axes=(1,))
        keep = None if mask is None else tf.cast(tf.transpose(_require_mask(mask)), tf.bool)
        if self.go_backwards:
            inputs = tf.reverse(inputs, [1])
            keep = None if keep is None else tf.reverse(keep, [0])
        entering = self.core_inputs(inputs)
        time_major = CoreInputs(
            *(None if part is None else tf.transpose(part, [1, 0, 2]) for part in entering)
        )
        state = self._initial_state(initial_state, batch)
        outputs, final = self.over_time(time_major, state, training, seed, keep)
        if keep is not None:
            if self.zero_output_for_mask:
                outputs = tf.where(keep[..., None], outputs, tf.zeros_like(outputs))
            else:
                outputs = _repeat_where_masked(outputs, keep)
        final = State(*(tf.transpose(part, [1, 0, 2]) for part in final))
        if self.stateful:
            assert self.states is not None
            for variable, value in zip(self.states, final, strict=True):
                variable.assign(tf.cast(value, variable.dtype))
        returned = tf.transpose(outputs, [1, 0, 2]) if self.return_sequences else outputs[-1]
        return (returned, *final) if self.return_state else returned

    def _initial_state(self, given: Sequence[tf.Tensor] | None, batch: int | tf.Tensor) -> State:
        """Returns the state before the first step, `[layers, batch, units]`."""
        if given is None:
            given = self.states
        if given is None:
            return State(
                hidden=tf.zeros([self.state_layers, batch, self.units], self.compute_dtype),
                memory=tf.zeros([self.state_layers, batch, self.memory_width], self.variable_dtype),
            )
        given = list(given)
        if [tuple(one.shape[1:]) for one in given] != self.state_size:
            expected = " and ".join(f"[batch, {size[0]}, {size[1]}]" for size in self.state_size)
            raise InputError(
                f"initial_state has the shapes {[tuple(one.shape) for one in given]}; expected "
                f"{expected}"
            )
        hidden, memory = (tf.transpose(tf.convert_to_tensor(one), [1, 0, 2]) for one in given)
        return State(hidden=hidden, memory=tf.cast(memory, self.variable_dtype))

    def reset_state(self) -> None:
        """Resets the states of a stateful layer to zeros."""
        for variable in self.states or ():
            variable.assign(tf.zeros_like(variable))

    reset_states = reset_state

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        """Passes the mask on with the sequences."""
        through = mask if self.return_sequences else None
        return [through, None, None] if self.return_state else through

    def compute_output_shape(self, sequences_shape: Sequence, *_: Any, **__: Any) -> Any:
        """Returns the shapes of what `call` returns."""
        batch, steps = sequences_shape[:2]
        outputs = (batch, steps, self.units) if self.return_sequences else (batch, self.units)
        hidden, memory = ((batch, *size) for size in self.state_size)
        return (outputs, hidden, memory) if self.return_state else outputs

    def compute_output_spec(self, sequences: Any, *_: Any, **__: Any) -> Any:
        """Returns the shapes and dtypes of what `call` returns; memory stays in that of weights."""
        shapes = self.compute_output_shape(sequences.shape)
        if not self.return_state:
            return keras.KerasTensor(shapes, self.compute_dtype)
        dtypes = self.compute_dtype, self.compute_dtype, self.variable_dtype
        return tuple(keras.KerasTensor(*pair) for pair in zip(shapes, dtypes, strict=True))

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        names = ["return_sequences", "return_state", "go_backwards", "stateful"]
        names.append("zero_output_for_mask")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _require_mask(mask: tf.Tensor) -> tf.Tensor:
    if len(mask.shape) != 2:
        raise InputError(f"the mask's shape is {tuple(mask.shape)}; expected [batch, steps]")
    return mask


def _repeat_where_masked(outputs: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Replaces the output of each masked step by that of the last kept step before it."""
    steps, batch, units = shape_of(outputs)
    last = tf.scan(tf.maximum, tf.where(keep, tf.range(1, steps + 1)[:, None], 0))  # 0 for none
    padded = tf.reshape(tf.pad(outputs, [[1, 0], [0, 0], [0, 0]]), [-1, units])
    return tf.gather(padded, last * batch + tf.range(batch))
