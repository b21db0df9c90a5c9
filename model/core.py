"""Recurrent cores: the net between the embedding and the output of a language model.

A core is what a language model needs of `layers.GridLSTM`, of `layers.StackedLSTM` or of another
net; `language_model.config` has the registry.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from .config import Precision


class State(NamedTuple):
    """The recurrent state that a core carries along time.

    Attributes:
      hidden: The hidden vectors, `[state_layers, batch, units]`.
      memory: The memory vectors, `[state_layers, batch, memory_width]`.
    """

    hidden: tf.Tensor
    memory: tf.Tensor


class CoreInputs(NamedTuple):
    """The vectors that enter the bottom of a core.

    Attributes:
      hidden: The hidden vectors, `[..., units]`.
      memory: The memory vectors, `[..., memory_size * units]`, for the cell of depth; None for a
        core without memory along depth.
    """

    hidden: tf.Tensor
    memory: tf.Tensor | None = None


class DecodeOutput(NamedTuple):
    """The result of one decode step.

    Attributes:
      hidden: The hidden vector at the top, `[batch, units]`.
      state: The new state.
      gates: The activations of the cells, `[layers, dimensions, batch, gates * units]`: of an LSTM
        the gates i, f, o and g. A stacked net has the dimension of time alone, and a cell with
        fewer gates than another has zeros after them. None unless requested.
      memories: The memories of the layers that gates are of, `[layers, batch, memory_width]`, where
        they are not those of the state; else None.
      contexts: The states of the contexts of a language model after the step, which
        `language_model.forward` adds. Default: none.
    """

    hidden: tf.Tensor
    state: State
    gates: tf.Tensor | None = None
    memories: tf.Tensor | None = None
    contexts: tuple[tf.Tensor, ...] = ()


DecodeStep = Callable[..., DecodeOutput]
"""A function `(inputs, state, gates=False)` that advances all layers by one time step.

`inputs` are `CoreInputs` of `[batch, units]`, `gates` says whether to return the gates. With a
table of products (`decoding.packed_weights.PackedWeights.table`) `inputs.hidden` is the row of the
table, `[batch]`.
"""


class RecurrentCore(Protocol):
    """The interface of a recurrent core, which Keras layers fulfil.

    Attributes:
      units: The width of each layer.
      state_layers: The number of layers with a state of their own.
      memory_width: The width of the memory vectors of the state.
      input_width: The width of the embedded inputs that `core_inputs` takes.
      is_bounded: Whether all hidden vectors that enter products lie within [-1, 1], as kernels of
        8-bit integers need it.
      masks_per_sequence: Whether all steps of a call have the same masks of dropout.
      plan: The execution plan, an `execution.plan.Plan`.
      trainable_variables: The trainable variables, as Keras has them.
    """

    units: int
    state_layers: int
    memory_width: int
    input_width: int
    is_bounded: bool
    masks_per_sequence: bool
    plan: Any
    trainable_variables: list

    def build(self, input_shape: Any) -> None:
        """Creates the variables."""
        ...

    def core_inputs(self, embedded: tf.Tensor) -> CoreInputs:
        """Returns the vectors that enter the bottom, from `[..., input_width]`."""
        ...

    def over_time(
        self,
        inputs: CoreInputs,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
        weights: Any = None,
    ) -> tuple[tf.Tensor, State]:
        """Runs the core over a time-major sequence.

        Args:
          inputs: The vectors that enter, `[steps, batch, units]`.
          state: The state before the first step.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout, `[2]`; None for no dropout.
          keep: The mask, `[steps, batch]`, boolean; a step where it is False leaves the state as it
            is. None for no mask.
          weights: Weights in place of the core's own, in the structure of `weight_tensors`.

        Returns:
          The hidden vectors at the top, `[steps, batch, units]`, and the state after the last step.
        """
        ...

    def weight_tensors(self) -> Any:
        """Returns the weights of all layers as a structure of tensors."""
        ...

    def stored_weights(self, kernel_dtype: str | None) -> Any:
        """Returns copies of the weights as variables that are not trained.

        Args:
          kernel_dtype: The dtype of the kernels; None to leave the kernels out, for weights that
            only `decode_step` uses, which has packed ones.
        """
        ...

    def pack(self, precision: Precision, entering: tf.Tensor | None = None) -> Any:
        """Packs the kernels for `decode_step`.

        Args:
          precision: The precision of the packed kernels.
          entering: All hidden vectors that can enter the bottom, `[vectors, units]`, for a table of
            their products; None for no table.
        """
        ...

    def decode_step(self, packed: Any, weights: Any = None) -> DecodeStep:
        """Returns the function that advances all layers by one time step.

        Args:
          packed: The kernels as `pack` returned them.
          weights: Weights in place of the core's own; their kernels are not used.
        """
        ...
