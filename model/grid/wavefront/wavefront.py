"""A grid along its hyperplanes, with a hand-written gradient.

All blocks on a hyperplane are independent, so they are computed at once: a 2-D grid of T time steps
and L layers takes T + L - 1 sequential steps instead of T * L, and where weights are shared each
product is L times taller. No product is spent on blocks outside of the grid.

The backward pass walks the hyperplanes in reverse and computes only the gates' gradients; the
weight gradients are one tall product each afterwards, instead of a weight-sized sum at every step.
"""

from collections.abc import Sequence

import tensorflow as tf

from ...config import GridEquations
from ...execution.compilation import GATES, Compilation, Reading, Split
from ..reference import DimensionWeights, Sides
from .blocks import Blocks
from .residuals import (
    Tape,
    gate_records,
    over_hyperplanes,
    record,
    rows_of,
    tape_records,
    write,
)
from .schedule import choose_schedule


def grid_wavefront(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    compilation: Compilation = GATES,
) -> Sides:
    """The same function of the same arguments as `grid.grid_reference`, faster.

    Products are computed in the dtype of `sides.hidden`, all else in that of `sides.memory`. The
    extents of a 2-D grid need not be known in advance outside of XLA. For what the forward pass
    keeps see `tape.kept_numbers`. Second derivatives are not supported, nor are gradients of the
    dropout factors.
    """
    if compilation.parts > 1:
        return _in_parts(
            grid_wavefront, sides, weights, equations, extents, dropout, keep, compilation
        )
    dimensions = equations.dimensions
    parts = [tuple(part for part in one if part is not None) for one in weights]

    @tf.custom_gradient
    def differentiable(*arguments):
        hidden, memory, flat = (
            arguments[:dimensions],
            arguments[dimensions : 2 * dimensions],
            arguments[2 * dimensions :],
        )
        packed = [DimensionWeights(*one) for one in tf.nest.pack_sequence_as(parts, flat)]
        grid = _Wavefront(packed, equations, extents, dropout, keep, compilation)
        leaving, tape = grid.forward(Sides(hidden, memory), keep_tape=True)

        def gradient(*leaving_gradient):
            entering, weight_gradients = grid.backward(
                tape, Sides(leaving_gradient[:dimensions], leaving_gradient[dimensions:])
            )
            found = [part for one in weight_gradients for part in one if part is not None]
            return (*entering.hidden, *entering.memory, *found)

        return (*leaving.hidden, *leaving.memory), gradient

    leaving = differentiable(*sides.hidden, *sides.memory, *tf.nest.flatten(parts))
    return Sides(tuple(leaving[:dimensions]), tuple(leaving[dimensions:]))


def grid_inference(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    dropout: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    compilation: Compilation = GATES,
) -> Sides:
    """`grid_wavefront` without a gradient, keeping nothing for a backward pass."""
    if compilation.parts > 1:
        return _in_parts(
            grid_inference, sides, weights, equations, extents, dropout, keep, compilation
        )
    grid = _Wavefront(weights, equations, extents, dropout, keep, compilation)
    return grid.forward(sides, keep_tape=False)[0]


def _in_parts(grid, sides, weights, equations, extents, dropout, keep, compilation):
    """Runs a grid for each group of batch rows; nothing connects them but the weights."""
    split = Split.of(sides.hidden[0].shape[-2], compilation.parts)
    hidden, memory = ([split.parts(side, -2) for side in part] for part in sides)
    masks = None if dropout is None else [split.parts(mask, -2) for mask in dropout]
    kept = split.parts(keep, -1)
    alone = compilation._replace(parts=1)
    leaving = [
        grid(
            Sides(tuple(one[at] for one in hidden), tuple(one[at] for one in memory)),
            weights,
            equations,
            extents,
            None if masks is None else [mask[at] for mask in masks],
            kept[at],
            alone,
        )
        for at in range(len(split.sizes))
    ]
    return Sides(
        *(
            tuple(tf.concat(ones, axis=-2) for ones in zip(*parts, strict=True))
            for parts in zip(*leaving, strict=True)
        )
    )


class _Wavefront:
    """The two loops over the hyperplanes of one grid."""

    def __init__(self, weights, equations, extents, dropout, keep, compilation):
        self._equations = equations
        self._compilation = compilation
        self._schedule = choose_schedule(extents, compilation.whole)
        self._of_blocks = weights, equations, extents, dropout, keep, compilation

    def _cells(self, dtype):
        return Blocks(self._schedule, *self._of_blocks, dtype)

    def forward(self, sides: Sides, keep_tape: bool) -> tuple[Sides, Tape | tuple[()]]:
        """What leaves the grid, and per dimension and stage what was kept, over all rows."""
        schedule, routes = self._schedule, self._schedule.routes
        dtype = sides.hidden[0].dtype
        cells = self._cells(dtype)
        entering = _each(lambda route, side: route.enter(side), routes, sides)

        def step(d, continuing, leaving, tape):
            rows = _each(
                lambda route, fresh, on: route.join(d, route.fresh.of(fresh, d), on),
                routes,
                entering,
                continuing,
            )
            blocks, kept = cells.forward(d, rows)
            if keep_tape:
                tape = write(tape, d, kept)
            gone, on = _both(_each(lambda route, block: route.split(d, block), routes, blocks))
            return d + 1, on, write(leaving, d, gone), tape

        idle = _each(lambda route, side: _zeros(route.idle, side), routes, entering)
        records = _each(
            lambda route, side: record(schedule, route.leaving, side.shape[1:], side.dtype),
            routes,
            entering,
        )
        tape = ()
        if keep_tape:
            tape = tape_records(schedule, self._equations, sides.hidden[0], sides.memory)
        _, _, leaving, tape = over_hyperplanes(schedule.hyperplanes, step, (idle, records, tape))
        rows = _each(lambda route, record: rows_of(record, route.leaving), routes, leaving)
        return _each(lambda route, side: route.leave(side), routes, rows), tape

    def backward(self, tape, leaving_gradient: Sides):
        """Gradients of what entered the grid, and of the weights."""
        schedule, routes = self._schedule, self._schedule.routes
        dtype = leaving_gradient.hidden[0].dtype
        cells = self._cells(dtype)
        leaving_gradient = _each(
            lambda route, side: route.leave_gradient(side), routes, leaving_gradient
        )

        def read(d):
            return tf.nest.map_structure(lambda record: record.read(d), tape.kept)

        reading = Reading(read, self._compilation)

        def step(count, continuing, held, entering, gates):
            d = schedule.hyperplanes - 1 - count
            blocks = _each(
                lambda route, gone, on: route.split_gradient(d, route.leaving.of(gone, d), on),
                routes,
                leaving_gradient,
                continuing,
            )
            rows, found = cells.backward(d, reading.now(d, held), blocks)
            held = reading.ahead(tf.maximum(d - 1, 0))
            fresh, on = _both(_each(lambda route, row: route.join_gradient(d, row), routes, rows))
            return count + 1, on, held, write(entering, d, fresh), write(gates, d, found)

        idle = _each(lambda route, side: _zeros(route.idle, side), routes, leaving_gradient)
        records = _each(
            lambda route, side: record(schedule, route.fresh, side.shape[1:], side.dtype),
            routes,
            leaving_gradient,
        )
        gates = gate_records(schedule, self._equations, leaving_gradient.hidden[0])
        variables = idle, reading.ahead(schedule.hyperplanes - 1), records, gates
        _, _, _, entering, gates = over_hyperplanes(schedule.hyperplanes, step, variables)
        rows = _each(lambda route, record: rows_of(record, route.fresh), routes, entering)
        entering = _each(lambda route, side: route.enter_gradient(side), routes, rows)
        return entering, cells.weights_gradient(tape, gates)


def _each(function, routes, *sides):
    """Applies a function per dimension to the hidden and to the memory vectors."""
    return Sides(
        *(
            tuple(function(route, *ones) for route, *ones in zip(routes, *parts, strict=True))
            for parts in zip(*sides, strict=True)
        )
    )


def _both(pairs: Sides) -> tuple[Sides, Sides]:
    """Sides of pairs as a pair of sides."""
    return tuple(
        Sides(*(tuple(pair[which] for pair in part) for part in pairs)) for which in (0, 1)
    )


def _zeros(rows, like):
    return tf.zeros([rows, *tf.unstack(tf.shape(like))[1:]], like.dtype)
