"""Experiments that train nets of several depths on tasks of growing size, until they fail."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import (
    Experiment,
    Inputs,
    Plot,
    Point,
    Row,
    Summary,
    Tables,
    distinct,
)
from experiments.framework.scale import Scale
from experiments.tasks import fitting
from experiments.tasks.fitting import LEARNED, FitConfig
from experiments.tasks.nets import Architecture, Net
from experiments.tasks.task import Task

MODELS: dict[str, tuple[Architecture, bool]] = {
    "grid, tied": ("grid", True),
    "grid, untied": ("grid", False),
    "stacked": ("stacked", False),
}


@dataclasses.dataclass(frozen=True)
class DepthSweep:
    """The comparison at one scale.

    Attributes:
      sizes: Sizes of the task, ascending; a net that fails at one is not trained at the next.
      layers: Depths of every model.
      units: Width of every model.
      fit: Configuration of all fits.
      seeds: Number of fits of each net. Default 1.
      input_signs: Magnitude of the initial input projection, see `nets.Net`. Default 0.
      forget_bias: Initial bias of the forget gates, see `nets.Net`. Default 1.
      deeper: Further sweeps of deeper nets on fewer sizes or seeds; deepest first.
    """

    sizes: Sequence[int]
    layers: Sequence[int]
    units: int
    fit: FitConfig
    seeds: int = 1
    input_signs: float = 0.0
    forget_bias: float = 1.0
    deeper: Sequence["DepthSweep"] = ()


def difficulty_sweeps(
    sweep: DepthSweep,
    inputs: Inputs,
    unit: str,
    task: Callable[[int], Task],
    models: Mapping[str, tuple[Architecture, bool]],
) -> list[Point]:
    """Returns a point per size, depth, model and seed; each net trains until it fails at a size.

    Args:
      sweep: The comparison.
      inputs: The user's choices, of which the first seed is used.
      unit: Name of what the size counts, such as "bits".
      task: Function that returns the task of a size.
      models: Architecture of each model, and whether its layers are tied, by name.
    """
    points = []
    for size, layers in itertools.product(sweep.sizes, sweep.layers):
        for model, (architecture, tied) in models.items():
            if layers == 1 and tied:
                continue  # a single layer has nothing to tie
            net = Net(
                architecture=architecture,
                layers=layers,
                units=sweep.units,
                tied=tied,
                input_signs=sweep.input_signs,
                forget_bias=sweep.forget_bias,
            )
            for seed in inputs.seeds(sweep.seeds):
                config = dataclasses.replace(sweep.fit, seed=seed)
                points.append(
                    Point(
                        labels={"model": model, "layers": layers, unit: size, "seed": seed},
                        measure=partial(fitting.measure, task=task(size), net=net, config=config),
                        difficulty_sweep=f"{model} {layers} {seed}",
                        failed=fitting.has_failed,
                    )
                )
    return points


def depth_experiment(
    name: str,
    title: str,
    claim: str,
    unit: str,
    task: Callable[[int], Task],
    scales: Mapping[Scale, DepthSweep],
) -> Experiment:
    """Returns an experiment that compares depths on a task.

    Args:
      name: Name on the command line.
      title: Title in reports.
      claim: Claim of the literature, with its source.
      unit: Name of what the size of the task counts, such as "digits".
      task: Function that returns the task of a size.
      scales: Comparison at each scale.
    """

    def points(scale: Scale, inputs: Inputs) -> list[Point]:
        points = []
        # The longest fits come first, so that none of them runs alone at the end.
        for sweep in (*scales[scale].deeper, scales[scale]):
            points += difficulty_sweeps(sweep, inputs, unit, task, MODELS)
        return points

    plots = (
        Plot(
            name="learning",
            caption=f"Share of held-out examples that are correct in every symbol, and of symbols "
            f"(dotted), over the training examples, by the number of {unit}; the best depth of "
            "each model.",
            draw=partial(_draw_learning, unit),
        ),
        Plot(
            name="depth",
            caption=f"Share of held-out examples, and of symbols (dotted), that are correct at the "
            f"end, by depth and the number of {unit}.",
            draw=partial(_draw_depth, unit),
        ),
    )
    return Experiment(
        name=name,
        title=title,
        claim=claim,
        points=points,
        summarize=partial(_summarize, unit),
        plots=plots,
    )


def best(rows: Sequence[Row]) -> Row:
    """Returns the fit that learned the most; of those that learned the task, the quickest."""
    return max(rows, key=lambda row: (min(row["exact"], LEARNED), -row["examples"], row["labels"]))


def _draw_learning(unit: str, tables: Tables) -> Figure:
    sizes = _sizes(unit, tables)
    figure, axes = plots.panels(len(sizes))
    for axis, size in zip(axes, sizes, strict=True):
        rows = []
        for model in MODELS:
            nets = [r for r in tables["nets"] if r["model"] == model and r[unit] == size]
            if nets:
                depth = best(nets)["layers"]
                rows += [
                    row
                    for row in tables["tests"]
                    if (row["model"], row["layers"], row[unit]) == (model, depth, size)
                ]
        _draw_shares(axis, rows, "examples")
        axis.set_title(f"{unit}: {size}")
        axis.set_xlabel("training examples")
    axes[0].set_ylabel("correct: examples, and symbols (dotted)")
    axes[0].legend(loc="best")
    return figure


def _draw_shares(axis: Axes, rows: list[Row], x: str, **style: Any) -> None:
    """Draws the share of correct examples, and of correct symbols as dotted lines."""

    def draw(share: str, look: dict[str, Any]) -> None:
        plots.curves(
            axis,
            rows,
            x,
            share,
            lambda row: row["model"],
            lambda _: look,
            extend=x == "examples",
        )

    draw("exact", style)
    draw("labels", {"linestyle": ":", "linewidth": 1.0, "label": None})


def _draw_depth(unit: str, tables: Tables) -> Figure:
    sizes = _sizes(unit, tables)
    figure, axes = plots.panels(len(sizes))
    for axis, size in zip(axes, sizes, strict=True):
        rows = [row for row in tables["nets"] if row[unit] == size]
        rows.sort(key=lambda row: (list(MODELS).index(row["model"]), row["layers"]))
        _draw_shares(axis, rows, "layers", marker="o")
        axis.set_title(f"{unit}: {size}")
        axis.set_xlabel("layers")
        axis.set_xticks(distinct(rows, "layers"))
    axes[0].set_ylabel("correct: examples, and symbols (dotted)")
    axes[0].legend(loc="best")
    return figure


def _sizes(unit: str, tables: Tables) -> list[int]:
    return sorted({row[unit] for row in tables["nets"]})


def _summarize(unit: str, tables: Tables) -> Summary:
    rows, sentences = [], []
    for model in MODELS:
        nets = [row for row in tables["nets"] if row["model"] == model]
        learned = [row for row in nets if row["exact"] >= LEARNED]
        largest = max((row[unit] for row in learned), default=0)
        if largest:
            fit = best([row for row in learned if row[unit] == largest])
            sentences.append(
                f"{model}: {unit} up to {largest} learned, at depth {fit['layers']} after "
                f"{fit['examples']:,.0f} examples ({fit['exact']:.1%} correct)."
            )
        else:
            sentences.append(f"{model}: none of the numbers of {unit} learned.")
        for size in _sizes(unit, tables):
            for layers in sorted({row["layers"] for row in nets}):
                seeds = [r for r in nets if (r["layers"], r[unit]) == (layers, size)]
                if seeds:
                    rows.append(_row(model, layers, size, seeds))
    header = (
        "model",
        "layers",
        unit,
        "parameters",
        "correct in every symbol",
        "correct symbols",
        "training examples",
        "seconds",
    )
    return Summary(sentences=sentences, header=header, rows=rows)


def _row(model: str, layers: int, size: int, seeds: list[Row]) -> tuple[str, ...]:
    """Returns the medians of fits that differ in the seed alone, with their range."""

    def middle(column: str, form: str) -> str:
        values = [row[column] for row in seeds]
        text = form.format(median(values))
        if len(values) > 1:
            text += f" ({form.format(min(values))} to {form.format(max(values))})"
        return text

    return (
        model,
        str(layers),
        str(size),
        f"{seeds[0]['parameters']:,.0f}",
        middle("exact", "{:.1%}"),
        middle("labels", "{:.2%}"),
        middle("examples", "{:,.0f}"),
        middle("seconds", "{:,.0f}"),
    )
