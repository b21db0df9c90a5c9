"""What an experiment is: points to measure, and what to tell and draw of the measurements."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.scale import Scale
from pipeline.data.corpus import Mixture
from pipeline.store.artifacts import Store

Row = dict[str, Any]
Tables = dict[str, list[Row]]
"""Measurements: rows by the name of their table; each row a mapping of columns to values."""


def distinct(rows: Iterable[Row], column: str) -> list:
    """The values of a column, each once, in the order in which they come."""
    return list(dict.fromkeys(row[column] for row in rows))


class Inputs(NamedTuple):
    """What a user may choose besides the scale.

    Attributes:
      text: the corpus of the experiments on texts.
      saved_models: exports to look into, in place of those that the experiments make.
      first_seed: where the seeds begin.
    """

    text: Mixture
    saved_models: tuple[str, ...] = ()
    first_seed: int = 0

    def seeds(self, count: int) -> range:
        """The seeds of so many repetitions."""
        return range(self.first_seed, self.first_seed + count)


class Measured(NamedTuple):
    """What a point gave.

    Attributes:
      tables: the measurements.
      seconds: that they took when they were made.
    """

    tables: Tables
    seconds: float


def never(_: Tables) -> bool:
    """For points that end no sweep."""
    return False


class Point(NamedTuple):
    """One training or measurement of an experiment.

    Attributes:
      labels: what distinguishes it from the others, the seed included; columns of all its rows.
      measure: makes its artifacts in a store, or finds them there, and returns what they say.
      difficulty_sweep: Name of the sweep that the point belongs to; points of one sweep grow
        harder, and those after one that failed are left out.
      failed: Predicate on the measurements that ends the sweep.
    """

    labels: Mapping[str, Any]
    measure: Callable[[Store], Measured]
    difficulty_sweep: str = ""
    failed: Callable[[Tables], bool] = never


class Plot(NamedTuple):
    """A picture of the measurements.

    Attributes:
      name: of its files.
      caption: what it shows.
      draw: draws it.
    """

    name: str
    caption: str
    draw: Callable[[Tables], Figure]


class Summary(NamedTuple):
    """What the measurements come to.

    Attributes:
      sentences: the finding, computed from the measurements.
      header: of the table.
      rows: of the table, as text.
      texts: longer quotations by heading.
    """

    sentences: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Mapping[str, str] = {}


def nothing(*_: Any) -> None:
    """For experiments whose points share no artifacts."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A question, how it is measured, and how the answer is told.

    Attributes:
      name: on the command line.
      title: in reports.
      claim: what the literature says, with its source.
      points: what to measure at a scale, in order; they can be pickled.
      summarize: what the measurements come to.
      plots: what to draw.
      outcomes: the table that says what came of each point.
      prepare: makes artifacts that all points share, before any of them is measured.
    """

    name: str
    title: str
    claim: str
    points: Callable[[Scale, Inputs], Sequence[Point]]
    summarize: Callable[[Tables], Summary]
    plots: Sequence[Plot]
    outcomes: str = "nets"
    prepare: Callable[[Store, Scale, Inputs], None] = nothing
