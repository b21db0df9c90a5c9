"""Routes: how vectors travel along one dimension of a grid, from hyperplane to hyperplane.

Some rows of a hyperplane get their vectors from the side of the grid (they are *fresh*), the others
from the hyperplane before (they *continue*); the vectors of some rows leave the grid, those of the
others continue to the next hyperplane.

The textbook form for two dimensions is a skewed array: every hyperplane has as many rows as the
grid has layers, those outside the grid are masked, and a step shifts all rows by one. It needs no
routes, but computes cells that do not exist. Timed in turns with routes, forward and backward, on
two cores of an Intel Xeon with AMX on 2026-11-28 (`python -m benchmarks.skewed_wavefront`), it took
1.02 times as long for 6 layers of 1,000 units, 1.19 for 3 of 256 and 0.99 for 2 of 128 in bfloat16
with `jit="gates"`; in float32 with `jit="step"` 1.10, 1.14 and 1.16.
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ...shapes import shape_of
from .spans import Spans


class Route(abc.ABC):
    """The travel of vectors along one dimension.

    Attributes:
      fresh: The spans of the rows that enter the grid at each hyperplane.
      leaving: The spans of the rows that leave the grid at each hyperplane.
      others: The number of blocks along each other dimension.
      idle: The number of padding rows that continue into the first hyperplane and out of the last.
    """

    fresh: Spans
    leaving: Spans
    others: tuple[int | tf.Tensor, ...]
    idle: int = 0

    @abc.abstractmethod
    def join(self, hyperplane: tf.Tensor, fresh: tf.Tensor, continuing: tf.Tensor) -> tf.Tensor:
        """Joins the rows that enter a hyperplane, from the side and from the hyperplane before."""

    @abc.abstractmethod
    def split(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits the rows of a hyperplane: those that leave the grid, and those that continue."""

    @abc.abstractmethod
    def join_gradient(
        self, hyperplane: tf.Tensor, d_rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the gradients of `join`: those of the fresh and of the continuing rows."""

    @abc.abstractmethod
    def split_gradient(
        self, hyperplane: tf.Tensor, d_leaving: tf.Tensor, d_continuing: tf.Tensor
    ) -> tf.Tensor:
        """Computes the gradient of `split`: that of the rows."""

    def enter(self, side: tf.Tensor) -> tf.Tensor:
        """Orders a side `[*other extents, batch, width]` as the fresh rows of all hyperplanes."""
        rows = [1]
        for size in shape_of(side)[:-2]:
            rows = [rows[0] * size]
        return tf.reshape(side, [*rows, *_tail(side)])

    def leave(self, rows: tf.Tensor) -> tf.Tensor:
        """Orders the leaving rows of all hyperplanes as `[*other extents, batch, width]`."""
        return tf.reshape(rows, [*self.others, *_tail(rows)])

    enter_gradient = leave
    leave_gradient = enter


class ContiguousRoute(Route):
    """A dimension whose fresh rows all lie at one end, so that rows need no gathering.

    Args:
      fresh: The spans of the fresh rows.
      leaving: The spans of the leaving rows.
      others: The number of blocks along each other dimension.
      fresh_first: Whether the fresh rows are the first of a hyperplane; otherwise the last.
    """

    def __init__(self, fresh: Spans, leaving: Spans, others: tuple, fresh_first: bool):
        self.fresh = fresh
        self.leaving = leaving
        self.others = others
        self._fresh_first = fresh_first

    def join(self, hyperplane: tf.Tensor, fresh: tf.Tensor, continuing: tf.Tensor) -> tf.Tensor:
        return tf.concat(self._order(fresh, continuing), axis=0)

    def split(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.leaving.split(rows, hyperplane, from_end=self._fresh_first)

    def join_gradient(
        self, hyperplane: tf.Tensor, d_rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self.fresh.split(d_rows, hyperplane, from_end=not self._fresh_first)

    def split_gradient(
        self, hyperplane: tf.Tensor, d_leaving: tf.Tensor, d_continuing: tf.Tensor
    ) -> tf.Tensor:
        return tf.concat(self._order(d_continuing, d_leaving), axis=0)

    def _order(self, first: tf.Tensor, last: tf.Tensor) -> list[tf.Tensor]:
        return [first, last] if self._fresh_first else [last, first]


class GatheredRoute(Route):
    """A dimension of any grid, by gathering rows from tables of indices.

    A table has a span of indices per hyperplane; they index the concatenation of the tensors named
    in the method that uses the table, followed by a row of zeros for what is absent.
    """

    class Tables(NamedTuple):
        """The tables of indices, each named after the method that uses it."""

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

    def join(self, hyperplane: tf.Tensor, fresh: tf.Tensor, continuing: tf.Tensor) -> tf.Tensor:
        return self._take([fresh, continuing], self._rows, self._tables.join, hyperplane)

    def split(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._take([rows], self.leaving, self._tables.split, hyperplane), rows

    def join_gradient(
        self, hyperplane: tf.Tensor, d_rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return (
            self._take([d_rows], self.fresh, self._tables.fresh_gradient, hyperplane),
            self._take([d_rows], self._before, self._tables.continuing_gradient, hyperplane),
        )

    def split_gradient(
        self, hyperplane: tf.Tensor, d_leaving: tf.Tensor, d_continuing: tf.Tensor
    ) -> tf.Tensor:
        table = self._tables.split_gradient
        return self._take([d_leaving, d_continuing], self._rows, table, hyperplane)

    def enter(self, side: tf.Tensor) -> tf.Tensor:
        return _gather_or_zero([super().enter(side)], self._tables.enter)

    def leave(self, rows: tf.Tensor) -> tf.Tensor:
        return super().leave(_gather_or_zero([rows], self._tables.leave))

    def enter_gradient(self, rows: tf.Tensor) -> tf.Tensor:
        return super().leave(_gather_or_zero([rows], self._tables.enter_gradient))

    def leave_gradient(self, side: tf.Tensor) -> tf.Tensor:
        return _gather_or_zero([super().enter(side)], self._tables.leave_gradient)

    @staticmethod
    def _take(
        sources: list[tf.Tensor], spans: Spans, table: tf.Tensor, hyperplane: tf.Tensor
    ) -> tf.Tensor:
        return _gather_or_zero(sources, spans.slice(table, hyperplane))


def _gather_or_zero(sources: list[tf.Tensor], table: tf.Tensor) -> tf.Tensor:
    zero = tf.zeros([1, *_tail(sources[0])], sources[0].dtype)
    return tf.gather(tf.concat([*sources, zero], axis=0), table)


def _tail(rows: tf.Tensor) -> Sequence[int | tf.Tensor]:
    return shape_of(rows)[-2:]


class Layout(NamedTuple):
    """The places of the blocks of a grid among the rows of its hyperplanes.

    Attributes:
      extents: The number of blocks along each dimension.
      coordinates: The coordinates of each block, `[blocks, dimensions]`.
      hyperplane: The hyperplane of each block, `[blocks]`.
      position: The row of each block within its hyperplane, `[blocks]`.
      row: The row of each block among those of all hyperplanes, `[blocks]`.
      rows: The spans of the rows of each hyperplane.
      before: The spans of the rows that continue into each hyperplane.
      padded: Whether all hyperplanes have the same number of rows.
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
        """Returns the extents of the side of the grid across a dimension."""
        return self.extents[:dimension] + self.extents[dimension + 1 :]

    def side_index(self, dimension: int) -> np.ndarray:
        """Returns, for each block, the index of its line in a side `[*others, ...]`."""
        others = self.others(dimension)
        if not others:
            return np.zeros(len(self.row), np.int32)
        return np.ravel_multi_index(np.delete(self.coordinates, dimension, axis=1).T, others)


class BoundaryRows:
    """The blocks at a side of a grid, where vectors enter or leave it.

    Args:
      layout: The places of the blocks.
      blocks: The indices of the blocks at the side.

    Attributes:
      blocks: The indices of the blocks, sorted by hyperplane and row.
      spans: The spans of the boundary rows of each hyperplane, padding included.
      rank: The number of each block among those of its hyperplane, `[blocks]`.
      rows: The number of each block among those of all hyperplanes, `[blocks]`.
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
        """Returns the entry of the side for each row (one past the last for padding), and the row
        of each entry.
        """
        entries = np.full(self.spans.counts.sum(), len(self.blocks))
        entries[self.rows] = side_index[self.blocks]
        rows = np.zeros(len(self.blocks), np.int32)
        rows[side_index[self.blocks]] = self.rows
        return entries, rows


def gathered_route(layout: Layout, dimension: int) -> GatheredRoute:
    """Returns the route of one dimension, with its tables of indices.

    Args:
      layout: The places of the blocks.
      dimension: The index of the dimension.
    """
    d, position, row = layout.hyperplane, layout.position, layout.row
    counts, before = layout.rows.counts, layout.before.counts
    at, last = layout.coordinates[:, dimension], layout.extents[dimension] - 1
    fresh, leaving = (
        BoundaryRows(layout, np.flatnonzero(there)) for there in (at == 0, at == last)
    )
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
