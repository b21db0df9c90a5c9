"""Experiments: points to measure, a summary of the measurements, and plots."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.framework.scale import Scale
from pipeline.corpora.corpus import Mixture
from pipeline.store.artifacts import Store

Row = dict[str, Any]
Tables = dict[str, list[Row]]
"""Measurements: rows by the name of their table; each row maps columns to values."""


def distinct(rows: Iterable[Row], column: str) -> list:
    """Returns the distinct values of a column, in order of their first appearance.

    Args:
      rows: Rows of a table.
      column: Name of the column.
    """
    return list(dict.fromkeys(row[column] for row in rows))


def difference(loss: float, reference: float) -> str:
    """Returns how much lower or higher a loss is than a reference.

    >>> difference(1.9, 2.0)
    '5.00% lower'

    Args:
      loss: The loss.
      reference: The loss that it is compared with.
    """
    percent = 100 * (1 - loss / reference)
    return f"{abs(percent):.2f}% {'lower' if percent > 0 else 'higher'}"


class Inputs(NamedTuple):
    """The user's choices other than the scale.

    Attributes:
      text: Corpus of the experiments on texts.
      saved_models: Paths of exports to probe in place of those that the experiments train.
      first_seed: First seed. Default 0.
      data: Folder with local copies of data sets; see `datasets.read`. Default: their cache.
    """

    text: Mixture
    saved_models: tuple[str, ...] = ()
    first_seed: int = 0
    data: str | None = None

    def seeds(self, count: int) -> range:
        """Returns the seeds of a number of repetitions."""
        return range(self.first_seed, self.first_seed + count)


class Measurement(NamedTuple):
    """The measurements of a point.

    Attributes:
      tables: Measurements.
      seconds: Seconds that they took when they were made.
    """

    tables: Tables
    seconds: float


def never(_: Tables) -> bool:
    """Returns False, for points that end no sweep."""
    return False


class Point(NamedTuple):
    """One training or measurement of an experiment.

    Attributes:
      labels: Labels that distinguish the point from others, the seed included; they become columns
        of all its rows.
      measure: Function that writes the artifacts of the point to a store, or finds them there, and
        returns the measurements.
      difficulty_sweep: Name of the sweep that the point belongs to; points of one sweep grow
        harder, and those after one that failed are left out.
      failed: Predicate on the measurements that ends the sweep.
    """

    labels: Mapping[str, Any]
    measure: Callable[[Store], Measurement]
    difficulty_sweep: str = ""
    failed: Callable[[Tables], bool] = never


class Plot(NamedTuple):
    """A plot of the measurements.

    Attributes:
      name: Name of the files, without a suffix.
      caption: Caption.
      draw: Function that draws it.
    """

    name: str
    caption: str
    draw: Callable[[Tables], Figure]


class Summary(NamedTuple):
    """A summary of the measurements.

    Attributes:
      sentences: Sentences that state the finding.
      header: Header of the table.
      rows: Rows of the table, as text.
      texts: Longer quotations, by heading.
    """

    sentences: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Mapping[str, str] = {}


def nothing(*_: Any) -> None:
    """Does nothing, for experiments whose points share no artifacts."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A claim, the measurements that test it, and how they are reported.

    Attributes:
      name: Name on the command line.
      title: Title in reports.
      claim: Claim of the literature, with its source.
      points: Function that returns the points of a scale in order; they can be pickled.
      summarize: Function that summarizes the measurements.
      plots: Plots of the measurements.
      outcomes: Name of the table with the outcome of each point. Default "nets".
      prepare: Function that writes artifacts which all points share, before any is measured.
      data_sets: Names in `datasets.DATA_SETS` of the data sets that are read at a scale. Default:
        none at any scale.
    """

    name: str
    title: str
    claim: str
    points: Callable[[Scale, Inputs], Sequence[Point]]
    summarize: Callable[[Tables], Summary]
    plots: Sequence[Plot]
    outcomes: str = "nets"
    prepare: Callable[[Store, Scale, Inputs], None] = nothing
    data_sets: Mapping[Scale, Sequence[str]] = dataclasses.field(default_factory=dict)
