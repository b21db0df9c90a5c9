"""A grid evaluated along its hyperplanes, with a hand-written gradient.

All blocks on a hyperplane are independent, so they are computed at once: a 2-D grid of T time steps
and L layers takes T + L - 1 sequential steps instead of T * L, and where weights are shared each
product is L times taller. No product is spent on blocks outside of the grid.

The backward pass walks the hyperplanes in reverse and computes only the gradients of the gates; the
weight gradients are one tall product each afterwards, instead of a weight-sized sum at every step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ...execution.batch_shards import BatchShards, concat_shards
from ...execution.compilation import GATES, Compilation, Prefetch
from ...shapes import is_known
from ..derivatives import with_gradient
from ..equations import GridEquations
from ..reference import (
    DimensionWeights,
    Sides,
    flatten_weights,
    grid_reference,
    pack_weights,
)
from .blocks import Blocks
from .residuals import (
    Residuals,
    concat_rows,
    gate_gradient_arrays,
    hyperplane_array,
    loop_over_hyperplanes,
    residual_arrays,
    write,
)
from .routes import Route
from .schedule import choose_schedule


def grid_wavefront(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout_masks: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    compilation: Compilation = GATES,
    training: bool = True,
) -> Sides:
    """Computes the same function as `reference.grid_reference`, faster.

    Products are computed in the dtype of `sides.hidden`, all else in that of `sides.memory`. The
    extents of a 2-D grid need not be known in advance outside of XLA. Second derivatives are those
    of `grid_reference`, and as slow; gradients of the dropout masks are not supported.
    `residuals.residual_size` says how much memory the forward pass takes.

    Args:
      sides: The vectors that enter, per dimension `[*other extents, batch, units]`.
      weights: The weights of each dimension.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension; the last is the number of layers.
      dropout_masks: Per dimension the factors on the hidden vectors that enter each block along it,
        `[*extents, batch, units]` where an extent may be 1; None for no dropout.
      keep: The mask, `[*extents, batch]`, boolean, where an extent may be 1; see `grid_reference`.
      compilation: How the grid is compiled. Default: its gates alone.
      training: Whether a gradient is likely to be taken: the forward pass then saves residuals.
        Otherwise a gradient runs the forward pass again. Default True.

    Returns:
      The vectors that leave, of the same shapes as `sides`.
    """
    if compilation.batch_shards > 1:
        return _sharded(
            sides, weights, equations, extents, dropout_masks, keep, compilation, training
        )
    dimensions = equations.dimensions

    def packed(arguments: Sequence[tf.Tensor]) -> tuple[Sides, list[DimensionWeights]]:
        entering = Sides(
            tuple(arguments[:dimensions]), tuple(arguments[dimensions : 2 * dimensions])
        )
        return entering, pack_weights(weights, arguments[2 * dimensions :])

    def plain(*arguments: tf.Tensor) -> tuple[tf.Tensor, ...]:
        leaving = grid_reference(*packed(arguments), equations, extents, dropout_masks, keep)
        return (*leaving.hidden, *leaving.memory)

    def forward(*arguments: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        entering, own = packed(arguments)
        grid = _Wavefront(own, equations, extents, dropout_masks, keep, compilation)
        leaving, saved = grid.forward(entering, save_residuals=training)

        def backward(*d_leaving: tf.Tensor) -> tuple[tf.Tensor, ...]:
            used, residuals = grid, saved
            if not training:  # all anew: a SavedModel keeps no tensors from between the operations
                used = _Wavefront(own, equations, extents, dropout_masks, keep, compilation)
                residuals = used.forward(entering, save_residuals=True)[1]
            assert isinstance(residuals, Residuals)
            d_sides = Sides(d_leaving[:dimensions], d_leaving[dimensions:])
            d_entering, d_weights = used.backward(residuals, d_sides)
            return (*d_entering.hidden, *d_entering.memory, *flatten_weights(d_weights))

        return (*leaving.hidden, *leaving.memory), backward

    leaving = with_gradient(forward, plain, *sides.hidden, *sides.memory, *flatten_weights(weights))
    return Sides(tuple(leaving[:dimensions]), tuple(leaving[dimensions:]))


def _sharded(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout_masks: Sequence[tf.Tensor | None] | None,
    keep: tf.Tensor | None,
    compilation: Compilation,
    training: bool,
) -> Sides:
    """Runs a grid for each shard of the batch."""
    shards = BatchShards.create(sides.hidden[0].shape[-2], compilation.batch_shards)
    single = compilation._replace(batch_shards=1)

    def run(sides: Sides, masks: Any, keep: tf.Tensor | None) -> Sides:
        return grid_wavefront(sides, weights, equations, extents, masks, keep, single, training)

    masks = None if dropout_masks is None else list(dropout_masks)
    return concat_shards(shards.map(run, (sides, -2), (masks, -2), (keep, -1)), axis=-2)


class _Wavefront:
    """The two loops over the hyperplanes of one grid; the arguments are those of the functions."""

    def __init__(
        self,
        weights: Sequence[DimensionWeights],
        equations: GridEquations,
        extents: tuple[int | tf.Tensor, ...],
        dropout_masks: Sequence[tf.Tensor | None] | None,
        keep: tf.Tensor | None,
        compilation: Compilation,
    ):
        self._equations = equations
        self._compilation = compilation
        # Vectorised, the loops over rows of changing number of a 2-D grid corrupt memory.
        vectorizes = compilation.vectorizes and len(extents) == 2 and is_known(extents)
        self._schedule = choose_schedule(extents, padded=compilation.jits_step or vectorizes)
        self._block_arguments = weights, equations, extents, dropout_masks, keep, compilation

    def _blocks(self, dtype: tf.DType) -> Blocks:
        return Blocks(self._schedule, *self._block_arguments, dtype)

    def forward(self, sides: Sides, save_residuals: bool) -> tuple[Sides, Residuals | tuple[()]]:
        """Computes the vectors that leave the grid, and the residuals over all rows."""
        schedule, routes = self._schedule, self._schedule.routes
        blocks = self._blocks(sides.hidden[0].dtype)
        entering = _per_side(lambda route, side: route.enter(side), routes, sides)

        def step(d: tf.Tensor, continuing: Sides, leaving: Sides, residuals: Any) -> tuple:
            rows = _per_side(
                lambda route, fresh, moving: route.join(d, route.fresh.slice(fresh, d), moving),
                routes,
                entering,
                continuing,
            )
            new, saved = blocks.forward(d, rows)
            if save_residuals:
                residuals = write(residuals, d, saved)
            pairs = _per_side(lambda route, row: route.split(d, row), routes, new)
            gone, continuing = _unzip(pairs)
            return d + 1, continuing, write(leaving, d, gone), residuals

        idle = _per_side(lambda route, side: _zeros(route.idle, side), routes, entering)
        arrays = _per_side(
            lambda route, side: hyperplane_array(
                schedule, route.leaving, side.shape[1:], side.dtype
            ),
            routes,
            entering,
        )
        residuals: Any = ()
        if save_residuals:
            residuals = residual_arrays(schedule, self._equations, sides.hidden[0], sides.memory)
        variables = idle, arrays, residuals
        vectorizes = self._compilation.vectorizes
        *_, leaving, residuals = loop_over_hyperplanes(schedule.hyperplanes, step, variables)
        rows = _per_side(
            lambda route, array: concat_rows(array, route.leaving, vectorizes), routes, leaving
        )
        return _per_side(lambda route, side: route.leave(side), routes, rows), residuals

    def backward(
        self, residuals: Residuals, d_leaving: Sides
    ) -> tuple[Sides, list[DimensionWeights]]:
        """Computes the gradients of the vectors that entered the grid, and of the weights."""
        schedule, routes = self._schedule, self._schedule.routes
        dtype = d_leaving.hidden[0].dtype
        blocks = self._blocks(dtype)
        d_leaving = _per_side(lambda route, side: route.leave_gradient(side), routes, d_leaving)

        def read(d: tf.Tensor | int) -> Any:
            saved = residuals.dimensions, residuals.ungated
            return tf.nest.map_structure(lambda array: array.read(d), saved)

        prefetch = Prefetch(read, self._compilation)

        def step(
            count: tf.Tensor, d_continuing: Sides, fetched: Any, d_entering: Sides, d_gates: Any
        ) -> tuple:
            d = schedule.hyperplanes - 1 - count
            d_new = _per_side(
                lambda route, gone, moving: route.split_gradient(
                    d, route.leaving.slice(gone, d), moving
                ),
                routes,
                d_leaving,
                d_continuing,
            )
            dimensions, ungated = prefetch.current(d, fetched)
            d_rows, d_hyperplane = blocks.backward(d, dimensions, ungated, d_new)
            fetched = prefetch.next(tf.maximum(d - 1, 0))
            pairs = _per_side(lambda route, row: route.join_gradient(d, row), routes, d_rows)
            d_fresh, d_continuing = _unzip(pairs)
            d_entering = write(d_entering, d, d_fresh)
            return count + 1, d_continuing, fetched, d_entering, write(d_gates, d, d_hyperplane)

        idle = _per_side(lambda route, side: _zeros(route.idle, side), routes, d_leaving)
        arrays = _per_side(
            lambda route, side: hyperplane_array(schedule, route.fresh, side.shape[1:], side.dtype),
            routes,
            d_leaving,
        )
        d_gates = gate_gradient_arrays(schedule, self._equations, *d_leaving, blocks.ranks)
        variables = idle, prefetch.next(schedule.hyperplanes - 1), arrays, d_gates
        vectorizes = self._compilation.vectorizes
        *_, d_entering, d_gates = loop_over_hyperplanes(schedule.hyperplanes, step, variables)
        rows = _per_side(
            lambda route, array: concat_rows(array, route.fresh, vectorizes), routes, d_entering
        )
        d_entering = _per_side(lambda route, side: route.enter_gradient(side), routes, rows)
        return d_entering, blocks.weight_gradients(residuals, d_gates)


def _per_side(function: Callable[..., Any], routes: Sequence[Route], *sides: Sides) -> Sides:
    """Calls a function of a route and vectors per dimension, for hidden and memory vectors."""
    parts = []
    for vectors in zip(*sides, strict=True):
        by_dimension = zip(routes, *vectors, strict=True)
        parts.append(tuple(function(*arguments) for arguments in by_dimension))
    return Sides(*parts)


def _unzip(pairs: Sides) -> tuple[Sides, Sides]:
    """Returns sides of pairs as a pair of sides."""
    hidden, memory = (tuple(zip(*part, strict=True)) for part in pairs)
    first, second = (Sides(*parts) for parts in zip(hidden, memory, strict=True))
    return first, second


def _zeros(rows: int, like: tf.Tensor) -> tf.Tensor:
    return tf.zeros([rows, *tf.unstack(tf.shape(like))[1:]], like.dtype)
