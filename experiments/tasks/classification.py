"""Experiments that compare nets by their test error on a data set."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean

from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import (
    Experiment,
    Inputs,
    Plot,
    Point,
    Summary,
    Tables,
    distinct,
)
from experiments.framework.scale import Scale
from experiments.tasks import fitting
from experiments.tasks.finite_tasks import FiniteTask
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net
from experiments.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """The comparison of nets on one task.

    Attributes:
      task: Task, a data set.
      nets: Nets to compare, by the name of their model.
      fit: Configuration of all fits.
      seeds: Number of fits of each net. Default 1.
    """

    task: Task
    nets: Mapping[str, Sequence[Net]]
    fit: FitConfig
    seeds: int = 1


def classification_experiment(
    name: str, title: str, claim: str, scales: Mapping[Scale, Sequence[Benchmark]]
) -> Experiment:
    """Returns an experiment that compares nets on a data set.

    Args:
      name: Name on the command line.
      title: Title in reports.
      claim: Claim of the literature, with its source.
      scales: Comparisons at each scale, of models of different names.
    """

    def points(scale: Scale, inputs: Inputs) -> list[Point]:
        return [point for one in scales[scale] for point in _points(one, inputs)]

    plot = Plot(
        name="error",
        caption="Test error over the examples trained on; mean and range over seeds.",
        draw=draw,
    )
    return Experiment(
        name=name,
        title=title,
        claim=claim,
        points=points,
        summarize=summarize,
        plots=(plot,),
        data_sets={scale: _data_sets(benchmarks) for scale, benchmarks in scales.items()},
    )


def _points(benchmark: Benchmark, inputs: Inputs) -> list[Point]:
    """Returns a point per net and seed of one comparison."""
    task = benchmark.task
    if isinstance(task, FiniteTask):
        task = task.in_folder(inputs.data)
    points = []
    for model, nets in benchmark.nets.items():
        for net, seed in itertools.product(nets, inputs.seeds(benchmark.seeds)):
            config = dataclasses.replace(benchmark.fit, seed=seed, until_learned=False)
            labels = {"model": model, "layers": net.layers, "seed": seed}
            measure = partial(fitting.measure, task=task, net=net, config=config)
            points.append(Point(labels=labels, measure=measure))
    return points


def _data_sets(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Returns the names of the data sets that are read, of those in `datasets.DATA_SETS`."""
    tasks = [benchmark.task for benchmark in benchmarks]
    return [task.data_set for task in tasks if isinstance(task, FiniteTask) and task.data_set]


def in_layers(count: int) -> str:
    """Returns a number of layers in words."""
    return f"{count} layer{'s' if count > 1 else ''}"


def draw(tables: Tables) -> Figure:
    """Draws a panel per model with a curve per depth."""
    models = distinct(tables["tests"], "model")
    figure, axes = plots.panels(len(models))
    for axis, model in zip(axes, models, strict=True):
        rows = [
            {**row, "error": 100 * (1 - row["exact"])}
            for row in tables["tests"]
            if row["model"] == model
        ]
        plots.curves(axis, rows, "examples", "error", lambda row: in_layers(row["layers"]))
        axis.set(title=model, xlabel="training examples", yscale="log")
        plots.log_ticks(axis.yaxis, "{x:g}")
        axis.legend()
    axes[0].set_ylabel("test error, %")
    return figure


def summarize(tables: Tables) -> Summary:
    """Summarizes the error of each net at its last test."""
    errors: dict[tuple[str, int], list[float]] = {}
    last_rows = {}
    for row in tables["nets"]:
        key = row["model"], row["layers"]
        errors.setdefault(key, []).append(100 * (1 - row["exact"]))
        last_rows[key] = row
    means = {key: mean(values) for key, values in errors.items()}
    best_depths: dict[str, int] = {}
    for model, layers in means:
        if model not in best_depths or means[model, layers] < means[model, best_depths[model]]:
            best_depths[model] = layers
    best_errors = [
        f"{model} {means[model, depth]:.2f}% with {in_layers(depth)}"
        for model, depth in best_depths.items()
    ]
    rows = [
        (
            model,
            str(layers),
            f"{last_rows[model, layers]['parameters']:,.0f}",
            f"{means[model, layers]:.2f}%",
            f"{min(values):.2f} to {max(values):.2f}%" if len(values) > 1 else "",
            f"{last_rows[model, layers]['seconds']:,.0f}",
        )
        for (model, layers), values in errors.items()
    ]
    header = ("model", "layers", "parameters", "test error", "over seeds", "seconds")
    sentence = f"Test errors at the depth where each is lowest: {'; '.join(best_errors)}."
    return Summary(sentences=[sentence], header=header, rows=rows)
