"""Nets of several depths on tasks of growing size, until they fail."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from matplotlib.figure import Figure

from experiments import fitting, plots
from experiments.experiment import (
    Experiment,
    Inputs,
    Plot,
    Point,
    Row,
    Summary,
    Tables,
    distinct,
)
from experiments.fitting import LEARNED, FitConfig
from experiments.nets import Architecture, Net
from experiments.scale import Scale
from experiments.task import Task

MODELS: dict[str, tuple[Architecture, bool]] = {
    "grid, tied": ("grid", True),
    "grid, untied": ("grid", False),
    "stacked": ("stacked", False),
}


@dataclasses.dataclass(frozen=True)
class DepthSweep:
    """What is compared at one scale.

    Attributes:
      sizes: of the task, growing; a net that has failed at one is not tried at the next.
      layers: depths of every model.
      units: widths.
      fit: how all of them are fitted.
      seeds: how many fits of each.
      input_signs: see `nets.Net`.
      forget_bias: see `nets.Net`.
      deeper: what is measured besides, of deeper nets on fewer sizes or seeds; deepest first.
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
    chosen: DepthSweep,
    inputs: Inputs,
    unit: str,
    task: Callable[[int], Task],
    models: Mapping[str, tuple[Architecture, bool]],
) -> list[Point]:
    """A point per size, depth, model and seed; each net runs through the sizes until it fails.

    Args:
      chosen: what is compared.
      inputs: where the seeds begin.
      unit: what the size is called.
      task: of a size.
      models: by name the architecture of net, and whether its layers are tied.
    """
    return [
        Point(
            {"model": model, "layers": layers, unit: size, "seed": seed},
            partial(
                fitting.measure,
                task=task(size),
                net=Net(
                    architecture, layers, chosen.units, tied, chosen.input_signs, chosen.forget_bias
                ),
                config=dataclasses.replace(chosen.fit, seed=seed),
            ),
            difficulty_sweep=f"{model} {layers} {seed}",
            failed=fitting.has_failed,
        )
        for size in chosen.sizes
        for layers in chosen.layers
        for model, (architecture, tied) in models.items()
        if layers > 1 or not tied  # a single layer is untied
        for seed in inputs.seeds(chosen.seeds)
    ]


def depth_experiment(
    name: str,
    title: str,
    claim: str,
    unit: str,
    task: Callable[[int], Task],
    scales: Mapping[Scale, DepthSweep],
) -> Experiment:
    """The experiment that compares depths on a task, whose size is counted in `unit`."""

    def points(scale: Scale, inputs: Inputs) -> list[Point]:
        chosen = scales[scale]
        # Those that take the longest come first: the last of them would have one core alone.
        parts = (*chosen.deeper, chosen)
        return [
            one for part in parts for one in difficulty_sweeps(part, inputs, unit, task, MODELS)
        ]

    return Experiment(
        name,
        title,
        claim,
        points,
        partial(_summarize, unit),
        (
            Plot(
                "learning",
                f"Share of held-out examples that are right in every symbol, and of symbols "
                f"(dotted), over the examples seen, by the number of {unit}; the best depth of "
                "each model.",
                partial(_draw_learning, unit),
            ),
            Plot(
                "depth",
                f"Share of held-out examples, and of symbols (dotted), that are right at the end, "
                f"by depth and the number of {unit}.",
                partial(_draw_depth, unit),
            ),
        ),
    )


def best(rows: Sequence[Row]) -> Row:
    """The fit that learned the most, and of those that learned all the one that took the least."""
    return max(rows, key=lambda row: (min(row["exact"], LEARNED), -row["examples"], row["labels"]))


def _draw_learning(unit: str, tables: Tables) -> Figure:
    sizes = _sizes(unit, tables)
    figure, axes = plots.panels(len(sizes))
    for axis, size in zip(axes, sizes, strict=True):
        chosen = []
        for model in MODELS:
            nets = [r for r in tables["nets"] if r["model"] == model and r[unit] == size]
            if nets:
                depth = best(nets)["layers"]
                chosen += [
                    row
                    for row in tables["tests"]
                    if (row["model"], row["layers"], row[unit]) == (model, depth, size)
                ]
        _draw_shares(axis, chosen, "examples")
        axis.set_title(f"{unit}: {size}")
        axis.set_xlabel("examples seen")
    axes[0].set_ylabel("right: examples, and symbols (dotted)")
    axes[0].legend(loc="best")
    return figure


def _draw_shares(axis, rows, x, **style):
    """The share of examples right, and of symbols, dotted."""
    dotted = {"linestyle": ":", "linewidth": 1.0, "label": None}
    for share, look in (("exact", style), ("labels", dotted)):
        plots.curves(
            axis,
            rows,
            x,
            share,
            lambda row: row["model"],
            lambda _, look=look: look,
            held=x == "examples",
        )


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
    axes[0].set_ylabel("right: examples, and symbols (dotted)")
    axes[0].legend(loc="best")
    return figure


def _sizes(unit, tables):
    return sorted({row[unit] for row in tables["nets"]})


def _summarize(unit: str, tables: Tables) -> Summary:
    rows, sentences = [], []
    for model in MODELS:
        nets = [row for row in tables["nets"] if row["model"] == model]
        learned = [row for row in nets if row["exact"] >= LEARNED]
        largest = max((row[unit] for row in learned), default=0)
        if largest:
            found = best([row for row in learned if row[unit] == largest])
            sentences.append(
                f"{model}: {unit} up to {largest} learned, at depth {found['layers']} after "
                f"{found['examples']:,.0f} examples ({found['exact']:.1%} right)."
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
        "right, every symbol",
        "symbols right",
        "examples seen",
        "seconds",
    )
    return Summary(sentences, header, rows)


def _row(model, layers, size, seeds):
    def middle(column, form):
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
