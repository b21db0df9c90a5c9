"""The forward pass of a character model, as functions of its weights.

The trained model and the frozen one hold their weights in different forms and share these
functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import tensorflow as tf

from ..core import CoreInputs, DecodeOutput, RecurrentCore, State
from ..decoding.packed_weights import PackedWeights
from ..grid.dropout import MaskUse, drop, seed_for
from .conditioning import UNCONDITIONED, Conditioning, add_inputs
from .config import ModelConfig
from .observed_core import read_by_steps

T = TypeVar("T")


class CharacterState(NamedTuple):
    """The state of a text after some of its characters.

    The character read last has not entered the core yet: it does so with the next step. So the
    first character of a text is predicted like any other, from the zero state.

    Attributes:
      previous: The id of the last character, `[batch]`, int32; `vocabulary_size` where there is
        none.
      hidden: The hidden vectors of the core, `[state_layers, batch, units]`.
      memory: The memory vectors of the core, `[state_layers, batch, memory_width]`.
      contexts: The state of each context, `[batch, state_width]`, float32; see
        `contexts.context.Context`.
    """

    previous: tf.Tensor
    hidden: tf.Tensor
    memory: tf.Tensor
    contexts: tuple[tf.Tensor, ...] = ()

    @classmethod
    def after(cls, previous: tf.Tensor, output: DecodeOutput) -> "CharacterState":
        """Returns the state after a decode step, which predicted a character.

        Args:
          previous: The id of the character, `[batch]`, int32.
          output: What the decode step returned.
        """
        return cls(previous, *output.state, contexts=output.contexts)


class OuterWeights(NamedTuple):
    """The weights around the core.

    Attributes:
      embedding: The embedding E, `[vocabulary_size + 1, input_width]`; its last row stands for "no
        known character".
      output_kernel: The output kernel W, `[units, vocabulary_size]`.
      output_bias: The output bias b, `[vocabulary_size]`.
    """

    embedding: tf.Tensor
    output_kernel: tf.Tensor
    output_bias: tf.Tensor


DecodeCharacter = Callable[..., tuple[tf.Tensor, DecodeOutput]]
"""A function `(state, gates=False)` that feeds the previous character to the core. It returns the
logits of the next character, `[batch, vocabulary_size]`, and the output of the core with the states
of the contexts."""


class LanguageModel(Protocol):
    """What `sampling` and `inspection` need of a model, trained or frozen.

    Attributes:
      config: The architecture.
      vocabulary_size: The number of distinct characters.
      state_layers: The number of layers of a state.
      memory_width: The width of the memory vectors of a state.
    """

    config: ModelConfig
    vocabulary_size: int

    @property
    def state_layers(self) -> int:
        """The number of layers of a state."""
        ...

    @property
    def memory_width(self) -> int:
        """The width of the memory vectors of a state."""
        ...

    def initial_state(self, batch: int | tf.Tensor) -> CharacterState:
        """Returns the state of texts of which nothing has been read."""
        ...

    def __call__(
        self, ids: tf.Tensor, state: CharacterState, *, keep: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, CharacterState]:
        """Computes the logits of given characters, and the state after them."""
        ...

    def decode_step(self) -> DecodeCharacter:
        """Returns the function that predicts the next character, to be called in a loop."""
        ...


def initial_state(
    core: RecurrentCore,
    vocabulary_size: int,
    batch: int | tf.Tensor,
    conditioning: Conditioning = UNCONDITIONED,
    given: Mapping[str, tf.Tensor] | None = None,
) -> CharacterState:
    """Returns the state of texts of which nothing has been read.

    Args:
      core: The recurrent core.
      vocabulary_size: The number of distinct characters.
      batch: The number of texts.
      conditioning: The contexts. Default: none.
      given: What contexts are that are given from outside, `[batch, ...]`, by their names. Default:
        nothing.
    """
    hidden = tf.zeros([core.state_layers, batch, core.units], tf.float32)
    memory = hidden
    if core.memory_width != core.units:
        memory = tf.zeros([core.state_layers, batch, core.memory_width], tf.float32)
    contexts = conditioning.initial_states(batch, given or {})
    hidden, memory = conditioning.enter_core_state(State(hidden, memory), contexts)
    previous = tf.fill([batch], tf.constant(vocabulary_size))
    return CharacterState(previous=previous, hidden=hidden, memory=memory, contexts=contexts)


def predict_sequence(
    core: RecurrentCore,
    core_weights: Any,
    weights: OuterWeights,
    ids: tf.Tensor,
    state: CharacterState,
    training: bool = False,
    seed: tf.Tensor | None = None,
    dropout: float = 0.0,
    keep: tf.Tensor | None = None,
    conditioning: Conditioning = UNCONDITIONED,
) -> tuple[tf.Tensor, CharacterState]:
    """Computes the logits of given characters.

    Args:
      core: The recurrent core.
      core_weights: The weights of the core; None for its own.
      weights: The weights around the core.
      ids: The characters to predict, `[batch, steps]`, int32, at least one step.
      state: The state before them.
      training: Whether a gradient will be taken.
      seed: The seed of the dropout masks, `[2]`, int32; None for no dropout.
      dropout: The dropout rate before the output.
      keep: The mask, `[batch, steps]`, boolean, False after the end of a text, where its state
        stays as it is; None for texts of the same length.
      conditioning: The contexts. Default: none.

    Returns:
      The logits, `[steps, batch, vocabulary_size]`, time-major, where row t has seen the characters
      before t and not t itself; and the state after the last character.
    """
    time_major = tf.transpose(ids)
    previous = tf.concat([state.previous[None], time_major[:-1]], axis=0)
    time_keep = None if keep is None else tf.transpose(keep)
    embedded = tf.gather(weights.embedding, previous)
    core_state = State(hidden=state.hidden, memory=state.memory)
    core_seed = seed_for(seed, MaskUse.CORE)
    if conditioning.observes_core:
        outputs, core_state, readings = read_by_steps(
            core,
            core_weights,
            conditioning,
            previous,
            embedded,
            core_state,
            state.contexts,
            training=training,
            seed=core_seed,
            keep=time_keep,
        )
    else:
        readings = conditioning.read(previous, state.contexts, time_keep, training)
        outputs, core_state = core.over_time(
            core.core_inputs(add_inputs(embedded, readings)),
            core_state,
            training=training,
            seed=core_seed,
            keep=time_keep,
            weights=core_weights,
        )
    outputs = drop(outputs, dropout, seed_for(seed, MaskUse.OUTPUT))
    hidden, memory = (tf.cast(part, tf.float32) for part in core_state)
    last = time_major[-1]
    if keep is not None:
        lengths = tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)
        with_previous = tf.concat([state.previous[:, None], ids], axis=1)
        last = tf.gather(with_previous, lengths, batch_dims=1)
    rows = tf.reshape(outputs, [-1, outputs.shape[-1]])
    flat = compute_logits(rows, weights, outputs.dtype)
    flat = conditioning.change_logits(readings, rows, flat, outputs.dtype)
    shape = tf.concat([tf.shape(outputs)[:-1], flat.shape[-1:]], axis=0)
    logits = tf.reshape(flat, shape)
    contexts = tuple(reading.state for reading in readings)
    return logits, CharacterState(last, hidden, memory, contexts)


def predict_by_steps(
    predict: Callable[..., tuple[tf.Tensor, CharacterState]],
    ids: tf.Tensor,
    state: CharacterState,
    keep: tf.Tensor | None,
    vocabulary_size: int,
) -> tuple[tf.Tensor, CharacterState]:
    """Computes the logits of given characters one after the other; see `predict_sequence`.

    Args:
      predict: A function of the number of the step, the characters to predict, `[batch]`, and the
        state before them, to their logits, `[batch, vocabulary_size]`, and the state after them.
      ids: The characters to predict, `[batch, steps]`, int32.
      state: The state before them.
      keep: The mask, `[batch, steps]`, boolean; None for none.
      vocabulary_size: The number of distinct characters.
    """

    def step(at: tf.Tensor, state: CharacterState, logits: tf.TensorArray) -> tuple:
        scores, new = predict(at, ids[:, at], state)
        if keep is not None:
            new = choose_rows(keep[:, at], new, state)
        return at + 1, new, logits.write(at, scores)

    steps = tf.shape(ids)[1]
    logits = tf.TensorArray(tf.float32, steps, element_shape=[None, vocabulary_size])
    _, state, logits = tf.while_loop(
        lambda at, *_: at < steps,
        step,
        (0, CharacterState(*state), logits),
        maximum_iterations=ids.shape[1],  # which XLA asks for where there are gradients
    )
    return logits.stack(), state


def drop_connections(core_weights: T, rate: float, seed: tf.Tensor) -> T:
    """Returns the weights of a core without some of the connections that its kernels are.

    Wan et al., "Regularization of Neural Networks using DropConnect" (2013); on recurrent kernels
    Merity et al., "Regularizing and Optimizing LSTM Language Models" (arXiv 1708.02182). A kernel
    has one mask for all steps of a window, and what is left of it is scaled by 1 / (1 - rate).

    Args:
      core_weights: The weights, in the structure of `RecurrentCore.weight_tensors`; those of rank 3
        are the kernels.
      rate: The dropout rate.
      seed: The seed of the masks, `[2]`, int32.
    """
    flat = tf.nest.flatten(core_weights)
    seed = seed_for(seed, MaskUse.WEIGHTS)
    for number, weight in enumerate(flat):
        if weight is not None and weight.shape.rank == 3:
            mask_seed = tf.random.experimental.stateless_fold_in(seed, number)
            flat[number] = drop(weight, rate, mask_seed)
    return tf.nest.pack_sequence_as(core_weights, flat)


def decode_characters(
    core: RecurrentCore,
    core_weights: Any,
    packed: PackedWeights,
    weights: OuterWeights,
    compute_dtype: str,
    conditioning: Conditioning = UNCONDITIONED,
) -> DecodeCharacter:
    """Returns the function that predicts the next character, to be called in a loop.

    Args:
      core: The recurrent core.
      core_weights: The weights of the core, whose kernels are not used; None for its own.
      packed: The packed kernels of the core.
      weights: The weights around the core.
      compute_dtype: The dtype of the product with the output kernel.
      conditioning: The contexts. Default: none. With one that enters the input, the packed kernels
        have no table.
    """
    step = core.decode_step(packed, core_weights)

    def decode(state: CharacterState, gates: bool = False) -> tuple[tf.Tensor, DecodeOutput]:
        readings = conditioning.read_one(state.previous, state.contexts)
        embedded = tf.gather(weights.embedding, state.previous)
        if conditioning.enters_input:
            embedded = add_inputs(embedded[None], readings)[0]
        inputs = decode_inputs(core, embedded)
        if packed.table:
            inputs = inputs._replace(hidden=state.previous)
        begun = conditioning.restart_core(
            State(hidden=state.hidden, memory=state.memory),
            state.previous,
            state.contexts,
            readings,
        )
        output = step(inputs, begun, gates)
        logits = compute_logits(output.hidden, weights, compute_dtype)
        logits = conditioning.change_logits(readings, output.hidden, logits, compute_dtype)
        states = [reading.state for reading in readings]
        contexts = conditioning.observe(state.previous, states, output.hidden)
        return logits, output._replace(contexts=contexts)

    return decode


def decode_inputs(core: RecurrentCore, embedded: tf.Tensor) -> CoreInputs:
    """Returns what enters the bottom of a core in a decode step, in the dtype of its memories."""
    inputs = core.core_inputs(embedded)
    return CoreInputs(*(None if part is None else tf.cast(part, tf.float32) for part in inputs))


def compute_logits(hidden: tf.Tensor, weights: OuterWeights, dtype: Any) -> tf.Tensor:
    """Computes `[rows, vocabulary_size]` logits from hidden vectors `[rows, units]`.

    Args:
      hidden: The hidden vectors at the top.
      weights: The weights around the core.
      dtype: The dtype of the product; the logits are float32.
    """
    product = tf.matmul(tf.cast(hidden, dtype), tf.cast(weights.output_kernel, dtype))
    return tf.cast(product, tf.float32) + weights.output_bias


def batch_axis(part: tf.Tensor) -> int:
    """Returns the axis of the texts in a part of a state: those of rank 3 begin with the layers."""
    return 1 if len(part.shape) == 3 else 0


def choose_rows(chosen: tf.Tensor, new: T, old: T) -> T:
    """Chooses, row by row, between two states of the same structure.

    The batch is the axis `batch_axis` of each part.

    Args:
      chosen: Whether each row is the new one, `[batch]`, boolean.
      new: The new state.
      old: The old state.
    """

    def choose(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        rows = [1] * len(new.shape)
        rows[batch_axis(new)] = -1
        return tf.where(tf.reshape(chosen, rows), new, old)

    return tf.nest.map_structure(choose, new, old)
