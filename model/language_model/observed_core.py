"""The core run step by step, for contexts that wait for its hidden vectors.

Only what depends on them is in the loop. The embeddings of all steps are taken before it and their
logits after it, so that the largest kernels of a model are read once, and their gradients are not
added up step by step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..contexts.context import ContextReading
from ..core import RecurrentCore, State
from .conditioning import Conditioning, add_inputs


class SequenceReading(NamedTuple):
    """What the core and the contexts make of characters.

    Attributes:
      outputs: The hidden vectors at the top of the core, `[steps, batch, units]`.
      core_state: The state of the core after the last step.
      readings: The outputs of the contexts at all steps, and their states after the last.
    """

    outputs: tf.Tensor
    core_state: State
    readings: Sequence[ContextReading]


class _Step(NamedTuple):
    """What one step returns: the same as `SequenceReading` without the axis of steps."""

    output: tf.Tensor
    core_state: State
    contexts: tuple[tf.Tensor, ...]
    of_contexts: tuple[tf.Tensor | None, ...]

    @property
    def parts(self) -> list[tf.Tensor]:
        """The output of the core and those of the contexts that have one."""
        return [self.output, *(one for one in self.of_contexts if one is not None)]


def read_by_steps(
    core: RecurrentCore,
    core_weights: Any,
    conditioning: Conditioning,
    ids: tf.Tensor,
    embedded: tf.Tensor,
    core_state: State,
    contexts: Sequence[tf.Tensor],
    training: bool = False,
    seed: tf.Tensor | None = None,
    keep: tf.Tensor | None = None,
) -> SequenceReading:
    """Runs the core over a sequence, and has contexts observe it after each step.

    Args:
      core: The recurrent core.
      core_weights: The weights of the core; None for its own.
      conditioning: The contexts.
      ids: The characters that enter, `[steps, batch]`, int32, at least one step.
      embedded: Their embeddings, `[steps, batch, input_width]`.
      core_state: The state of the core before them.
      contexts: The states of the contexts before them.
      training: Whether a gradient will be taken. Default False.
      seed: The seed of the dropout of the core, `[2]`, int32; None for no dropout.
      keep: The mask, `[steps, batch]`, boolean, False where a step changes no state; None for none.
    """
    fold_in = tf.random.experimental.stateless_fold_in

    def step(at: int | tf.Tensor, state: State, contexts: Sequence[tf.Tensor]) -> _Step:
        entering = ids[at]
        readings = conditioning.read_one(entering, contexts)
        begun = conditioning.restart_core(state, entering, contexts, readings)
        outputs, after = core.over_time(
            core.core_inputs(add_inputs(embedded[at][None], readings)),
            begun,
            training=training,
            seed=seed if seed is None or core.masks_per_sequence else fold_in(seed, at),
            weights=core_weights,
        )
        new = tuple(reading.state for reading in readings)
        new = conditioning.observe(entering, new, outputs[0])
        after = State(*(tf.cast(part, tf.float32) for part in after))
        if keep is not None:
            kept = keep[at]
            after = State(
                *(tf.where(kept[:, None], *pair) for pair in zip(after, state, strict=True))
            )
            new = tuple(tf.where(kept[:, None], *pair) for pair in zip(new, contexts, strict=True))
        return _Step(outputs[0], after, new, tuple(_only(one.outputs) for one in readings))

    # The first step tells what the arrays of the loop over the others hold.
    first = step(0, core_state, contexts)
    if ids.shape[0] == 1:
        state, new = first.core_state, first.contexts
        sequences = [part[None] for part in first.parts]
    else:
        state, new, sequences = _loop(step, first, ids)
    outputs, *of_contexts = sequences
    following = iter(of_contexts)
    readings = [
        ContextReading(one, outputs=None if part is None else next(following))
        for one, part in zip(new, first.of_contexts, strict=True)
    ]
    return SequenceReading(outputs, State(*state), readings)


def _loop(
    step: Callable[[tf.Tensor, State, Sequence[tf.Tensor]], _Step], first: _Step, ids: tf.Tensor
) -> tuple[State, tuple[tf.Tensor, ...], list[tf.Tensor]]:
    """Runs the steps after the first.

    Args:
      step: Runs a step, given its number and the states of the core and of the contexts.
      first: What the first step returned.
      ids: The characters that enter, `[steps, batch]`.

    Returns:
      The states after the last step, and `_Step.parts` of all steps, `[steps, batch, width]` each.
    """
    steps = tf.shape(ids)[0]
    arrays = [
        tf.TensorArray(part.dtype, steps, element_shape=[None, *part.shape[1:]]).write(0, part)
        for part in first.parts
    ]

    def body(
        at: tf.Tensor, state: State, contexts: tuple[tf.Tensor, ...], *arrays: tf.TensorArray
    ) -> tuple:
        one = step(at, state, contexts)
        written = [array.write(at, part) for array, part in zip(arrays, one.parts, strict=True)]
        return at + 1, one.core_state, one.contexts, *written

    _, state, contexts, *arrays = tf.while_loop(
        lambda at, *_: at < steps,
        body,
        (1, first.core_state, first.contexts, *arrays),
        # XLA asks for it where there are gradients.
        maximum_iterations=None if ids.shape[0] is None else ids.shape[0] - 1,
    )
    sequences = [array.stack() for array in arrays]
    for sequence, part in zip(sequences, first.parts, strict=True):
        sequence.set_shape([ids.shape[0], *part.shape])
    return state, contexts, sequences


def _only(sequence: tf.Tensor | None) -> tf.Tensor | None:
    """Returns the one step of a sequence; None for none."""
    return None if sequence is None else sequence[0]
