"""How vectors travel along one dimension of a grid, from hyperplane to hyperplane.

Some rows of a hyperplane get their vectors from the side of the grid (they are fresh), the others
from the hyperplane before; some rows' vectors leave the grid, the others go on.
"""

import abc
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ...shapes import shape_of


class Spans:
    """Spans of rows, one per hyperplane.

    Attributes:
      counts: `[hyperplanes]`, rows of each.
      constant: the rows of each as an int where they are known to be equal, else None.
    """

    def __init__(self, counts, starts=None):
        """Takes the rows of each, and where each begins if not where the one before it ends."""
        self.counts = counts
        self.constant = None
        if isinstance(counts, np.ndarray) and (counts == counts[0]).all():
            self.constant = int(counts[0])
        # Made here, once, as in the loop over hyperplanes every small operation counts.
        self._starts = None if starts is None else tf.convert_to_tensor(starts)
        starts = tf.cumsum(counts) - counts if starts is None else self._starts
        starts, column = starts[:, None], tf.convert_to_tensor(counts)[:, None]
        rest = tf.fill(tf.shape(column), -1)
        self._slices = {
            rank: (
                tf.concat([starts, *[tf.zeros_like(rest)] * (rank - 1)], axis=1),
                tf.concat([column, *[rest] * (rank - 1)], axis=1),
            )
            for rank in (1, 2, 3)
        }
        self._head, self._tail = (
            tf.concat(sizes, axis=1) for sizes in ([column, rest], [rest, column])
        )

    def of(self, rows: tf.Tensor, hyperplane: tf.Tensor) -> tf.Tensor:
        """A hyperplane's span of rows `[all, ...]`."""
        rank = rows.shape.rank
        if self.constant is not None:
            start = hyperplane * self.constant
            if self._starts is not None:
                start = tf.gather(self._starts, hyperplane)
            begin = [start, *[0] * (rank - 1)]
            return tf.slice(rows, begin, [self.constant, *[-1] * (rank - 1)])
        begin, size = (tf.gather(table, hyperplane) for table in self._slices[rank])
        span = tf.slice(rows, begin, size)
        span.set_shape([None, *rows.shape[1:]])
        return span

    def cut(
        self, rows: tf.Tensor, hyperplane: tf.Tensor, from_end: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As many rows as a hyperplane's span has, from one end of `rows`, and the others."""
        sizes = tf.gather(self._tail if from_end else self._head, hyperplane)
        head, tail = tf.split(rows, sizes, axis=0, num=2)
        return (tail, head) if from_end else (head, tail)


class Route(abc.ABC):
    """How vectors travel along one dimension.

    Attributes:
      fresh: rows that enter the grid at each hyperplane.
      leaving: rows that leave it.
      others: number of blocks along the other dimensions.
      idle: rows that go on into the first hyperplane and out of the last one; they mean nothing.
    """

    fresh: Spans
    leaving: Spans
    others: tuple[int | tf.Tensor, ...]
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

    def leave(self, rows):
        """The leaving rows of all hyperplanes as `[*other extents, batch, width]`."""
        return tf.reshape(rows, [*self.others, *_tail(rows)])

    enter_gradient = leave
    leave_gradient = enter


class ContiguousRoute(Route):
    """A dimension whose fresh rows all lie at one end, so that nothing has to be sorted."""

    def __init__(self, fresh: Spans, leaving: Spans, others: tuple, fresh_first: bool):
        self.fresh = fresh
        self.leaving = leaving
        self.others = others
        self._fresh_first = fresh_first

    def join(self, hyperplane, fresh, continuing):
        return tf.concat(self._order(fresh, continuing), axis=0)

    def split(self, hyperplane, rows):
        return self.leaving.cut(rows, hyperplane, from_end=self._fresh_first)

    def join_gradient(self, hyperplane, rows):
        return self.fresh.cut(rows, hyperplane, from_end=not self._fresh_first)

    def split_gradient(self, hyperplane, leaving, continuing):
        return tf.concat(self._order(continuing, leaving), axis=0)

    def _order(self, first, last):
        return [first, last] if self._fresh_first else [last, first]


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

    def __init__(
        self,
        rows: Spans,
        before: Spans,
        fresh: Spans,
        leaving: Spans,
        others: tuple[int, ...],
        tables: Tables,
    ):
        self.fresh = fresh
        self.leaving = leaving
        self.others = others
        self.idle = int(before.counts[0])
        self._rows = rows
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

    def leave(self, rows):
        return super().leave(_gather_or_zero([rows], self._tables.leave))

    def enter_gradient(self, rows):
        return super().leave(_gather_or_zero([rows], self._tables.enter_gradient))

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


class Layout(NamedTuple):
    """Where the blocks of a grid are among the rows of its hyperplanes.

    Attributes:
      extents: number of blocks along each dimension.
      coordinates: `[blocks, dimensions]`.
      hyperplane: `[blocks]`, on which each lies.
      position: `[blocks]`, its row there.
      row: `[blocks]`, its row among those of all hyperplanes.
      rows: the rows of each hyperplane.
      before: the rows that go on into each hyperplane.
      padded: whether all hyperplanes have the same number of rows.
    """

    extents: tuple[int, ...]
    coordinates: np.ndarray
    hyperplane: np.ndarray
    position: np.ndarray
    row: np.ndarray
    rows: Spans
    before: Spans
    padded: bool

    def others(self, dimension: int) -> tuple[int, ...]:
        """The extents of a side of the grid."""
        return self.extents[:dimension] + self.extents[dimension + 1 :]

    def side_index(self, dimension: int) -> np.ndarray:
        """`[blocks]`, the entry of a side `[*others, ...]` on the line of each block."""
        others = self.others(dimension)
        if not others:
            return np.zeros(len(self.row), np.int32)
        return np.ravel_multi_index(np.delete(self.coordinates, dimension, axis=1).T, others)


class Crossing:
    """The blocks of a grid at which vectors cross one of its sides.

    Attributes:
      blocks: which, sorted by hyperplane and row.
      spans: how many at each hyperplane, padding included.
      rank: `[blocks]`, of each its number within the hyperplane.
      rows: `[blocks]`, of each its number among those of all hyperplanes.
    """

    def __init__(self, layout: Layout, blocks: np.ndarray):
        self.blocks = blocks[np.lexsort([layout.position[blocks], layout.hyperplane[blocks]])]
        d = layout.hyperplane[self.blocks]
        counts = np.bincount(d, minlength=len(layout.rows.counts)).astype(np.int32)
        self.rank = np.arange(len(blocks)) - (counts.cumsum() - counts)[d]
        if layout.padded:
            counts[:] = counts.max()
        self.spans = Spans(counts)
        self.rows = (counts.cumsum() - counts)[d] + self.rank

    def tables(self, side_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The side's entry of each row, one past the last for padding; each entry's row."""
        entries = np.full(self.spans.counts.sum(), len(self.blocks))
        entries[self.rows] = side_index[self.blocks]
        rows = np.zeros(len(self.blocks), np.int32)
        rows[side_index[self.blocks]] = self.rows
        return entries, rows


def gathered_route(layout: Layout, dimension: int) -> GatheredRoute:
    """The tables of one dimension."""
    d, position, row = layout.hyperplane, layout.position, layout.row
    counts, before = layout.rows.counts, layout.before.counts
    at, last = layout.coordinates[:, dimension], layout.extents[dimension] - 1
    fresh, leaving = (Crossing(layout, np.flatnonzero(there)) for there in (at == 0, at == last))
    inner, on = np.flatnonzero(at > 0), np.flatnonzero(at < last)
    predecessor = inner - int(np.prod(layout.extents[dimension + 1 :]))

    join = np.repeat(fresh.spans.counts + before, counts)
    join[row[fresh.blocks]] = fresh.rank
    join[row[inner]] = fresh.spans.counts[d[inner]] + position[predecessor]
    continuing_gradient = np.repeat(counts, before)
    starts = before.cumsum() - before
    continuing_gradient[starts[d[inner]] + position[predecessor]] = position[inner]
    fresh_gradient = np.repeat(counts, fresh.spans.counts)
    fresh_gradient[fresh.rows] = position[fresh.blocks]

    split = np.repeat(counts, leaving.spans.counts)
    split[leaving.rows] = position[leaving.blocks]
    split_gradient = np.repeat(leaving.spans.counts + np.roll(before, -1), counts)
    split_gradient[row[leaving.blocks]] = leaving.rank
    split_gradient[row[on]] = leaving.spans.counts[d[on]] + position[on]

    side_index = layout.side_index(dimension)
    enter, enter_gradient = fresh.tables(side_index)
    leave_gradient, leave = leaving.tables(side_index)
    tables = GatheredRoute.Tables(
        join,
        split,
        fresh_gradient,
        continuing_gradient,
        split_gradient,
        enter,
        leave,
        enter_gradient,
        leave_gradient,
    )
    return GatheredRoute(
        layout.rows,
        layout.before,
        fresh.spans,
        leaving.spans,
        layout.others(dimension),
        GatheredRoute.Tables(*(table.astype(np.int32) for table in tables)),
    )
