"""Draws curves and bars of measurements, with their spread over seeds."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Formatter, LogLocator, NullFormatter

from experiments.framework.experiment import Row

matplotlib.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)

# A model has the same colour in every plot.
COLORS = {
    "grid": "#1a6fb5",
    "grid, tied": "#1a6fb5",
    "grid, untied": "#7cc0f0",
    "stacked": "#d9662b",
    "tanh": "#6b7580",
    "tanh, tied": "#6b7580",
    "tanh, untied": "#b1b9c2",
    "relu": "#3f8f4f",
    "relu, tied": "#3f8f4f",
    "relu, untied": "#8fcf9b",
    "highway": "#a04fb0",
    "residual_lstm": "#b8901f",
    "highway_lstm": "#c2416b",
    "rhn": "#3f8f4f",
    "highway, layerwise": "#c08a1e",
    "residual": "#2f9e9e",
    "plain": "#6b7580",
}
OTHERS = ("#1a6fb5", "#d9662b", "#3f8f4f", "#a04fb0", "#b8901f", "#2f9e9e", "#6b7580", "#c2416b")


def panels(
    count: int,
    height: float = 3.0,
    width: float = 4.2,
    most: int = 3,
    shares_y: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of panels.

    Args:
      count: Number of panels.
      height: Height of a panel in inches.
      width: Width of a panel in inches.
      most: Largest number of panels in a row. Default 3.
      shares_y: Whether the panels have a common y axis. Default True.

    Returns:
      The figure and its panels.
    """
    columns = min(count, most)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, 5), height * rows))
    axes = figure.subplots(rows, columns, sharey=shares_y, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, list(axes[:count])


def color(name: str, number: int) -> str:
    """Returns the colour of a series.

    Args:
      name: Name of the series.
      number: Number of the series, for names without a colour of their own.
    """
    return COLORS.get(name) or OTHERS[number % len(OTHERS)]


def curves(
    axes: Axes,
    rows: Iterable[Row],
    x: str,
    y: str,
    name: Callable[[Row], str],
    styles: Callable[[str], dict] = lambda _: {},
    extend: bool = True,
) -> None:
    """Draws a line per name: the mean over seeds, in a band from the lowest to the highest.

    Args:
      axes: Panel to draw on.
      rows: Rows of all seeds.
      x: Column along the horizontal axis.
      y: Column along the vertical axis.
      name: Function that returns the name of a row's line.
      styles: Function that returns matplotlib's line properties for a name.
      extend: Whether a seed that ended before others keeps its last value, as a training does;
        otherwise the mean at an x is over the seeds with a value there. Default True.
    """
    series: dict[str, dict] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        series[name(row)][row["seed"]][row[x]] = row[y]
    for number, (label, seeds) in enumerate(series.items()):
        places = sorted({place for curve in seeds.values() for place in curve})
        filled = [_fill(curve, places) if extend else curve for curve in seeds.values()]
        values = [[curve[place] for curve in filled if place in curve] for place in places]
        style = {"label": label, "color": color(label, number), "linewidth": 1.6, **styles(label)}
        axes.plot(places, [mean(across) for across in values], **style)
        if len(seeds) > 1:
            low, high = [min(across) for across in values], [max(across) for across in values]
            axes.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _fill(curve: dict[float, float], places: list[float]) -> dict[float, float]:
    """Returns a curve at all places, where a missing value is the one before it."""
    filled = {}
    last = None
    for place in places:
        last = curve.get(place, last)
        if last is not None:
            filled[place] = last
    return filled


def log_ticks(axis: Axis, form: str | Formatter) -> None:
    """Labels a logarithmic axis at 1, 2 and 5 of each decade.

    Args:
      axis: The axis.
      form: Format of the labels.
    """
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(form)
    axis.set_minor_formatter(NullFormatter())


def side_by_side(
    axes: Axes, groups: Sequence[str], heights: Mapping[str, Sequence[float]], colors: Sequence[str]
) -> list[BarContainer]:
    """Draws a bar per group and series, those of a group beside each other.

    Args:
      axes: Panel to draw on.
      groups: Names of the groups.
      heights: Height of each group's bar, by the name of the series.
      colors: Colour of each series.

    Returns:
      The bars of each series.
    """
    width = 0.8 / len(heights)
    drawn = []
    # Patterns tell the bars apart where there is no colour.
    patterns = itertools.cycle(("", "///", "...", "xxx"))
    for number, (label, values) in enumerate(heights.items()):
        offset = width * (number - (len(heights) - 1) / 2)
        places = [place + offset for place in range(len(groups))]
        drawn.append(
            axes.bar(
                places,
                values,
                width=0.95 * width,
                color=colors[number],
                label=label,
                hatch=next(patterns),
                edgecolor="white",
                linewidth=0,
            )
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.legend()
    return drawn


def percentages(
    axes: Axes, rows: Sequence[str], columns: Sequence[Any], shares: Sequence[Sequence[float]]
) -> None:
    """Draws a table of shares as percentages, the larger the darker.

    Args:
      axes: Panel to draw on.
      rows: Names of the rows.
      columns: Names of the columns.
      shares: Share from 0 to 1 of each column, by row.
    """
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.2, edgecolors="white", linewidth=1.5)
    for y, row in enumerate(shares):
        for x, share in enumerate(row):
            ink = "white" if share > 0.6 else "black"
            text = f"{100 * share:.0f}"
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink)
    axes.invert_yaxis()
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def bars(axes: Axes, heights: dict[str, Sequence[float]], form: str) -> None:
    """Draws a bar per name, as high as the mean, with a line from the lowest to the highest.

    Args:
      axes: Panel to draw on.
      heights: Values by name.
      form: Format string of the labels.
    """
    for number, (name, values) in enumerate(heights.items()):
        middle = mean(values)
        errors = [[middle - min(values)], [max(values) - middle]]
        drawn = axes.bar(name, middle, yerr=errors, color=color(name, number), ecolor="#444")
        axes.bar_label(drawn, [form.format(middle)], fontsize=8, padding=3)
