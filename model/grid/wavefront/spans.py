"""The spans of rows that belong to each hyperplane of a wavefront."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Run(NamedTuple):
    """Consecutive hyperplanes whose spans have the same number of rows.

    Attributes:
      first: The first hyperplane; there is at least one.
      end: The hyperplane after the last.
      present: Whether the run counts, which a graph may have to find out. Default True.
      is_single: Whether the run is known to be of one hyperplane. Default False.
    """

    first: int | tf.Tensor
    end: int | tf.Tensor
    present: bool | tf.Tensor = True
    is_single: bool = False


def runs_of(counts: np.ndarray) -> tuple[Run, ...]:
    """Returns the runs of equal counts, without those of no rows.

    >>> [(run.first, run.end) for run in runs_of(np.array([1, 2, 2, 0]))]
    [(0, 1), (1, 3)]

    Args:
      counts: The number of rows of each hyperplane.
    """
    ends = [*(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    pairs = zip([0, *ends], ends, strict=False)
    return tuple(
        Run(first, end, is_single=end == first + 1) for first, end in pairs if counts[first]
    )


class Spans:
    """Spans of rows, one per hyperplane.

    Args:
      counts: The number of rows of each span, `[hyperplanes]`, int32.
      starts: The first row of each span, `[hyperplanes]`; None where each begins at the end of the
        one before.
      runs: The runs of spans with the same number of rows; None to find them in `counts`.

    Attributes:
      counts: The number of rows of each span.
      runs: The runs of spans with the same number of rows, without those of no rows.
      constant: The number of rows as an int where it is known to be the same for all, else None.
    """

    def __init__(
        self,
        counts: np.ndarray | tf.Tensor,
        starts: np.ndarray | tf.Tensor | None = None,
        runs: tuple[Run, ...] | None = None,
    ):
        self.counts = counts
        self.runs = runs_of(np.asarray(counts)) if runs is None else runs
        self.constant: int | None = None
        if isinstance(counts, np.ndarray) and (counts == counts[0]).all():
            self.constant = int(counts[0])
        # Made here, once, as in the loop over hyperplanes every small operation counts.
        self._starts = None if starts is None else tf.convert_to_tensor(starts)
        first = tf.cumsum(counts) - counts if self._starts is None else self._starts
        starts, sizes = first[:, None], tf.convert_to_tensor(counts)[:, None]
        rest = tf.fill(tf.shape(sizes), -1)
        self._slices = {
            rank: (
                tf.concat([starts, *[tf.zeros_like(rest)] * (rank - 1)], axis=1),
                tf.concat([sizes, *[rest] * (rank - 1)], axis=1),
            )
            for rank in (1, 2, 3)
        }
        self._head, self._tail = (
            tf.concat(parts, axis=1) for parts in ([sizes, rest], [rest, sizes])
        )

    def slice(self, rows: tf.Tensor, hyperplane: tf.Tensor) -> tf.Tensor:
        """Returns the span of a hyperplane from the rows of all, `[all rows, ...]`."""
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

    def split(
        self, rows: tf.Tensor, hyperplane: tf.Tensor, from_end: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits rows into as many as the span of a hyperplane has, and the others.

        Args:
          rows: The rows, `[rows, batch]` or of any higher rank.
          hyperplane: The index of the hyperplane.
          from_end: Whether the rows of the span are the last ones; otherwise they are the first.
        """
        sizes = tf.gather(self._tail if from_end else self._head, hyperplane)
        head, tail = tf.split(rows, sizes, axis=0, num=2)
        return (tail, head) if from_end else (head, tail)
