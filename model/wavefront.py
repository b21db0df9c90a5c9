"""A grid along its hyperplanes, with a hand-written gradient.

All blocks on a hyperplane are independent, so they are computed at once: a 2-D grid of T time steps
and L layers takes T + L - 1 sequential steps instead of T * L, and where weights are shared each
product is L times taller. No product is spent on blocks outside of the grid.

The backward pass walks the hyperplanes in reverse and computes only the gates' gradients; the
weight gradients are one tall product each afterwards, instead of a weight-sized sum at every step.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.config import GridEquations
from model.grid import (
    DimensionWeights,
    Sides,
    transform_dimension,
    transform_dimension_gradient,
)
from model.products import LayerVectors, Products, weights_gradient
from model.schedule import choose_schedule
from model.transforms import Normalized


class Compilation(NamedTuple):
    """How a wavefront is compiled.

    Attributes:
      whole: the caller compiles all of it with XLA, so shapes must be static and hyperplanes are
        padded to the same size.
      gates: compile the arithmetic of the gates with XLA, and leave products to the library that
        TensorFlow uses on its own.
      parts: groups of batch rows that run side by side, for cores that a single step of a small net
        cannot keep busy.
    """

    whole: bool = False
    gates: bool = True
    parts: int = 1


GATES = Compilation()


class _Kept(NamedTuple):
    """What a dimension keeps of one hyperplane for the backward pass.

    Attributes:
      activations: `[rows, batch, gates * units]`.
      memory: `[rows, batch, units]`, the m that entered.
      normalized: what layer normalisation keeps; () without.
    """

    activations: tf.Tensor
    memory: tf.Tensor
    normalized: Normalized | tuple[()]


class _Tape(NamedTuple):
    """What one hyperplane keeps for the backward pass.

    Attributes:
      together: H of each stage, `[rows, batch, dimensions * units]`.
      kept: per dimension.
    """

    together: tuple[tf.Tensor, ...]
    kept: tuple[_Kept, ...]


def kept_numbers(equations: GridEquations) -> tuple[int, int]:
    """How much the forward pass keeps for the backward pass, in multiples of `units`.

    Per block of the grid and batch row, with `gates_i` 4 for an LSTM and 1 for a plain dimension:

        dimensions * stages + copies * sum of gates_i    in the compute dtype
        number of LSTM dimensions                        in the dtype of the memory

    where a stage is a set of dimensions that see the same H, and copies is 2 with layer
    normalisation (which keeps its scales in addition, one number per gate) and 1 without. A 2-D
    grid with depth priority keeps 12 and 2, which is `32 * units` bytes in bfloat16 with float32
    memories and `56 * units` in float32. A grid of T steps and L layers has T * L blocks; padded
    for XLA it has (T + L - 1) * L.
    """
    gates = sum(equations.gates(i) for i in range(equations.dimensions))
    copies = 2 if equations.layer_normalization else 1
    memories = sum(kind == "lstm" for kind in equations.transforms)
    return equations.dimensions * len(equations.stages) + copies * gates, memories


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
    keeps see `kept_numbers`. Second derivatives are not supported, nor are gradients of the dropout
    factors.
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
    batch = sides.hidden[0].shape[-2]
    count = 1 if batch is None else min(compilation.parts, batch)
    sizes = None if batch is None else [(batch + at) // count for at in range(count)]

    def cut(tensor, axis):
        if tensor is None or count == 1:
            return [tensor] * count
        return tf.split(tensor, sizes, axis=axis)

    hidden, memory = ([cut(side, -2) for side in part] for part in sides)
    masks = None if dropout is None else [cut(mask, -2) for mask in dropout]
    kept = cut(keep, -1)
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
        for at in range(count)
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
        self._weights = weights
        self._equations = equations
        self._extents = extents
        self._others = [extents[:i] + extents[i + 1 :] for i in range(len(extents))]
        self._schedule = choose_schedule(extents, compilation.whole)
        self._dropout = dropout
        self._keep = keep
        self._compilation = compilation
        self._transforms, self._transform_gradients = (
            [_of_dimension(function, equations, i, compilation) for i in range(len(extents))]
            for function in (transform_dimension, transform_dimension_gradient)
        )
        self._biases = [LayerVectors(one.bias, self._schedule) for one in weights]
        self._gains = [
            None if one.gain is None else LayerVectors(one.gain, self._schedule) for one in weights
        ]

    def _products(self, dtype):
        whole = self._compilation.whole
        return [Products(one.kernel, dtype, self._schedule, whole) for one in self._weights]

    def forward(self, sides: Sides, keep_tape: bool) -> tuple[Sides, "_Tape | None"]:
        """What leaves the grid, and per dimension and stage what was kept, over all rows."""
        schedule, routes = self._schedule, self._schedule.routes
        dtype = sides.hidden[0].dtype
        products = self._products(dtype)
        entering = Sides(
            *(
                tuple(route.enter(side) for route, side in zip(routes, part, strict=True))
                for part in sides
            )
        )

        def step(d, continuing, leaving, tape):
            rows = _each(
                lambda route, fresh, on: route.join(d, route.fresh.of(fresh, d), on),
                routes,
                entering,
                continuing,
            )
            blocks, kept = self._blocks(d, products, rows)
            if keep_tape:
                tape = _write(tape, d, kept)
            out = _each(lambda route, block: route.split(d, block), routes, blocks)
            gone, on = (
                Sides(*(tuple(pair[which] for pair in part) for part in out)) for which in (0, 1)
            )
            return d + 1, on, _write(leaving, d, gone), tape

        idle = _each(lambda route, side: _zeros(route.idle, side), routes, entering)
        records = _each(
            lambda route, side: _record(schedule, route.leaving, side), routes, entering
        )
        tape = self._tape_records(dtype, sides) if keep_tape else ()
        _, _, leaving, tape = _loop(schedule.hyperplanes, step, (idle, records, tape))
        leaving = Sides(
            *(
                tuple(
                    route.leave(_rows_of(record, route.leaving), others)
                    for route, record, others in zip(routes, part, self._others, strict=True)
                )
                for part in leaving
            )
        )
        return leaving, tape

    def _blocks(self, d, products, rows):
        """All blocks of a hyperplane: the vectors that leave them, and what to keep."""
        hidden, memory = list(self._drop(d, rows.hidden)), list(rows.memory)
        together, kept = [], [None] * len(hidden)
        for stage in self._equations.stages:
            together.append(tf.concat(hidden, axis=-1))
            for i in stage:
                product = products[i].forward(d, together[-1])
                hidden[i], memory[i], activations, normalized = self._transforms[i](
                    product,
                    self._biases[i].of(d, product),
                    self._gain(d, i, product),
                    rows.memory[i],
                )
                kept[i] = _Kept(activations, rows.memory[i], normalized)
        blocks = Sides(tuple(hidden), tuple(memory))
        return self._hold(d, blocks, rows), _Tape(tuple(together), tuple(kept))

    def backward(self, tape, leaving_gradient: Sides):
        """Gradients of what entered the grid, and of the weights."""
        schedule, routes = self._schedule, self._schedule.routes
        dtype = leaving_gradient.hidden[0].dtype
        products = self._products(dtype)
        leaving_gradient = Sides(
            *(
                tuple(route.leave_gradient(side) for route, side in zip(routes, part, strict=True))
                for part in leaving_gradient
            )
        )

        def step(count, continuing, entering, gates):
            d = schedule.hyperplanes - 1 - count
            blocks = _each(
                lambda route, gone, on: route.split_gradient(d, route.leaving.of(gone, d), on),
                routes,
                leaving_gradient,
                continuing,
            )
            kept = tf.nest.map_structure(lambda record: record.read(d), tape)
            rows, found = self._blocks_gradient(d, products, kept, blocks)
            out = _each(lambda route, row: route.join_gradient(d, row), routes, rows)
            fresh, on = (
                Sides(*(tuple(pair[which] for pair in part) for part in out)) for which in (0, 1)
            )
            return count + 1, on, _write(entering, d, fresh), _write(gates, d, found)

        idle = _each(lambda route, side: _zeros(route.idle, side), routes, leaving_gradient)
        records = _each(
            lambda route, side: _record(schedule, route.fresh, side), routes, leaving_gradient
        )
        gates = self._gate_records(dtype, leaving_gradient)
        _, _, entering, gates = _loop(schedule.hyperplanes, step, (idle, records, gates))
        entering = Sides(
            *(
                tuple(
                    route.enter_gradient(_rows_of(record, route.fresh), others)
                    for route, record, others in zip(routes, part, self._others, strict=True)
                )
                for part in entering
            )
        )
        return entering, self._weights_gradient(products, tape, gates)

    def _blocks_gradient(self, d, products, tape, blocks):
        """The derivative of `_blocks`: gradients of rows, and of products and bias sums."""
        equations = self._equations
        blocks, passed = self._hold_gradient(d, blocks)
        new_hidden, old_memory = list(blocks.hidden), list(blocks.memory)
        old_hidden = [None] * len(new_hidden)
        found = [None] * len(new_hidden)
        done = [i for stage in equations.stages for i in stage]
        for stage in reversed(equations.stages):
            done = done[: -len(stage)]
            together = None
            for i in stage:
                kept = tape.kept[i]
                gain = self._gain(d, i, kept.activations)
                product, before_bias, old_memory[i] = self._transform_gradients[i](
                    *kept, gain, new_hidden[i], old_memory[i]
                )
                found[i] = (product,) if gain is None else (product, before_bias)
                seen = products[i].backward(d, product)
                together = seen if together is None else together + seen
            for i, seen in enumerate(tf.split(together, len(new_hidden), axis=-1)):
                if i in done:
                    new_hidden[i] += seen
                else:
                    old_hidden[i] = seen if old_hidden[i] is None else old_hidden[i] + seen
        hidden = self._drop(d, old_hidden)
        rows = Sides(tuple(hidden), tuple(old_memory))
        if passed is not None:
            rows = Sides(
                *(
                    tuple(a if b is None else a + b for a, b in zip(*pair, strict=True))
                    for pair in zip(rows, passed, strict=True)
                )
            )
        return rows, tuple(found)

    def _weights_gradient(self, products, tape, gates):
        """One product per kernel over all rows of all hyperplanes."""
        rows = self._schedule.rows
        together = {}
        for stage, record in zip(self._equations.stages, tape.together, strict=True):
            together.update(dict.fromkeys(stage, _rows_of(record, rows)))
        gradients = []
        for i, one in enumerate(self._weights):
            found = [_rows_of(record, rows) for record in gates[i]]
            normalized = tape.kept[i].normalized
            gradients.append(
                weights_gradient(
                    products[i],
                    one,
                    self._schedule,
                    together[i],
                    found[0],
                    found[-1],
                    _rows_of(normalized.values, rows) if normalized else None,
                )
            )
        return gradients

    def _gain(self, d, dimension, rows):
        gains = self._gains[dimension]
        return None if gains is None else gains.of(d, rows)

    def _of_cells(self, values, d):
        """The entries of a hyperplane's blocks, where an extent of 1 stands for all."""
        cells = self._schedule.rows.of(self._schedule.cells, d)
        index, stride = tf.zeros_like(cells), 1
        for extent, size in zip(
            reversed(self._extents), reversed(values.shape[: len(self._extents)]), strict=True
        ):
            if size != 1:
                index += stride * (cells % extent)
                stride *= extent
            cells //= extent
        return tf.gather(
            tf.reshape(values, [-1, *tf.unstack(tf.shape(values))[len(self._extents) :]]), index
        )

    def _drop(self, d, hidden):
        """Hidden vectors that enter blocks, or their gradients, with dropout."""
        if self._dropout is None:
            return hidden
        return [
            part if mask is None else part * self._of_cells(mask, d)
            for part, mask in zip(hidden, self._dropout, strict=True)
        ]

    def _hold(self, d, new, old):
        """What leaves the blocks that are to pass on what enters them, as it entered."""
        if self._keep is None:
            return new
        kept = self._of_cells(self._keep, d)[..., None]
        return Sides(
            *(
                (
                    *(tf.where(kept, a, b) for a, b in zip(news[:-1], olds[:-1], strict=True)),
                    news[-1],
                )
                for news, olds in zip(new, old, strict=True)
            )
        )

    def _hold_gradient(self, d, blocks):
        """The derivative of `_hold`: gradients of the new vectors, and of the old or None."""
        if self._keep is None:
            return blocks, None
        kept = self._of_cells(self._keep, d)[..., None]
        zeros = [[tf.zeros_like(one) for one in part[:-1]] for part in blocks]
        new, passed = (
            Sides(
                *(
                    (
                        *(
                            tf.where(chosen, one, zero)
                            for one, zero in zip(part[:-1], none, strict=True)
                        ),
                        last,
                    )
                    for part, none, last in zip(blocks, zeros, lasts, strict=True)
                )
            )
            for chosen, lasts in (
                (kept, [part[-1] for part in blocks]),
                (~kept, [None, None]),
            )
        )
        return new, passed

    def _tape_records(self, dtype, sides):
        """Empty records of what `_blocks` keeps."""
        equations = self._equations
        units = sides.hidden[0].shape[-1]
        batch = sides.hidden[0].shape[-2]

        def record(width, kind=dtype):
            return _record_of(self._schedule, self._schedule.rows, [batch, width], kind)

        def kept(i):
            width, memory = equations.gates(i), sides.memory[i]
            normalized = ()
            if equations.layer_normalization:
                normalized = Normalized(record(width * units), record(width, memory.dtype))
            return _Kept(record(width * units), record(memory.shape[-1], memory.dtype), normalized)

        return _Tape(
            tuple(record(equations.dimensions * units) for _ in equations.stages),
            tuple(kept(i) for i in range(equations.dimensions)),
        )

    def _gate_records(self, dtype, leaving):
        """Empty records of the gradients of products and bias sums."""
        equations, rows = self._equations, self._schedule.rows
        batch, units = leaving.hidden[0].shape[-2:]
        copies = 2 if equations.layer_normalization else 1
        return tuple(
            tuple(
                _record_of(self._schedule, rows, [batch, equations.gates(i) * units], dtype)
                for _ in range(copies)
            )
            for i in range(equations.dimensions)
        )


@functools.cache
def _of_dimension(
    function: Callable, equations: GridEquations, dimension: int, compilation: Compilation
) -> Callable:
    """A function of equations and dimension, compiled once for all grids that have them."""
    bound = functools.partial(function, equations, dimension)
    if compilation.whole or not compilation.gates:
        return bound
    return tf.function(bound, autograph=False, jit_compile=True)


def _each(function, routes, *sides):
    """Applies a function per dimension to the hidden and to the memory vectors."""
    return Sides(
        *(
            tuple(function(route, *ones) for route, *ones in zip(routes, *parts, strict=True))
            for parts in zip(*sides, strict=True)
        )
    )


def _zeros(rows, like):
    return tf.zeros([rows, *tf.unstack(tf.shape(like))[1:]], like.dtype)


def _record(schedule, spans, like):
    return _record_of(schedule, spans, like.shape[1:], like.dtype)


def _record_of(schedule, spans, shape, dtype):
    """An array of one entry `[rows, *shape]` per hyperplane."""
    return tf.TensorArray(
        dtype,
        size=schedule.hyperplanes,
        element_shape=[spans.constant, *shape],
        infer_shape=False,
        clear_after_read=False,
    )


def _write(records, hyperplane, entries):
    """All records of a structure with one more entry."""
    return tf.nest.map_structure(
        lambda record, entry: record.write(hyperplane, entry), records, entries
    )


def _rows_of(record, spans):
    """All entries, one after the other."""
    if spans.constant is None:
        return record.concat()
    stacked = record.stack()
    shape = tf.unstack(tf.shape(stacked))
    static = [size or shape[axis] for axis, size in enumerate(stacked.shape)]
    return tf.reshape(stacked, [-1, *static[2:]])


def _loop(hyperplanes, step, variables):
    """Runs `step` for each hyperplane; rows may change in number from one to the next."""

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
