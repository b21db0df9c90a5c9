"""The schedule of a wavefront: the order in which it visits the blocks of a grid.

All blocks whose coordinates sum to d lie on hyperplane d and depend only on those of hyperplane
d - 1. The blocks of one hyperplane are the rows of every tensor of a step, sorted by layer.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ...errors import InputError
from ...shapes import is_known
from .routes import ContiguousRoute, Layout, Route, gathered_route
from .spans import Run, Spans


class Schedule(NamedTuple):
    """The order in which a wavefront visits the blocks.

    Attributes:
      hyperplanes: The number of hyperplanes.
      rows: The spans of the rows of each hyperplane.
      routes: The route of each dimension.
      cells: The flat index in the grid of each row's block, `[all rows]`; 0 for padding.
      layer_rows: For each layer the rows that belong to it, over all hyperplanes.
      layer_spans: The first row of each layer within a hyperplane, `[hyperplanes, layers + 1]`;
        None where a hyperplane has one row for each of its layers.
      layers: The spans of the layers of each hyperplane; None where `layer_spans` is set.
    """

    hyperplanes: int | tf.Tensor
    rows: Spans
    routes: tuple[Route, ...]
    cells: tf.Tensor
    layer_rows: tuple[tf.Tensor, ...]
    layer_spans: np.ndarray | None
    layers: Spans | None


def sequence_schedule(steps: int | tf.Tensor, layers: int) -> Schedule:
    """Returns the schedule of a 2-D grid by its anti-diagonals, without padding.

    Args:
      steps: The number of time steps, which may be a tensor.
      layers: The number of layers.
    """
    hyperplanes = steps + layers - 1
    hyperplane = tf.range(hyperplanes)
    first = tf.maximum(0, hyperplane - steps + 1)
    end = tf.minimum(layers, hyperplane + 1)

    def one_row(first: int | tf.Tensor, end: int | tf.Tensor) -> Spans:
        has_row = (hyperplane >= first) & (hyperplane < end)
        return Spans(tf.cast(has_row, tf.int32), runs=(Run(first, end),))

    time = ContiguousRoute(
        one_row(0, layers), one_row(steps - 1, hyperplanes), others=(layers,), fresh_first=False
    )
    depth = ContiguousRoute(
        one_row(0, steps), one_row(layers - 1, hyperplanes), others=(steps,), fresh_first=True
    )
    runs = _sequence_runs(steps, layers)
    layer = tf.range(layers)[None]
    step = hyperplane[:, None] - layer
    there = (step >= 0) & (step < steps)
    cells = tf.boolean_mask(step * layers + layer, there)
    return Schedule(
        hyperplanes=hyperplanes,
        rows=Spans(end - first, runs=runs),
        routes=(time, depth),
        cells=cells,
        layer_rows=tuple(tf.where(cells % layers == at)[:, 0] for at in range(layers)),
        layer_spans=None,
        layers=Spans(end - first, first, runs),
    )


def _sequence_runs(steps: int | tf.Tensor, layers: int) -> tuple[Run, ...]:
    """Returns the runs of anti-diagonals of equal length, where `steps` may be a tensor."""
    if isinstance(steps, int):
        least, most = min(steps, layers), max(steps, layers)
        rising = [Run(at, at + 1, is_single=True) for at in range(least - 1)]
        falling = [Run(most + at, most + at + 1, is_single=True) for at in range(least - 1)]
        return (*rising, Run(least - 1, most), *falling)
    least, most = tf.minimum(steps, layers), tf.maximum(steps, layers)
    rising, falling = [], []
    for at in range(layers - 1):  # of which a short sequence has fewer
        present = at < least - 1
        rising.append(Run(at, at + 1, present, is_single=True))
        first = tf.where(present, most + at, 0)
        falling.append(Run(first, first + 1, present, is_single=True))
    return (*rising, Run(least - 1, most), *falling)


def grid_schedule(extents: tuple[int, ...], padded: bool) -> Schedule:
    """Returns the schedule of any grid, from tables of indices.

    A grid of fewer steps than layers has as many rows as steps on all hyperplanes.

    Args:
      extents: The number of blocks along each dimension; the last is the number of layers.
      padded: Whether all hyperplanes have the same number of rows, and of each layer, as static
        shapes need it. Otherwise padding only makes the number of different sizes small.
    """
    blocks = np.arange(np.prod(extents))
    coordinates = np.stack(np.unravel_index(blocks, extents), axis=1)
    hyperplane, layer = coordinates.sum(axis=1), coordinates[:, -1]
    steps, layers = int(np.prod(extents[:-1])), extents[-1]
    has_few_steps = len(extents) <= 2 and steps < layers
    padded = padded or has_few_steps
    if has_few_steps:
        order = _order_few_steps(hyperplane, layer, steps, layers)
    else:
        order = _order_by_layer(hyperplane, layer, layers, padded)
    counts = order.counts
    row = (counts.cumsum() - counts)[hyperplane] + order.position
    row_cell = np.zeros(counts.sum(), np.int32)
    row_cell[row] = blocks
    rows = Spans(counts)
    before = Spans(np.concatenate([counts[:1] if padded else [0], counts[:-1]]).astype(np.int32))
    layout = Layout(
        extents=extents,
        coordinates=coordinates,
        hyperplane=hyperplane,
        position=order.position,
        row=row,
        rows=rows,
        before=before,
        padded=padded,
    )
    return Schedule(
        hyperplanes=len(counts),
        rows=rows,
        routes=tuple(gathered_route(layout, i) for i in range(len(extents))),
        cells=tf.constant(row_cell),
        layer_rows=tuple(tf.constant(row[layer == at].astype(np.int32)) for at in range(layers)),
        layer_spans=order.layer_spans,
        layers=order.layers,
    )


class _Order(NamedTuple):
    """The order of the rows of each hyperplane.

    Attributes:
      counts: The number of rows of each hyperplane, `[hyperplanes]`.
      position: The row of each block within its hyperplane, `[blocks]`.
      layer_spans: The spans of layers; see `Schedule`.
      layers: The layers of each hyperplane; see `Schedule`.
    """

    counts: np.ndarray
    position: np.ndarray
    layer_spans: np.ndarray | None
    layers: Spans | None


def _order_few_steps(hyperplane: np.ndarray, layer: np.ndarray, steps: int, layers: int) -> _Order:
    """Orders a grid of few steps: a row for each of `steps` consecutive layers."""
    hyperplanes = steps + layers - 1
    first = np.clip(np.arange(hyperplanes) - steps + 1, 0, layers - steps).astype(np.int32)
    counts = np.full(hyperplanes, steps, np.int32)
    position = (layer - first[hyperplane]).astype(np.int32)
    return _Order(counts, position, None, Spans(counts, first))


def _order_by_layer(hyperplane: np.ndarray, layer: np.ndarray, layers: int, padded: bool) -> _Order:
    """Orders the rows of a hyperplane by layer."""
    hyperplanes = int(hyperplane.max()) + 1
    group = hyperplane * layers + layer
    sizes = np.bincount(group, minlength=hyperplanes * layers)
    per_layer = sizes.reshape(hyperplanes, layers).astype(np.int32)
    if padded:
        per_layer[:] = per_layer.max(axis=0)
    else:
        _round_up(per_layer)
    spans = np.pad(per_layer.cumsum(axis=1, dtype=np.int32), [(0, 0), (1, 0)])
    # Blocks are numbered in the order in which those of a group are to follow each other.
    order = np.argsort(group, kind="stable")
    position = np.zeros(len(group), np.int32)
    position[order] = np.arange(len(group)) - (sizes.cumsum() - sizes)[group[order]]
    position += spans[hyperplane, layer]
    return _Order(spans[:, -1].copy(), position, spans, None)


def _round_up(per_layer: np.ndarray, sizes: int = 8) -> None:
    """Adds padding to the last layer so that hyperplanes have at most about `sizes` sizes."""
    counts = per_layer.sum(axis=1)
    unit = -(-int(counts.max()) // sizes)
    per_layer[:, -1] += -counts % unit


def choose_schedule(extents: tuple[int | tf.Tensor, ...], padded: bool) -> Schedule:
    """Returns the schedule of a grid.

    Args:
      extents: The number of blocks along each dimension; the last is the number of layers.
      padded: Whether all hyperplanes have the same number of rows; see `grid_schedule`.

    Raises:
      InputError: If an extent must be known in advance and is not.
    """
    if len(extents) == 2 and not padded:
        return sequence_schedule(*extents)
    if not is_known(extents):
        raise InputError(
            f"the extents of the grid are {extents}; all must be known in advance for more or less "
            f"than 2 dimensions, and within an XLA program"
        )
    return grid_schedule(extents, padded)
