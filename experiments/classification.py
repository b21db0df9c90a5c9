"""Nets compared by their error on a data set: how images and authors are measured."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean

from matplotlib.figure import Figure

from experiments import fitting, plots
from experiments.experiment import Experiment, Inputs, Plot, Point, Summary, Tables, distinct
from experiments.fitting import FitConfig
from experiments.nets import Net
from experiments.scale import Scale
from experiments.task import Task


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is compared at one scale.

    Attributes:
      task: a data set.
      nets: by what they are called.
      fit: how all of them are fitted.
      seeds: how many fits of each.
    """

    task: Task
    nets: Mapping[str, Sequence[Net]]
    fit: FitConfig
    seeds: int = 1


def classification_experiment(
    name: str, title: str, claim: str, scales: Mapping[Scale, Benchmark]
) -> Experiment:
    """The experiment that compares nets on a data set."""

    def points(scale: Scale, inputs: Inputs) -> list[Point]:
        chosen = scales[scale]
        return [
            Point(
                {"model": model, "layers": net.layers, "seed": seed},
                partial(
                    fitting.measure,
                    task=chosen.task,
                    net=net,
                    config=dataclasses.replace(chosen.fit, seed=seed, until_learned=False),
                ),
            )
            for model, nets in chosen.nets.items()
            for net in nets
            for seed in inputs.seeds(chosen.seeds)
        ]

    plot = Plot("error", "Test error over the examples seen; mean and range over seeds.", draw)
    return Experiment(name, title, claim, points, summarize, (plot,))


def in_layers(count: int) -> str:
    """A number of layers in words."""
    return f"{count} layer{'s' if count > 1 else ''}"


def draw(tables: Tables) -> Figure:
    """A panel per model, a curve per depth."""
    models = distinct(tables["tests"], "model")
    figure, axes = plots.panels(len(models))
    for axis, model in zip(axes, models, strict=True):
        rows = [
            {**row, "error": 100 * (1 - row["exact"])}
            for row in tables["tests"]
            if row["model"] == model
        ]
        plots.curves(axis, rows, "examples", "error", lambda row: in_layers(row["layers"]))
        axis.set(title=model, xlabel="examples seen", yscale="log")
        plots.log_ticks(axis.yaxis, "{x:g}")
        axis.legend()
    axes[0].set_ylabel("test error, %")
    return figure


def summarize(tables: Tables) -> Summary:
    """The error of each net, at the last test."""
    errors: dict[tuple[str, int], list[float]] = {}
    facts = {}
    for row in tables["nets"]:
        key = row["model"], row["layers"]
        errors.setdefault(key, []).append(100 * (1 - row["exact"]))
        facts[key] = row
    middle = {key: mean(values) for key, values in errors.items()}
    best = {}
    for model, layers in middle:
        if model not in best or middle[model, layers] < middle[model, best[model]]:
            best[model] = layers
    told = [
        f"{model} {middle[model, depth]:.2f}% with {in_layers(depth)}"
        for model, depth in best.items()
    ]
    rows = [
        (
            model,
            str(layers),
            f"{facts[model, layers]['parameters']:,.0f}",
            f"{middle[model, layers]:.2f}%",
            f"{min(values):.2f} to {max(values):.2f}%" if len(values) > 1 else "",
            f"{facts[model, layers]['seconds']:,.0f}",
        )
        for (model, layers), values in errors.items()
    ]
    header = ("model", "layers", "parameters", "test error", "over seeds", "seconds")
    return Summary([f"Test errors at the best depth: {'; '.join(told)}."], header, rows)
