"""The residuals of a wavefront, stored per hyperplane, and the loop over the hyperplanes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ...cells.normalization import Normalized
from ...shapes import shape_of
from ..equations import GridEquations
from .mogrifier import RoundGradients
from .schedule import Schedule
from .spans import Spans


class DimensionResiduals(NamedTuple):
    """The residuals of one dimension on one hyperplane.

    Attributes:
      activations: The residual of the cells, `[rows, batch, gates * units]`.
      memory: The memory vectors m that entered, `[rows, batch, memory_size * units]`.
      normalized: The residual of the layer normalisation; () without.
    """

    activations: tf.Tensor
    memory: tf.Tensor
    normalized: Normalized | tuple[()]


class GateGradients(NamedTuple):
    """The gradients that the backward pass saves of one dimension; or arrays of that.

    Attributes:
      sums: dL/d(W H) and, with layer normalisation, dL/dz before the bias, of `[rows, batch, gates
        * units]` each. Without layer normalisation the two are the same, and there is one.
      upstream: dL/dh' and dL/dm' of the blocks, from which the gradients of the cell's own
        parameters are computed; () for a cell without parameters.
    """

    sums: tuple[tf.Tensor, ...]
    upstream: tuple[tf.Tensor, ...]


class Residuals(NamedTuple):
    """What the forward pass saves of a hyperplane for the backward pass; or arrays of that.

    Attributes:
      h_concat: The concatenated hidden vectors H of each group,
        `[rows, batch, dimensions * units]`.
      dimensions: The residuals of each dimension.
      ungated: The hidden vectors before the rounds of the mogrifier, per dimension
        `[rows, batch, units]`; () without.
    """

    h_concat: tuple[tf.Tensor, ...]
    dimensions: tuple[DimensionResiduals, ...]
    ungated: tuple[tf.Tensor, ...] = ()


class BlockGradients(NamedTuple):
    """The gradients that the backward pass saves of a hyperplane; or arrays of that.

    Attributes:
      gates: Those of the gates, per dimension.
      mogrifier: Those of the rounds of the mogrifier; () without.
    """

    gates: tuple[GateGradients, ...]
    mogrifier: tuple[RoundGradients, ...] = ()


def residual_size(equations: GridEquations) -> tuple[int, int]:
    """Returns how many numbers the forward pass saves, in multiples of `units`.

    Per block of the grid and batch row, with `gates_i` the gates of the cell of dimension i:

        dimensions * groups + copies * sum of gates_i    in the compute dtype
        sum of the memory sizes                          in the dtype of the memory

    where a group is a set of dimensions that see the same H, and copies is 2 with layer
    normalisation (which saves its scales in addition, one number per gate) and 1 without. With
    rounds of the mogrifier it is `dimensions` more. A 2-D grid with depth priority saves 12 and 2,
    which is `32 * units` bytes in bfloat16 with float32 memories and `56 * units` in float32. A
    grid of T steps and L layers has T * L blocks; padded for XLA it has
    (T + L - 1) * min(T, L).

    >>> residual_size(GridEquations())
    (12, 2)
    """
    cells = [equations.cell(i) for i in range(equations.dimensions)]
    copies = 2 if equations.layer_normalization else 1
    gates = sum(cell.gates for cell in cells)
    memories = sum(cell.memory_size for cell in cells)
    vectors = len(equations.computation_order) + bool(equations.mogrifier_rounds)
    return equations.dimensions * vectors + copies * gates, memories


def hyperplane_array(
    schedule: Schedule, spans: Spans, shape: Sequence, dtype: tf.DType
) -> tf.TensorArray:
    """Returns an empty array of one entry `[rows, *shape]` per hyperplane."""
    return tf.TensorArray(
        dtype,
        size=schedule.hyperplanes,
        element_shape=[spans.constant, *shape],
        infer_shape=False,
        clear_after_read=False,
    )


def residual_arrays(
    schedule: Schedule,
    equations: GridEquations,
    hidden: tf.Tensor,
    memories: Sequence[tf.Tensor],
) -> Residuals:
    """Returns empty arrays for the residuals.

    Args:
      schedule: The schedule of the grid.
      equations: The equations of its blocks.
      hidden: A hidden vector, `[..., batch, units]`, of the compute dtype.
      memories: The memory vectors of each dimension, `[..., batch, units]`.
    """
    batch, units = hidden.shape[-2:]

    def array(width: int, dtype: tf.DType = hidden.dtype) -> tf.TensorArray:
        return hyperplane_array(schedule, schedule.rows, [batch, width], dtype)

    def dimension_arrays(i: int, memory: tf.Tensor) -> DimensionResiduals:
        gates = equations.gates(i)
        normalized: Normalized | tuple[()] = ()
        if equations.layer_normalization:
            normalized = Normalized(values=array(gates * units), scale=array(gates, memory.dtype))
        return DimensionResiduals(
            activations=array(gates * units),
            memory=array(memory.shape[-1], memory.dtype),
            normalized=normalized,
        )

    return Residuals(
        h_concat=tuple(array(equations.dimensions * units) for _ in equations.computation_order),
        dimensions=tuple(dimension_arrays(i, memory) for i, memory in enumerate(memories)),
        ungated=tuple(array(units) for _ in memories) if equations.mogrifier_rounds else (),
    )


def gate_gradient_arrays(
    schedule: Schedule,
    equations: GridEquations,
    hidden: Sequence[tf.Tensor],
    memories: Sequence[tf.Tensor],
    ranks: Sequence[int],
) -> BlockGradients:
    """Returns empty arrays for what the backward pass saves.

    Args:
      schedule: The schedule of the grid.
      equations: The equations of its blocks.
      hidden: The hidden vectors of each dimension, `[..., batch, units]`, of the compute dtype.
      memories: The memory vectors of each dimension, `[..., batch, memory_size * units]`.
      ranks: The rank of each round of the mogrifier.
    """
    batch, units = hidden[0].shape[-2:]
    copies = 2 if equations.layer_normalization else 1

    def array(width: int, dtype: tf.DType) -> tf.TensorArray:
        return hyperplane_array(schedule, schedule.rows, [batch, width], dtype)

    arrays = []
    for i, pair in enumerate(zip(hidden, memories, strict=True)):
        width = equations.gates(i) * units
        sums = tuple(array(width, hidden[i].dtype) for _ in range(copies))
        upstream: tuple = ()
        if equations.cell(i).parameters:
            upstream = tuple(array(part.shape[-1], part.dtype) for part in pair)
        arrays.append(GateGradients(sums=sums, upstream=upstream))
    rounds = []
    for rank in ranks:
        widths = (len(hidden) - 1) * units, rank, rank, units
        rounds.append(RoundGradients(*(array(width, hidden[0].dtype) for width in widths)))
    return BlockGradients(gates=tuple(arrays), mogrifier=tuple(rounds))


def write(arrays: Any, hyperplane: tf.Tensor, entries: Any) -> Any:
    """Writes an entry to each array of a structure and returns the arrays."""
    return tf.nest.map_structure(
        lambda array, entry: array.write(hyperplane, entry), arrays, entries
    )


def concat_rows(array: tf.TensorArray, spans: Spans, vectorizes: bool) -> tf.Tensor:
    """Concatenates the rows of all hyperplanes of an array.

    Args:
      array: The array, of one entry `[rows, ...]` per hyperplane.
      spans: The spans of the rows of each hyperplane.
      vectorizes: Whether TensorFlow may vectorise the graph (`tf.vectorized_map`,
        `tf.GradientTape.jacobian`). What it makes of `TensorArray.concat` takes all entries for as
        large as the first, and writes beyond the end of its memory; so runs of entries of one size
        are stacked.
    """
    if spans.constant is not None:
        stacked = array.stack()
        return tf.reshape(stacked, [-1, *shape_of(stacked)[2:]])
    if tf.executing_eagerly() or not vectorizes:
        return array.concat()
    runs = []
    for run in spans.runs:
        rows = array.read(run.first) if run.is_single else stack_run(array, run.first, run.end)
        if run.present is not True:
            rows = rows[: tf.where(run.present, tf.shape(rows)[0], 0)]
        runs.append(rows)
    return tf.concat(runs, axis=0)


def stack_run(array: tf.TensorArray, first: int | tf.Tensor, end: int | tf.Tensor) -> tf.Tensor:
    """Concatenates the entries of an array from `first` to before `end`, all of one size.

    It does not call `TensorArray.gather`, whose vectorised form forgets to transpose.
    """
    shape = array.element_shape
    run = tf.TensorArray(array.dtype, end - first, element_shape=shape, infer_shape=False)
    _, run = tf.while_loop(
        lambda at, _: at < end - first,
        lambda at, run: (at + 1, run.write(at, array.read(first + at))),
        (tf.constant(0), run),
        maximum_iterations=end - first,
    )
    return tf.reshape(run.stack(), [-1, *shape_of(array.read(first))[1:]])


def loop_over_hyperplanes(hyperplanes: int | tf.Tensor, step: Callable, variables: tuple) -> tuple:
    """Runs a step for each hyperplane; the number of rows may change from one to the next.

    Args:
      hyperplanes: The number of hyperplanes.
      step: Maps the count and the variables to the next count and variables.
      variables: Structures of arrays and of tensors `[rows, ...]`.

    Returns:
      The last count and variables.
    """

    def invariant(value: Any) -> tf.TensorShape:
        if isinstance(value, tf.TensorArray):
            return tf.TensorShape(None)
        return tf.TensorShape([None, *value.shape[1:]])

    variables = (tf.constant(0), *variables)
    invariants = (tf.TensorShape([]), *(tf.nest.map_structure(invariant, v) for v in variables[1:]))

    def with_shape(value: Any, shape: tf.TensorShape) -> Any:
        if not isinstance(value, tf.TensorArray):
            value.set_shape(shape)
        return value

    def body(*variables: Any) -> Any:
        return tf.nest.map_structure(with_shape, step(*variables), invariants)

    return tf.while_loop(
        lambda count, *_: count < hyperplanes,
        body,
        variables,
        shape_invariants=invariants,
        maximum_iterations=hyperplanes,
    )
