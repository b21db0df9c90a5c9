"""Character models of several recurrent cores and depths, with as many parameters each."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.characters import language_models
from experiments.characters.parameter_counts import parameters_of
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
from experiments.framework.widths import nearest_width
from model.language_model.config import Architecture
from pipeline.preset_files import load_preset
from pipeline.settings import Settings
from pipeline.store.artifacts import Store

PRESET = "enwik8-grid3"
"""The preset of all models, of which a comparison changes some settings."""

NAMES: dict[Architecture, str] = {
    "stacked": "stacked LSTM",
    "residual_lstm": "residual LSTM",
    "highway_lstm": "highway LSTM",
    "rhn": "recurrent highway",
    "grid": "grid LSTM",
}
"""The names of the architectures in tables and plots."""

_LOOKS: dict[str, dict[str, Any]] = {
    "stacked": {"marker": "s", "linestyle": "--"},
    "residual_lstm": {"marker": "^", "linestyle": ":"},
    "highway_lstm": {"marker": "D", "linestyle": "-."},
    "rhn": {"marker": "v", "linestyle": (0, (5, 1))},
    "grid": {"marker": "o", "linestyle": "-"},
}
"""What tells the architectures apart where there is no colour."""


TINY_TRAINING: dict[str, Any] = {
    "batch_size": 8,
    "window": 16,
    "steps": 30,
    "validate_every": 15,
    "validation_characters": 2000,
    "learning_rate": 0.01,
}
SMALL_TRAINING: dict[str, Any] = {
    "batch_size": 32,
    "window": 50,
    "steps": 1500,
    "validate_every": 75,
    "validation_characters": 50_000,
    "optimizer": "adam",
    "learning_rate": 0.012,
    "schedule": "cosine",
    "warmup_steps": 50,
    "clip_value": 0.0,
    "clip_norm": 1.0,
}


class Comparison(NamedTuple):
    """A comparison at one scale.

    Attributes:
      layers: Depths of each architecture.
      parameters: Number of parameters of a model; see `parameter_counts`.
      seeds: Number of trainings of each model.
      training: Settings of the training that differ from the preset.
    """

    layers: Mapping[Architecture, Sequence[int]]
    parameters: int
    seeds: int
    training: Mapping[str, Any]


@functools.cache
def width_of(architecture: Architecture, layers: int, parameters: int) -> int:
    """Returns the width at which a model comes nearest to a number of parameters.

    Args:
      architecture: Its core.
      layers: Number of its layers.
      parameters: Number of parameters.
    """
    return nearest_width(parameters, functools.partial(_parameters, architecture, layers))


def _parameters(architecture: Architecture, layers: int, units: int) -> int:
    """Returns the number of parameters of a model."""
    preset = load_preset(PRESET, {"architecture": architecture, "layers": layers, "units": units})
    return parameters_of(preset.model)


def settings(
    comparison: Comparison, architecture: Architecture, layers: int, seed: int
) -> Settings:
    """Returns the settings of a model: those of the preset at another size, in float32.

    Args:
      comparison: The comparison at its scale.
      architecture: The core.
      layers: Number of layers.
      seed: Seed of the training.
    """
    units = width_of(architecture, layers, comparison.parameters)
    net = {"architecture": architecture, "layers": layers, "units": units, "seed": seed}
    fixed = {
        "dtype": "float32",
        "quantize": False,
        "remat_steps": 0,
        "dropout": 0.0,
        "init_scale": 0.0,
    }
    return load_preset(PRESET, {**fixed, **comparison.training, **net})


def prepare(store: Store, _: Scale, inputs: Inputs) -> None:
    """Writes the examples that all models are trained on."""
    language_models.examples_of(store, inputs.text, load_preset(PRESET).data)


def points(scales: Mapping[Scale, Comparison], scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per architecture, depth and seed; deep nets, which take longest, first.

    Args:
      scales: The comparison at each scale.
      scale: The scale.
      inputs: The user's choices.
    """
    comparison = scales[scale]
    sizes = [
        (layers, architecture)
        for architecture, depths in comparison.layers.items()
        for layers in depths
    ]
    made = []
    for seed in inputs.seeds(comparison.seeds):
        for layers, architecture in sorted(sizes, reverse=True):
            model = settings(comparison, architecture, layers, seed)
            labels = {
                "model": architecture,
                "layers": layers,
                "units": model.model.units,
                "seed": seed,
            }
            measure = partial(language_models.measure, text=inputs.text, settings=model)
            made.append(Point(labels=labels, measure=measure))
    return made


def core_experiment(
    name: str,
    title: str,
    claim: str,
    scales: Mapping[Scale, Comparison],
    summarize: Callable[[Tables], Summary],
) -> Experiment:
    """Returns an experiment that compares cores over depths.

    Args:
      name: Name on the command line.
      title: Title in reports.
      claim: Claim of the literature, with its source.
      scales: Comparison at each scale.
      summarize: Function that summarizes the measurements.
    """
    return Experiment(
        name=name,
        title=title,
        claim=claim,
        points=partial(points, scales),
        summarize=summarize,
        plots=(
            Plot(
                name="depths",
                caption="Validation loss by depth, at equal parameters; mean and range over seeds.",
                draw=draw_depths,
            ),
            Plot(
                name="times",
                caption="Validation loss over the time of training, at the best depth of each; "
                "mean and range over seeds.",
                draw=draw_times,
            ),
        ),
        outcomes="models",
        prepare=prepare,
    )


def bits(nats: float) -> float:
    """Converts nats per character to bits."""
    return nats / math.log(2)


def losses(tables: Tables, architecture: str) -> dict[int, float]:
    """Returns the mean loss of an architecture over seeds, in nats, by depth in ascending order."""
    rows = [row for row in tables["models"] if row["model"] == architecture]
    return {
        layers: mean(row["loss"] for row in rows if row["layers"] == layers)
        for layers in sorted(distinct(rows, "layers"))
    }


def deepest_trained(tables: Tables, architecture: str) -> int:
    """Returns the depth up to which all mean losses are within a tenth of the best; 0 for none."""
    of_depths = losses(tables, architecture)
    best = min(of_depths.values())
    trained = itertools.takewhile(lambda depth: of_depths[depth] < 1.1 * best, of_depths)
    return max(trained, default=0)


def summary(tables: Tables, sentences: Sequence[str]) -> Summary:
    """Returns a summary with a row per depth and architecture.

    Args:
      tables: Measurements.
      sentences: Sentences that state the finding.
    """
    rows = []
    for architecture in NAMES:
        for layers in losses(tables, architecture):
            nets = [
                row
                for row in tables["models"]
                if (row["model"], row["layers"]) == (architecture, layers)
            ]
            found = [bits(row["loss"]) for row in nets]
            rows.append(
                (
                    NAMES[architecture],
                    str(layers),
                    str(nets[0]["units"]),
                    f"{nets[0]['parameters']:,}",
                    f"{mean(found):.4f}",
                    f"{min(found):.4f} to {max(found):.4f}",
                    f"{mean(row['seconds'] for row in nets):,.0f}",
                )
            )
    header = ("model", "layers", "units", "parameters", "bits per character", "seeds", "seconds")
    return Summary(sentences=sentences, header=header, rows=rows)


def draw_depths(tables: Tables) -> Figure:
    """Draws the bits per character over depth, a line per architecture."""
    figure, (axis,) = plots.panels(1, width=6, height=3.8)
    rows = sorted(tables["models"], key=lambda row: row["layers"])
    rows = [{**row, "bits": bits(row["loss"])} for row in rows]
    for architecture in NAMES:
        own = [row for row in rows if row["model"] == architecture]
        if own:
            _draw(axis, own, "layers", "bits", NAMES[architecture], extend=False)
    axis.set(xlabel="layers", ylabel="validation loss, bits per character")
    axis.set_xticks(sorted(distinct(rows, "layers")))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)  # lines are everywhere
    return figure


def draw_times(tables: Tables) -> Figure:
    """Draws validation curves over the time of training, at the best depth of each architecture."""
    figure, (axis,) = plots.panels(1, width=6, height=3.8)
    for architecture in NAMES:
        of_depths = losses(tables, architecture)
        if not of_depths:
            continue
        layers = min(of_depths, key=lambda depth: of_depths[depth])
        own = [
            {**row, "bits": bits(row["loss"]), "seconds": round(row["seconds"])}
            for row in tables["curves"]
            if (row["model"], row["layers"]) == (architecture, layers)
        ]
        unit = "layer" if layers == 1 else "layers"
        _draw(axis, own, "seconds", "bits", f"{NAMES[architecture]}, {layers} {unit}", markevery=3)
    axis.set(xlabel="seconds of training on one core", ylabel="validation loss, bits per character")
    axis.legend()
    return figure


def _draw(
    axis: Axes, rows: Sequence[Row], x: str, y: str, label: str, extend: bool = True, **style: Any
) -> None:
    """Draws the rows of one architecture with its colour, marker and line."""
    architecture = rows[0]["model"]
    look = {"color": plots.COLORS[architecture], **_LOOKS[architecture], **style}
    plots.curves(axis, rows, x, y, lambda _: label, lambda _: look, extend=extend)
