"""Stacked LSTMs against grids: character models by depth, with and without dropout."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from experiments.characters import language_models
from experiments.characters.parameter_counts import parameters_of
from experiments.characters.stacked_vs_grid_report import (
    MAIN,
    PRESETS,
    SWEEP,
    WIDE,
    draw_classes,
    draw_curves,
    draw_depths,
    draw_gradients,
    summarize,
)
from experiments.framework.experiment import Experiment, Inputs, Plot, Point
from experiments.framework.scale import Scale
from experiments.framework.widths import nearest_width
from pipeline.preset_files import load_preset
from pipeline.settings import DataConfig, Settings
from pipeline.store.artifacts import Store


class Size(NamedTuple):
    """The comparison at one scale.

    Attributes:
      layers: Depths of the main comparison.
      units: Width of the grids, and of the stacked nets that are not widened.
      dropout: Dropout rates.
      seeds: Number of trainings of each model.
      sweep: Number of trainings of each depth of the sweep; deepest first.
      sweep_units: Width of the nets of the sweep.
      sweep_steps: Number of updates of the trainings of the sweep.
      training: Settings of the training that differ from the presets.
    """

    layers: Sequence[int]
    units: int
    dropout: Sequence[float]
    seeds: int
    sweep: Mapping[int, int]
    sweep_units: int
    sweep_steps: int
    training: Mapping[str, Any]


SCALES: dict[Scale, Size] = {
    "tiny": Size(
        layers=(2,),
        units=16,
        dropout=(0.0,),
        seeds=1,
        sweep={3: 1, 1: 1},
        sweep_units=8,
        sweep_steps=20,
        training={
            "batch_size": 8,
            "window": 16,
            "steps": 45,
            "validate_every": 15,
            "validation_characters": 2000,
            "learning_rate": 0.01,
        },
    ),
    "small": Size(
        layers=(3, 6),
        units=96,
        dropout=(0.0, 0.25),
        seeds=2,
        sweep=dict.fromkeys((24, 16, 8, 4, 2, 1), 2),
        sweep_units=48,
        sweep_steps=400,
        training={
            "batch_size": 32,
            "window": 50,
            "steps": 1000,
            "validate_every": 50,
            "validation_characters": 50_000,
            "learning_rate": 0.002,
        },
    ),
    "full": Size(
        layers=(3, 6),
        units=1000,
        dropout=(0.0, 0.25),
        seeds=1,
        sweep=dict.fromkeys((24, 16, 12, 8, 6, 4, 2, 1), 1),
        sweep_units=256,
        sweep_steps=40_000,
        training={},
    ),
}


def settings(
    size: Size,
    architecture: str,
    layers: int,
    units: int,
    dropout: float,
    seed: int,
    **training: Any,
) -> Settings:
    """Returns the settings of a model: those of its preset at another size, in float32.

    Args:
      size: Scale of the comparison.
      architecture: "grid" or "stacked".
      layers: Number of layers.
      units: Width of the layers.
      dropout: Dropout rate.
      seed: Seed of the training.
      training: Further settings that differ from the preset.
    """
    net = {"layers": layers, "units": units, "dropout": dropout, "seed": seed}
    fixed = {"dtype": "float32", "quantize": False, "remat_steps": 0}
    return load_preset(PRESETS[architecture], {**fixed, **size.training, **training, **net})


def data() -> DataConfig:
    """Returns how the text is split, for all models."""
    return load_preset(PRESETS["grid"]).data


def prepare(store: Store, _: Scale, inputs: Inputs) -> None:
    """Writes the examples that all models are trained on."""
    language_models.examples_of(store, inputs.text, data())


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns the points of the main comparison, the widened stacked nets and the sweep."""
    size = SCALES[scale]

    def point(
        comparison: str,
        architecture: str,
        layers: int,
        units: int,
        dropout: float,
        seed: int,
        **training: Any,
    ) -> Point:
        model = settings(size, architecture, layers, units, dropout, seed, **training)
        labels = {
            "comparison": comparison,
            "model": architecture,
            "layers": layers,
            "units": units,
            "dropout": dropout,
            "seed": seed,
        }
        measure = partial(language_models.measure, text=inputs.text, settings=model)
        return Point(labels=labels, measure=measure)

    points = []
    wide = {layers: widened(size, layers) for layers in size.layers}
    for seed in inputs.seeds(size.seeds):
        for layers in size.layers:
            for dropout, architecture in itertools.product(size.dropout, PRESETS):
                points.append(point(MAIN, architecture, layers, size.units, dropout, seed))
            for dropout in size.dropout:
                points.append(point(WIDE, "stacked", layers, wide[layers], dropout, seed))
    steps = {"steps": size.sweep_steps, "validate_every": size.sweep_steps // 2}
    for layers, seeds in size.sweep.items():
        for architecture, seed in itertools.product(PRESETS, inputs.seeds(seeds)):
            points.append(point(SWEEP, architecture, layers, size.sweep_units, 0.0, seed, **steps))
    return points


def widened(size: Size, layers: int) -> int:
    """Returns the width of a stacked net with as many parameters as a grid of as many layers.

    Args:
      size: Scale of the comparison.
      layers: Number of layers of both.
    """

    def parameters(architecture: str, units: int) -> int:
        return parameters_of(settings(size, architecture, layers, units, 0.0, seed=0).model)

    return nearest_width(parameters("grid", size.units), partial(parameters, "stacked"))


EXPERIMENT = Experiment(
    name="stacked-vs-grid",
    title="Character models: stacked against grid",
    claim="On 100 million characters of Wikipedia a 6-layer Grid LSTM of 1000 units ends 4.61% "
    "lower in validation loss than the best stacked LSTM; without dropout a 6-layer stacked LSTM "
    "stays at 3.53 nats, and a 6-layer grid trains (https://github.com/coreylynch/grid-lstm).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="curves",
            caption="Validation loss over the training characters; mean and range over seeds.",
            draw=draw_curves,
        ),
        Plot(
            name="gradients",
            caption="The norm of the gradient of each layer's own weights, the deepest nets "
            "without dropout; the top layer is the darkest.",
            draw=draw_gradients,
        ),
        Plot(
            name="depths",
            caption="Validation loss of small nets by depth, without dropout; mean and range over "
            "seeds.",
            draw=draw_depths,
        ),
        Plot(
            name="classes",
            caption="Loss on the eval split by the class of the character predicted, without "
            "dropout, at the best depth of each.",
            draw=draw_classes,
        ),
    ),
    outcomes="models",
    prepare=prepare,
)
