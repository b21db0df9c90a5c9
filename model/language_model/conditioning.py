"""The contexts of a language model, and where they enter its forward pass.

`model.contexts.context` says what a context is. Without contexts nothing here adds an operation.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..contexts.context import Context, ContextReading, NetShape
from ..contexts.registry import CONTEXTS, parse_context
from ..core import RecurrentCore, State
from ..execution.plan import Plan
from .config import ModelConfig


class Conditioning(NamedTuple):
    """The contexts of a model, with the weights that they use.

    Attributes:
      contexts: The contexts.
      weights: The weights of each, as `Context.weight_tensors` returns them.
    """

    contexts: Sequence[Context] = ()
    weights: Sequence[Any] = ()

    @property
    def enters_input(self) -> bool:
        """Whether anything but the embedding enters the core."""
        return any(context.enters_input for context in self.contexts)

    @property
    def observes_core(self) -> bool:
        """Whether the model is run step by step, as a context waits for the core."""
        return any(context.observes_core for context in self.contexts)

    def initial_states(
        self, batch: int | tf.Tensor, given: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        """Returns the states of texts of which nothing has been read.

        Args:
          batch: The number of texts.
          given: What contexts are that are given from outside, by their names.
        """
        return tuple(one.initial_state(batch, given.get(one.name)) for one in self.contexts)

    def enter_core_state(self, state: State, states: Sequence[tf.Tensor]) -> State:
        """Adds what contexts add to the state of the core before the first character.

        Args:
          state: The state of the core.
          states: The states of the contexts.
        """
        for context, weights, one in zip(self.contexts, self.weights, states, strict=True):
            added = context.core_state(weights, one)
            if added is not None:
                state = State(state.hidden + added.hidden, state.memory + added.memory)
        return state

    def read(
        self,
        ids: tf.Tensor,
        states: Sequence[tf.Tensor],
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> list[ContextReading]:
        """Has all contexts read characters as they enter the core.

        Args:
          ids: The characters, `[steps, batch]`, int32.
          states: The states of the contexts before them.
          keep: The mask, `[steps, batch]`, boolean; None for none.
          training: Whether a gradient will be taken.
        """
        # A loss that is added within a loop over steps could not leave it.
        training &= not self.observes_core
        return [
            context.read(weights, ids, state, keep, training)
            for context, weights, state in zip(self.contexts, self.weights, states, strict=True)
        ]

    def read_one(self, ids: tf.Tensor, states: Sequence[tf.Tensor]) -> list[ContextReading]:
        """Has all contexts read one character of each text, `[batch]`; see `read`."""
        return self.read(ids[None], states) if self.contexts else []

    def change_logits(
        self,
        readings: Sequence[ContextReading],
        hidden: tf.Tensor,
        logits: tf.Tensor,
        dtype: Any,
    ) -> tf.Tensor:
        """Returns the logits `[rows, vocabulary_size]` that the contexts make of the model's own.

        Args:
          readings: What `read` returned.
          hidden: The hidden vectors at the top of the core, `[steps * batch, units]`.
          logits: The logits without contexts, `[steps * batch, vocabulary_size]`.
          dtype: The dtype of products.
        """
        for context, weights, reading in zip(self.contexts, self.weights, readings, strict=True):
            if reading.outputs is not None:
                rest = reading.outputs.shape[2:]
                rows = tf.reshape(reading.outputs, [-1, *rest])
                logits = context.change_logits(weights, rows, hidden, logits, dtype)
        return logits

    def restart_core(
        self,
        state: State,
        ids: tf.Tensor,
        before: Sequence[tf.Tensor],
        readings: Sequence[ContextReading],
    ) -> State:
        """Returns the state of the core as a character enters, for texts whose core begins anew.

        Args:
          state: The state of the core.
          ids: The character, `[batch]`, int32.
          before: The states of the contexts before `read`.
          readings: What `read` returned.
        """
        if not self.observes_core:
            return state
        asked = [
            context.restarts_core(weights, ids, one)
            for context, weights, one in zip(self.contexts, self.weights, before, strict=True)
            if context.observes_core
        ]
        begins = [one for one in asked if one is not None]
        if not begins:
            return state
        carries = ~functools.reduce(tf.logical_or, begins)[None, :, None]
        first = State(*map(tf.zeros_like, state))
        first = self.enter_core_state(first, [reading.state for reading in readings])
        return State(*(tf.where(carries, *pair) for pair in zip(state, first, strict=True)))

    def observe(
        self, ids: tf.Tensor, states: Sequence[tf.Tensor], hidden: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the states of the contexts after the core has read a character.

        Args:
          ids: The character that entered the core, `[batch]`, int32.
          states: The states of the contexts.
          hidden: The hidden vectors at the top of the core, `[batch, units]`.
        """
        return tuple(
            context.observe(weights, ids, state, tf.cast(hidden, tf.float32))
            if context.observes_core
            else state
            for context, weights, state in zip(self.contexts, self.weights, states, strict=True)
        )


UNCONDITIONED = Conditioning()
"""The conditioning of a model without contexts."""


def add_inputs(embedded: tf.Tensor, readings: Sequence[ContextReading]) -> tf.Tensor:
    """Returns the embedded characters with what contexts add to them, `[..., input_width]`."""
    for reading in readings:
        if reading.inputs is not None:
            embedded += reading.inputs
    return embedded


def make_contexts(
    config: ModelConfig,
    core: RecurrentCore,
    vocabulary_size: int,
    plan: Plan,
    dtype_policy: Any,
) -> list[Context]:
    """Returns the contexts that a configuration describes, with their variables.

    Args:
      config: The configuration.
      core: The core of the model.
      vocabulary_size: The number of distinct characters.
      plan: The execution plan.
      dtype_policy: The Keras dtype policy, or its name.
    """
    net = NetShape(
        vocabulary_size=vocabulary_size,
        units=config.units,
        input_width=core.input_width,
        state_layers=core.state_layers,
        memory_width=core.memory_width,
        kernel_scale=config.kernel_scale,
    )
    contexts = []
    for text in config.contexts:
        name, size = parse_context(text)
        context = CONTEXTS[name]()(net, size, dtype=dtype_policy, name=name)
        context.plan = plan
        context.build()
        contexts.append(context)
    return contexts
