"""In which order a wavefront visits the blocks of a grid, and how vectors travel between them.

All blocks whose coordinates sum to d lie on hyperplane d and depend only on those of hyperplane
d - 1. The blocks of one hyperplane are the rows of every tensor of a step, sorted by layer. Along
each dimension some rows get their vectors from the side of the grid (they are fresh), the others
from the hyperplane before; some rows' vectors leave the grid, the others go on.
"""

import abc
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model.errors import InputError
from model.transforms import shape_of


class Spans:
    """Consecutive spans of rows, one per hyperplane.

    Attributes:
      counts: `[hyperplanes]`, rows of each.
      total: rows of all.
      constant: the rows of each as an int where they are known to be equal, else None.
    """

    def __init__(self, counts):
        self.counts = counts
        self.constant = None
        if isinstance(counts, np.ndarray) and (counts == counts[0]).all():
            self.constant = int(counts[0])
        self._starts = tf.cumsum(tf.constant(counts) if isinstance(counts, np.ndarray) else counts)
        self._starts -= counts

    def count(self, hyperplane: tf.Tensor) -> int | tf.Tensor:
        """Rows of one hyperplane."""
        return tf.gather(self.counts, hyperplane) if self.constant is None else self.constant

    def of(self, rows: tf.Tensor, hyperplane: tf.Tensor) -> tf.Tensor:
        """A hyperplane's part of `[total, ...]`."""
        rest = [0] * (rows.shape.rank - 1)
        if self.constant is not None:
            begin = [hyperplane * self.constant, *rest]
            return tf.slice(rows, begin, [self.constant, *(-1 for _ in rest)])
        begin = [tf.gather(self._starts, hyperplane), *rest]
        span = tf.slice(rows, begin, [self.count(hyperplane), *(-1 for _ in rest)])
        span.set_shape([None, *rows.shape[1:]])
        return span


class Route(abc.ABC):
    """How vectors travel along one dimension.

    Attributes:
      fresh: rows that enter the grid at each hyperplane.
      leaving: rows that leave it.
      idle: rows that go on into the first hyperplane and out of the last one; they mean nothing.
    """

    fresh: Spans
    leaving: Spans
    idle: int = 0

    @abc.abstractmethod
    def join(self, hyperplane, fresh, continuing):
        """The rows that enter a hyperplane, from the side and from the hyperplane before."""

    @abc.abstractmethod
    def split(self, hyperplane, rows):
        """The rows that leave the grid after a hyperplane, and those that go on."""

    @abc.abstractmethod
    def join_gradient(self, hyperplane, rows):
        """The derivative of `join`: gradients of fresh and of continuing."""

    @abc.abstractmethod
    def split_gradient(self, hyperplane, leaving, continuing):
        """The derivative of `split`: gradients of the rows."""

    def enter(self, side):
        """`[*other extents, batch, width]` as the fresh rows of all hyperplanes."""
        rows = [1]
        for size in shape_of(side)[:-2]:
            rows = [rows[0] * size]
        return tf.reshape(side, [*rows, *_tail(side)])

    def leave(self, rows, others):
        """The leaving rows of all hyperplanes as `[*other extents, batch, width]`."""
        return tf.reshape(rows, [*others, *_tail(rows)])

    enter_gradient = leave
    leave_gradient = enter


class ContiguousRoute(Route):
    """A dimension whose fresh rows all lie at one end, so that nothing has to be sorted."""

    def __init__(self, fresh: Spans, leaving: Spans, fresh_first: bool):
        self.fresh = fresh
        self.leaving = leaving
        self._fresh_first = fresh_first

    def join(self, hyperplane, fresh, continuing):
        return tf.concat(self._order(fresh, continuing), axis=0)

    def split(self, hyperplane, rows):
        return self._cut(rows, self.leaving.count(hyperplane), self._fresh_first)

    def join_gradient(self, hyperplane, rows):
        return self._cut(rows, self.fresh.count(hyperplane), not self._fresh_first)

    def split_gradient(self, hyperplane, leaving, continuing):
        return tf.concat(self._order(continuing, leaving), axis=0)

    def _order(self, first, last):
        return [first, last] if self._fresh_first else [last, first]

    @staticmethod
    def _cut(rows, count, from_end):
        """`count` rows at one end, and the others."""
        at = tf.shape(rows)[0] - count if from_end else count
        head, tail = rows[:at], rows[at:]
        return (tail, head) if from_end else (head, tail)


class GatheredRoute(Route):
    """Any dimension of any grid; every row that is not there is a row of zeros.

    Tables of row numbers, one span of rows per hyperplane; sources are the concatenations named in
    the methods, whose last row is the one of zeros.
    """

    class Tables(NamedTuple):
        """Row numbers; see the methods that use them."""

        join: np.ndarray
        split: np.ndarray
        fresh_gradient: np.ndarray
        continuing_gradient: np.ndarray
        split_gradient: np.ndarray
        enter: np.ndarray
        leave: np.ndarray
        enter_gradient: np.ndarray
        leave_gradient: np.ndarray

    def __init__(self, rows: Spans, before: Spans, fresh: Spans, leaving: Spans, tables: Tables):
        self.fresh = fresh
        self.leaving = leaving
        self._rows = rows
        self.idle = int(before.counts[0])
        self._before = before
        self._tables = GatheredRoute.Tables(*map(tf.constant, tables))

    def join(self, hyperplane, fresh, continuing):
        return self._take([fresh, continuing], self._rows, self._tables.join, hyperplane)

    def split(self, hyperplane, rows):
        return self._take([rows], self.leaving, self._tables.split, hyperplane), rows

    def join_gradient(self, hyperplane, rows):
        return (
            self._take([rows], self.fresh, self._tables.fresh_gradient, hyperplane),
            self._take([rows], self._before, self._tables.continuing_gradient, hyperplane),
        )

    def split_gradient(self, hyperplane, leaving, continuing):
        table = self._tables.split_gradient
        return self._take([leaving, continuing], self._rows, table, hyperplane)

    def enter(self, side):
        return _gather_or_zero([super().enter(side)], self._tables.enter)

    def leave(self, rows, others):
        return super().leave(_gather_or_zero([rows], self._tables.leave), others)

    def enter_gradient(self, rows, others):
        return super().leave(_gather_or_zero([rows], self._tables.enter_gradient), others)

    def leave_gradient(self, side):
        return _gather_or_zero([super().enter(side)], self._tables.leave_gradient)

    @staticmethod
    def _take(sources, spans, table, hyperplane):
        return _gather_or_zero(sources, spans.of(table, hyperplane))


def _gather_or_zero(sources, table):
    zero = tf.zeros([1, *_tail(sources[0])], sources[0].dtype)
    return tf.gather(tf.concat([*sources, zero], axis=0), table)


def _tail(rows):
    return shape_of(rows)[-2:]


class Schedule(NamedTuple):
    """The order of a wavefront.

    Attributes:
      hyperplanes: how many there are.
      rows: the rows of each hyperplane.
      before: the rows that go on into each hyperplane, at most.
      routes: per dimension.
      cells: `[rows.total]`, the flat index of each row's block in the grid; 0 for padding.
      layer_rows: per layer the rows that belong to it, over all hyperplanes.
      layer_spans: `[hyperplanes, layers + 1]`, where the rows of each layer begin within a
        hyperplane; None where a hyperplane has one row of each of the layers
        `first_layer, first_layer + 1, ...`.
      first_layer: `[hyperplanes]`; None where `layer_spans` is there.
    """

    hyperplanes: int | tf.Tensor
    rows: Spans
    routes: tuple[Route, ...]
    cells: tf.Tensor
    layer_rows: tuple[tf.Tensor, ...]
    layer_spans: np.ndarray | None
    first_layer: tf.Tensor | None


def sequence_schedule(steps: int | tf.Tensor, layers: int) -> Schedule:
    """The anti-diagonals of a 2-D grid, without padding; the number of steps may be a tensor."""
    hyperplanes = steps + layers - 1
    hyperplane = tf.range(hyperplanes)
    first = tf.maximum(0, hyperplane - steps + 1)
    end = tf.minimum(layers, hyperplane + 1)
    time = ContiguousRoute(
        Spans(tf.cast(hyperplane < layers, tf.int32)),
        Spans(tf.cast(hyperplane >= steps - 1, tf.int32)),
        fresh_first=False,
    )
    depth = ContiguousRoute(
        Spans(tf.cast(hyperplane < steps, tf.int32)),
        Spans(tf.cast(hyperplane >= layers - 1, tf.int32)),
        fresh_first=True,
    )
    layer = tf.range(layers)[None]
    step = hyperplane[:, None] - layer
    there = (step >= 0) & (step < steps)
    cells = tf.boolean_mask(step * layers + layer, there)
    return Schedule(
        hyperplanes=hyperplanes,
        rows=Spans(end - first),
        routes=(time, depth),
        cells=cells,
        layer_rows=tuple(tf.where(cells % layers == at)[:, 0] for at in range(layers)),
        layer_spans=None,
        first_layer=first,
    )


def grid_schedule(extents: tuple[int, ...], padded: bool) -> Schedule:
    """The hyperplanes of any grid, from tables.

    Args:
      extents: number of blocks along each dimension; the last is the number of layers.
      padded: give all hyperplanes the same number of rows, and of each layer, as static shapes need
        it. Otherwise only as many that there are few different sizes.
    """
    cells = np.arange(np.prod(extents))
    coordinates = np.stack(np.unravel_index(cells, extents), axis=1)
    hyperplane = coordinates.sum(axis=1)
    hyperplanes = int(hyperplane.max()) + 1
    layers = extents[-1]
    per_layer = np.zeros([hyperplanes, layers], np.int32)
    np.add.at(per_layer, (hyperplane, coordinates[:, -1]), 1)
    if padded:
        per_layer[:] = per_layer.max(axis=0)
    else:
        _round_up(per_layer)
    spans = np.concatenate(
        [np.zeros([hyperplanes, 1], np.int32), per_layer.cumsum(axis=1, dtype=np.int32)], axis=1
    )
    counts = spans[:, -1].copy()
    starts = counts.cumsum() - counts
    order = np.lexsort([*coordinates[:, :-1].T, coordinates[:, -1], hyperplane])
    position = np.zeros(len(cells), np.int32)  # of each cell within its hyperplane
    taken = spans[:, :-1].copy()
    for cell in order:
        d, layer = hyperplane[cell], coordinates[cell, -1]
        position[cell] = taken[d, layer]
        taken[d, layer] += 1
    row = starts[hyperplane] + position
    row_cell = np.full(counts.sum(), -1, np.int32)
    row_cell[row] = cells
    rows = Spans(counts.astype(np.int32))
    before = Spans(np.concatenate([counts[:1] if padded else [0], counts[:-1]]).astype(np.int32))
    grid = _Layout(extents, coordinates, hyperplane, position, row, rows, before, padded)
    return Schedule(
        hyperplanes=hyperplanes,
        rows=rows,
        routes=tuple(_gathered_route(grid, i) for i in range(len(extents))),
        cells=tf.constant(np.maximum(row_cell, 0)),
        layer_rows=tuple(
            tf.constant(row[coordinates[:, -1] == layer].astype(np.int32))
            for layer in range(layers)
        ),
        layer_spans=spans,
        first_layer=None,
    )


def _round_up(per_layer: np.ndarray, sizes: int = 8) -> None:
    """Adds padding to the last layer so that hyperplanes have at most about `sizes` sizes."""
    counts = per_layer.sum(axis=1)
    unit = -(-int(counts.max()) // sizes)
    per_layer[:, -1] += -counts % unit


class _Layout(NamedTuple):
    extents: tuple[int, ...]
    coordinates: np.ndarray
    hyperplane: np.ndarray
    position: np.ndarray
    row: np.ndarray
    rows: Spans
    before: Spans
    padded: bool


def _gathered_route(grid: _Layout, dimension: int) -> GatheredRoute:
    hyperplanes = len(grid.rows.counts)
    at = grid.coordinates[:, dimension]
    cells = np.arange(len(at))
    stride = int(np.prod(grid.extents[dimension + 1 :]))
    others = tuple(np.delete(grid.extents, dimension))
    side_index = np.zeros(len(at), np.int32)
    if others:
        side_index[:] = np.ravel_multi_index(
            np.delete(grid.coordinates, dimension, axis=1).T, others
        )
    sides = {}
    for name, there in (("fresh", at == 0), ("leaving", at == grid.extents[dimension] - 1)):
        chosen = cells[there]
        chosen = chosen[np.lexsort([grid.position[chosen], grid.hyperplane[chosen]])]
        counts = np.bincount(grid.hyperplane[chosen], minlength=hyperplanes).astype(np.int32)
        if grid.padded:
            counts[:] = counts.max()
        starts = counts.cumsum() - counts
        rank = np.zeros(len(at), np.int32)
        seen = np.zeros(hyperplanes, np.int32)
        for cell in chosen:
            rank[cell] = seen[grid.hyperplane[cell]]
            seen[grid.hyperplane[cell]] += 1
        sides[name] = chosen, Spans(counts), starts, rank
    fresh, fresh_spans, fresh_starts, fresh_rank = sides["fresh"]
    leaving, leaving_spans, leaving_starts, leaving_rank = sides["leaving"]

    counts, before = grid.rows.counts, grid.before.counts
    before_starts = before.cumsum() - before
    d = grid.hyperplane
    join = np.repeat(fresh_spans.counts + before, counts)
    join[grid.row[fresh]] = fresh_rank[fresh]
    inner = cells[at > 0]
    join[grid.row[inner]] = fresh_spans.counts[d[inner]] + grid.position[inner - stride]
    continuing = np.repeat(counts, before)
    continuing[before_starts[d[inner]] + grid.position[inner - stride]] = grid.position[inner]
    split = np.repeat(counts, leaving_spans.counts)
    split[leaving_starts[d[leaving]] + leaving_rank[leaving]] = grid.position[leaving]
    after = np.append(before[1:], before[0])
    split_gradient = np.repeat(leaving_spans.counts + after, counts)
    split_gradient[grid.row[leaving]] = leaving_rank[leaving]
    on = cells[at < grid.extents[dimension] - 1]
    split_gradient[grid.row[on]] = leaving_spans.counts[d[on]] + grid.position[on]
    fresh_gradient = np.repeat(counts, fresh_spans.counts)
    fresh_gradient[fresh_starts[d[fresh]] + fresh_rank[fresh]] = grid.position[fresh]

    def side_tables(chosen, spans, starts, rank):
        """From the side to the rows that cross it, and back."""
        there = np.full(spans.counts.sum(), len(chosen))
        rows = starts[d[chosen]] + rank[chosen]
        there[rows] = side_index[chosen]
        back = np.zeros(len(chosen), np.int32)
        back[side_index[chosen]] = rows
        return there, back

    enter, enter_gradient = side_tables(*sides["fresh"])
    leave_gradient, leave = side_tables(*sides["leaving"])
    tables = GatheredRoute.Tables(
        join,
        split,
        fresh_gradient,
        continuing,
        split_gradient,
        enter,
        leave,
        enter_gradient,
        leave_gradient,
    )
    return GatheredRoute(
        grid.rows,
        grid.before,
        fresh_spans,
        leaving_spans,
        GatheredRoute.Tables(*(table.astype(np.int32) for table in tables)),
    )


def choose_schedule(extents: tuple[int | tf.Tensor, ...], padded: bool) -> Schedule:
    """The schedule for a grid.

    Raises:
      InputError: if an extent must be known in advance and is not.
    """
    if len(extents) == 2 and not padded:
        return sequence_schedule(*extents)
    if not all(isinstance(extent, int) for extent in extents):
        raise InputError(
            f"the extents of the grid are {extents}; all must be known in advance for more or less "
            f"than 2 dimensions, and within an XLA program"
        )
    return grid_schedule(extents, padded)
