"""The report of the experiment on highway networks: its findings and plots."""

from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables
from experiments.highway.highway_analysis import class_column
from experiments.tasks.random_search import training_loss

GRID = "grid"
HIGHWAY = "highway"
LAYERWISE = "highway, layerwise"
RESIDUAL = "residual"
PLAIN = "plain"
WIDE = "highway, wide"

CLASSES = (0, 7)
"""Digits whose gates are drawn."""
EARLY = 15
"""Number of layers within which, according to the paper, what differs between digits is decided."""
GOALS = {"plain": 10, "depth": 2, "error": 2.0}
"""Least ratio of plain to highway nets at 50 and 100 layers; largest of highway nets of 100 to 10
layers; largest test error in %."""

STYLES: dict[str, dict[str, Any]] = {
    GRID: {"linestyle": (0, (5, 1)), "marker": "s"},
    HIGHWAY: {"linestyle": "-", "marker": "o"},
    LAYERWISE: {"linestyle": "-.", "marker": "D"},
    RESIDUAL: {"linestyle": (0, (1, 1)), "marker": "^"},
    PLAIN: {"linestyle": "--", "marker": "x"},
}
"""What tells the models apart in grey."""


def _loss_at(tables: Tables, model: str, depth: int) -> float:
    """Returns the training loss of a model at the end, the mean over seeds."""
    rows = [row for row in tables["nets"] if (row["model"], row["depth"]) == (model, depth)]
    return mean(map(training_loss, rows))


def _depths(tables: Tables) -> list[int]:
    return sorted({row["depth"] for row in tables["nets"]})


def summarize(tables: Tables) -> Summary:
    """Summarizes losses by depth, the best error, and the lesions."""
    depths = _depths(tables)
    losses = {
        (model, depth): _loss_at(tables, model, depth)
        for model in (HIGHWAY, PLAIN)
        for depth in depths
    }
    ratios = [losses[PLAIN, depth] / losses[HIGHWAY, depth] for depth in depths]
    growth = losses[HIGHWAY, depths[-1]] / losses[HIGHWAY, depths[0]]
    highways = [row for row in tables["nets"] if row["model"] in (HIGHWAY, WIDE)]
    best = min(highways, key=lambda row: row["training_loss"])
    sentences = [
        f"With {_listed(depths)} layers, plain nets end at {_listed(f'{r:.3g}' for r in ratios)} "
        f"times the training loss of highway nets (goal: at least {GOALS['plain']} with 50 and "
        "100).",
        f"The highway net of {depths[-1]} layers ends at {growth:.3g} times the training loss of "
        f"that of {depths[0]} (goal: at most {GOALS['depth']}).",
        f"The highway net of the lowest training loss has a test error of {_percent(best)}%, with "
        f"{best['depth']} layers and {best['parameters']:,.0f} parameters (goal: at most "
        f"{GOALS['error']}%).",
        *_analysis(tables),
    ]
    rows = [
        (
            row["model"],
            str(row["depth"]),
            f"{row['parameters']:,.0f}",
            f"{row['training_loss']:.2g}",
            f"{_percent(row)}%",
            _settings(row),
            f"{row['seconds']:,.0f}",
        )
        for row in sorted(tables["nets"], key=lambda row: (row["model"], row["depth"]))
    ]
    header = (
        "model",
        "depth",
        "parameters",
        "training loss",
        "test error",
        "best settings",
        "seconds",
    )
    return Summary(sentences=sentences, header=header, rows=rows)


def _analysis(tables: Tables) -> list[str]:
    """Returns what the gates and the lesions of the analysed net show."""
    layers = [row for row in tables["layers"] if row["seed"] == tables["layers"][0]["seed"]]
    intact = _intact_error(tables)
    early, late = layers[:EARLY], layers[EARLY:]
    worst = max(layers, key=lambda row: row["error"])
    sentences = [
        f"Of the highway net of {layers[0]['depth']} layers, closing layer {worst['layer']} alone "
        f"raises the test error most, from {intact:.2f}% to {100 * worst['error']:.2f}%."
    ]
    if late:
        shares = [
            sum(row[column] for row in early) / sum(row[column] for row in layers)
            for column in ("change", "deviation")
        ]
        sentences.append(
            f"Closing one of its first {EARLY} blocks gives {_median_error(early)}% in the median, "
            f"one of the others {_median_error(late)}%; the first {EARLY} have {shares[0]:.0%} of "
            f"the relative change and {shares[1]:.0%} of the deviation of the gates between digits."
        )
    return sentences


def _intact_error(tables: Tables) -> float:
    """Returns the test error of the analysed net in %."""
    labels = tables["layers"][0]
    names = ("model", "depth", "seed")
    (row,) = (row for row in tables["nets"] if all(row[name] == labels[name] for name in names))
    return 100 * (1 - row["exact"])


def _settings(row: Row) -> str:
    """Returns the settings of a net, of those that it has."""
    parts = [
        f"rate {row['learning_rate']:.2g}",
        f"momentum {row['momentum']:.2f}",
        f"decay {row['decay']:.2g}",
    ]
    if row["model"] == GRID:
        parts.append(f"forget bias {-row['transform_bias']:.1f}")
    else:
        parts.insert(0, row["activation"])
    if row["model"] in (HIGHWAY, LAYERWISE, WIDE):
        parts.append(f"b_T {row['transform_bias']:.1f}")
    return ", ".join(parts)


def _median_error(layers: Sequence[Row]) -> str:
    return f"{100 * median(row['error'] for row in layers):.2f}"


def _percent(row: Row) -> str:
    return f"{100 * (1 - row['exact']):.2f}"


def _listed(items: Iterable[Any]) -> str:
    """Returns items as an enumeration.

    >>> _listed([10, 20, 50])
    '10, 20 and 50'
    """
    *others, last = map(str, items)
    return f"{', '.join(others)} and {last}" if others else last


def draw_learning(tables: Tables) -> Figure:
    """Draws the training loss of each model, in a panel per depth."""
    depths = _depths(tables)
    figure, axes = plots.panels(len(depths), height=2.4, width=2.7, most=2)
    for axis, depth in zip(axes, depths, strict=True):
        rows = [r for r in tables["tests"] if r["depth"] == depth and r["model"] in STYLES]
        plots.curves(
            axis,
            rows,
            "examples",
            "training_loss",
            lambda row: row["model"],
            lambda model: {**STYLES[model], "markersize": 4, "markevery": 0.25},
        )
        axis.set_title(f"{depth} layers")
        axis.set_yscale("log")
    plots.log_ticks(axes[0].yaxis, "{x:g}")
    figure.supxlabel("training examples", fontsize="medium")
    figure.supylabel("training loss, nats", fontsize="medium")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize="medium")
    return figure


def draw_depths(tables: Tables) -> Figure:
    """Draws the training loss and the test error of each model by depth."""
    depths = _depths(tables)
    rows = [
        {**row, "error": 100 * (1 - row["exact"])}
        for row in tables["nets"]
        if row["model"] in STYLES
    ]
    figure = Figure(figsize=(5.4, 3.2))
    axes = figure.subplots(1, 2)
    for axis, column, name in zip(
        axes, ("training_loss", "error"), ("training loss, nats", "test error, %"), strict=True
    ):
        plots.curves(
            axis, rows, "depth", column, lambda row: row["model"], STYLES.__getitem__, extend=False
        )
        axis.set(xscale="log", yscale="log", xlabel="layers", title=name)
        plots.log_ticks(axis.yaxis, "{x:g}")
        axis.xaxis.set_major_locator(FixedLocator(depths))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize="medium")
    return figure


def _map_of(tables: Tables, column: str) -> np.ndarray:
    """Returns a column of the table `units` of the first seed, `[layers, units]`."""
    seed = tables["units"][0]["seed"]
    rows = [row for row in tables["units"] if row["seed"] == seed]
    layers = rows[-1]["layer"]
    return np.array([row[column] for row in rows]).reshape(layers, -1)


def _draw_map(axis: Axes, values: np.ndarray, title: str, limits: tuple[float, float]) -> None:
    """Draws values `[layers, units]` on a scale with these limits; the lighter, the larger."""
    layers, units = values.shape
    image = axis.imshow(
        values,
        cmap="cividis",
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, units + 0.5, layers + 0.5, 0.5),
        vmin=limits[0],
        vmax=limits[1],
    )
    axis.set_title(title)
    axis.spines[:].set_visible(False)
    axis.figure.colorbar(image, ax=axis, fraction=0.08, pad=0.02)


def draw_units(tables: Tables) -> Figure:
    """Draws the four maps of the gates of the analysed net, by layer and unit."""
    figure, axes = plots.panels(4, height=2.7, width=2.7, most=2)
    titles = {
        "bias": "transform biases",
        "mean_gate": "mean gates",
        "gate": "gates, one image",
        "output": "outputs, one image",
    }
    largest_gate = max(_map_of(tables, column).max() for column in ("mean_gate", "gate"))
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        values = _map_of(tables, column)
        limits = (0, largest_gate) if "gate" in column else (values.min(), values.max())
        _draw_map(axis, values, title, limits)
    figure.supxlabel("unit", fontsize="medium")
    figure.supylabel("layer", fontsize="medium")
    return figure


def draw_classes(tables: Tables) -> Figure:
    """Draws the deviations of the mean gates of two digits, by layer and unit."""
    figure, axes = plots.panels(len(CLASSES), height=3.0, width=2.7)
    maps = {digit: _map_of(tables, class_column(digit)) for digit in CLASSES}
    largest = max(np.abs(values).max() for values in maps.values())
    for axis, (digit, values) in zip(axes, maps.items(), strict=True):
        _draw_map(axis, values, f"digit {digit}", (-largest, largest))
    figure.supxlabel("unit", fontsize="medium")
    axes[0].set_ylabel("layer")
    return figure


def draw_lesions(tables: Tables) -> Figure:
    """Draws the test error of the analysed net with each layer lesioned."""
    figure, (axis,) = plots.panels(1, height=2.8, width=5.4)
    rows = [{**row, "percent": 100 * row["error"]} for row in tables["layers"]]
    plots.curves(
        axis,
        rows,
        "layer",
        "percent",
        lambda _: "one layer lesioned",
        lambda _: {"marker": "o", "markersize": 3, "color": plots.COLORS[HIGHWAY]},
    )
    axis.axhline(_intact_error(tables), color="black", linestyle="--", linewidth=1, label="intact")
    axis.set(xlabel="lesioned layer", ylabel="test error, %", yscale="log")
    axis.xaxis.set_major_formatter("{x:g}")
    plots.log_ticks(axis.yaxis, "{x:g}")
    axis.legend()
    return figure
