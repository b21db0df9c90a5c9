"""What a wavefront keeps of each hyperplane, and the loop over them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ...cells.normalization import Normalized
from ...config import GridEquations
from ...shapes import shape_of
from .routes import Spans
from .schedule import Schedule


class Kept(NamedTuple):
    """What a dimension keeps of one hyperplane for the backward pass.

    Attributes:
      activations: `[rows, batch, gates * units]`.
      memory: `[rows, batch, units]`, the m that entered.
      normalized: what layer normalisation keeps; () without.
    """

    activations: tf.Tensor
    memory: tf.Tensor
    normalized: Normalized | tuple[()]


class Tape(NamedTuple):
    """What one hyperplane keeps for the backward pass; or arrays of that for all of them.

    Attributes:
      together: H of each stage, `[rows, batch, dimensions * units]`.
      kept: per dimension.
    """

    together: tuple[tf.Tensor, ...]
    kept: tuple[Kept, ...]


def kept_numbers(equations: GridEquations) -> tuple[int, int]:
    """How much the forward pass keeps for the backward pass, in multiples of `units`.

    Per block of the grid and batch row, with `gates_i` 4 for an LSTM and 1 for a plain dimension:

        dimensions * stages + copies * sum of gates_i    in the compute dtype
        number of LSTM dimensions                        in the dtype of the memory

    where a stage is a set of dimensions that see the same H, and copies is 2 with layer
    normalisation (which keeps its scales in addition, one number per gate) and 1 without. A 2-D
    grid with depth priority keeps 12 and 2, which is `32 * units` bytes in bfloat16 with float32
    memories and `56 * units` in float32. A grid of T steps and L layers has T * L blocks; padded
    for XLA it has (T + L - 1) * min(T, L).
    """
    gates = sum(equations.gates(i) for i in range(equations.dimensions))
    copies = 2 if equations.layer_normalization else 1
    memories = sum(kind == "lstm" for kind in equations.transforms)
    return equations.dimensions * len(equations.stages) + copies * gates, memories


def record(schedule: Schedule, spans: Spans, shape: Sequence, dtype: tf.DType) -> tf.TensorArray:
    """An empty array of one entry `[rows, *shape]` per hyperplane."""
    return tf.TensorArray(
        dtype,
        size=schedule.hyperplanes,
        element_shape=[spans.constant, *shape],
        infer_shape=False,
        clear_after_read=False,
    )


def tape_records(
    schedule: Schedule,
    equations: GridEquations,
    hidden: tf.Tensor,
    memories: Sequence[tf.Tensor],
) -> Tape:
    """Empty arrays for a tape.

    Args:
      schedule: of the grid.
      equations: of its blocks.
      hidden: `[..., batch, units]`, a hidden vector.
      memories: `[..., batch, units]` per dimension.
    """
    batch, units = hidden.shape[-2:]

    def make(width, dtype=hidden.dtype):
        return record(schedule, schedule.rows, [batch, width], dtype)

    def kept(i, memory):
        gates = equations.gates(i)
        normalized = ()
        if equations.layer_normalization:
            normalized = Normalized(make(gates * units), make(gates, memory.dtype))
        return Kept(make(gates * units), make(memory.shape[-1], memory.dtype), normalized)

    return Tape(
        tuple(make(equations.dimensions * units) for _ in equations.stages),
        tuple(kept(i, memory) for i, memory in enumerate(memories)),
    )


def gate_records(
    schedule: Schedule, equations: GridEquations, hidden: tf.Tensor
) -> tuple[tuple[tf.TensorArray, ...], ...]:
    """Empty arrays, per dimension, for the gradients of products and of what biases are added to.

    The two are the same, and there is one array, without layer normalisation.
    """
    batch, units = hidden.shape[-2:]
    copies = 2 if equations.layer_normalization else 1
    return tuple(
        tuple(
            record(schedule, schedule.rows, [batch, equations.gates(i) * units], hidden.dtype)
            for _ in range(copies)
        )
        for i in range(equations.dimensions)
    )


def write(records: Any, hyperplane: tf.Tensor, entries: Any) -> Any:
    """All arrays of a structure with one more entry."""
    return tf.nest.map_structure(
        lambda array, entry: array.write(hyperplane, entry), records, entries
    )


def rows_of(array: tf.TensorArray, spans: Spans) -> tf.Tensor:
    """All entries, one after the other."""
    if spans.constant is None:
        return array.concat()
    stacked = array.stack()
    return tf.reshape(stacked, [-1, *shape_of(stacked)[2:]])


def over_hyperplanes(hyperplanes: int | tf.Tensor, step: Callable, variables: tuple) -> tuple:
    """Runs a step for each hyperplane; rows may change in number from one to the next.

    Args:
      hyperplanes: how many.
      step: a function of the count and the variables, to the next count and variables.
      variables: structures of arrays and of tensors `[rows, ...]`.
    """

    def invariant(value):
        if isinstance(value, tf.TensorArray):
            return tf.TensorShape(None)
        return tf.TensorShape([None, *value.shape[1:]])

    variables = (tf.constant(0), *variables)
    invariants = (tf.TensorShape([]), *(tf.nest.map_structure(invariant, v) for v in variables[1:]))

    def shaped(value, shape):
        if not isinstance(value, tf.TensorArray):
            value.set_shape(shape)
        return value

    def body(*variables):
        return tf.nest.map_structure(shaped, step(*variables), invariants)

    return tf.while_loop(
        lambda count, *_: count < hyperplanes,
        body,
        variables,
        shape_invariants=invariants,
        maximum_iterations=hyperplanes,
    )
