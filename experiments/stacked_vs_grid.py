"""Stacked LSTMs against grids: character models by depth, with and without dropout."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments import language_models, plots
from experiments.experiment import Experiment, Inputs, Plot, Point, Row, Summary, Tables, distinct
from experiments.scale import Scale
from pipeline.settings import DataConfig, Settings, load_preset
from pipeline.store.artifacts import Store

PRESETS = {"grid": "enwik8-grid3", "stacked": "enwik8-stacked3"}
"""Presets of the models, of which a scale changes some settings."""

MAIN, WIDE, SWEEP = "equal width", "equal parameters", "depth"


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
    for seed in inputs.seeds(size.seeds):
        for layers in size.layers:
            for dropout, architecture in itertools.product(size.dropout, PRESETS):
                points.append(point(MAIN, architecture, layers, size.units, dropout, seed))
            wide = widened(size.units, layers)
            points.append(point(WIDE, "stacked", layers, wide, min(size.dropout), seed))
    steps = {"steps": size.sweep_steps, "validate_every": size.sweep_steps // 2}
    for layers, seeds in size.sweep.items():
        for architecture, seed in itertools.product(PRESETS, inputs.seeds(seeds)):
            points.append(point(SWEEP, architecture, layers, size.sweep_units, 0.0, seed, **steps))
    return points


def widened(units: int, layers: int) -> int:
    """Returns the width of a stacked net with as many weights as a grid that is tied along depth.

    A grid has 8 units^2 weights along time per layer and as many along depth in all; a stacked net
    has 8 units^2 per layer.

    Args:
      units: Width of the grid.
      layers: Number of layers of both.
    """
    return round(units * math.sqrt((layers + 1) / layers))


def model_name(row: Row) -> str:
    """Returns the name of a row's model in plots and tables."""
    dropout = f", dropout {row['dropout']}" if row["dropout"] else ""
    wide = ", widened" if row["comparison"] == WIDE else ""
    return f"{row['model']} {row['layers']}x{row['units']}{wide}{dropout}"


def select(rows: Sequence[Row], *comparisons: str, **labels: Any) -> list[Row]:
    """Returns the rows of some comparisons with some labels."""
    return [
        row
        for row in rows
        if row["comparison"] in comparisons and all(row[k] == v for k, v in labels.items())
    ]


def means(rows: Sequence[Row], column: str) -> dict[str, float]:
    """Returns the mean of a column over seeds, by model."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(model_name(row), []).append(row[column])
    return {model: mean(column_values) for model, column_values in values.items()}


def best_at_equal_time(tables: Tables, first: str, second: str) -> tuple[float, float, float]:
    """Returns the lowest losses of two models until the faster one ends, and its seconds.

    Args:
      tables: Measurements.
      first: Name of one model.
      second: Name of the other.
    """
    curves = {}
    for model in (first, second):
        rows = [row for row in tables["curves"] if model_name(row) == model]
        curves[model] = [(row["seconds"], row["loss"]) for row in rows]
    end = min(max(seconds for seconds, _ in curve) for curve in curves.values())
    best = [
        min((loss for seconds, loss in curves[model] if seconds <= end), default=math.nan)
        for model in (first, second)
    ]
    return best[0], best[1], end


def summarize(tables: Tables) -> Summary:
    """Summarizes the differences to the best stacked models at equal updates, weights and time."""
    losses = means(select(tables["models"], MAIN), "loss")
    wide = means(select(tables["models"], WIDE), "loss")
    grid = min((m for m in losses if m.startswith("grid")), key=losses.get)
    stacked = min((m for m in losses if m.startswith("stacked")), key=losses.get)
    widest = min(wide, key=wide.get)
    deepest = max(row["layers"] for row in select(tables["models"], MAIN))
    plain = select(tables["models"], MAIN, layers=deepest, dropout=0.0)
    deep = {
        architecture: mean(row["loss"] for row in plain if row["model"] == architecture)
        for architecture in PRESETS
    }
    ours, theirs, seconds = best_at_equal_time(tables, grid, stacked)

    def difference(loss: float, reference: float) -> str:
        percent = 100 * (1 - loss / reference)
        return f"{abs(percent):.2f}% {'lower' if percent > 0 else 'higher'}"

    sentences = [
        f"The best grid, {grid}, ends at {losses[grid]:.4f} nats per character, "
        f"{difference(losses[grid], losses[stacked])} than the best stacked model, {stacked} "
        f"({losses[stacked]:.4f}), after the same updates on the same text;",
        f"against the best stacked model with its parameters, {widest}, that is "
        f"{difference(losses[grid], wide[widest])};",
        f"at equal time, {seconds:,.0f} s, {difference(ours, theirs)}.",
        f"With {deepest} layers and no dropout the grid ends at {deep['grid']:.4f}, "
        f"{difference(deep['grid'], losses[stacked])} than the best stacked model, and the stacked "
        f"net at {deep['stacked']:.4f}.",
        _sweep_sentence(tables),
    ]
    rows = []
    for row in select(tables["models"], MAIN, WIDE):
        rows.append(
            (
                model_name(row),
                str(row["seed"]),
                f"{row['parameters']:,}",
                f"{row['loss']:.4f}",
                f"{100 * (row['loss'] / losses[stacked] - 1):+.2f}%",
                f"{row['seconds']:,.0f}",
            )
        )
    header = ("model", "seed", "parameters", "nats per character", "to best stacked", "seconds")
    texts = {
        f"A text by {model_name(row)}": row["text"]
        for row in select(tables["models"], MAIN, seed=0)
    }
    return Summary(sentences=sentences, header=header, rows=rows, texts=texts)


def _sweep_sentence(tables: Tables) -> str:
    """Returns how deep each architecture trains: to within a tenth of its best mean loss."""
    parts = []
    units = select(tables["models"], SWEEP)[0]["units"]
    for architecture in PRESETS:
        rows = select(tables["models"], SWEEP, model=architecture)
        losses = {
            layers: mean(row["loss"] for row in rows if row["layers"] == layers)
            for layers in distinct(rows, "layers")
        }
        best = min(losses.values())
        deepest = max(layers for layers, loss in losses.items() if loss < 1.1 * best)
        parts.append(
            f"{architecture} nets of {units} units train up to "
            f"{deepest} layers (of {max(losses)} tried) to within 10% of their best, {best:.3f}"
        )
    return "In the sweep over depths " + "; ".join(parts) + "."


def draw_curves(tables: Tables) -> Figure:
    """Draws validation curves, in a panel per depth."""
    rows = select(tables["curves"], MAIN, WIDE)
    depths = sorted({row["layers"] for row in rows})
    figure, axes = plots.panels(len(depths), height=4.0, width=5.5)
    for axis, depth in zip(axes, depths, strict=True):
        at_depth = [row for row in rows if row["layers"] == depth]
        plots.curves(axis, at_depth, "characters", "loss", model_name, _style)
        axis.set(title=f"{depth} layers", xlabel="training characters")
        axis.legend(fontsize=7)
    axes[0].set_ylabel("validation loss, nats per character")
    return figure


def _style(label: str) -> dict[str, str]:
    line = "--" if "widened" in label else ":" if "dropout" in label else "-"
    return {"color": plots.COLORS[label.split()[0]], "linestyle": line}


def draw_gradients(tables: Tables) -> Figure:
    """Draws the norm of each layer's gradient, of the deepest nets without dropout."""
    rows = select(tables["gradients"], MAIN, seed=0, dropout=0.0)
    deepest = max(row["layers"] for row in rows)
    figure, axes = plots.panels(len(PRESETS), height=3.4, width=5.0)
    for axis, architecture in zip(axes, PRESETS, strict=True):
        for layer in range(1, deepest + 1):
            norms = _layer_norms(rows, architecture, deepest, layer)
            shade = 0.25 + 0.75 * layer / deepest
            axis.plot(
                *zip(*norms, strict=True),
                color=plots.COLORS[architecture],
                alpha=shade,
                linewidth=1.2,
                label=f"layer {layer}",
            )
        axis.set(yscale="log", title=f"{architecture}, {deepest} layers", xlabel="update")
        axis.legend(fontsize=7, ncols=-(-deepest // 2), loc="upper left")
    axes[0].set_ylim(top=10 * max(row["norm"] for row in rows))  # room for the legends
    axes[0].set_ylabel("norm of the layer's gradient")
    return figure


def _layer_norms(rows: list[Row], *labels: str | int) -> list[tuple[int, float]]:
    """Returns the steps and norms of rows with an architecture, a depth and a layer."""
    selected = [r for r in rows if (r["model"], r["layers"], r["layer"]) == labels]
    return [(row["step"], row["norm"]) for row in selected]


def draw_depths(tables: Tables) -> Figure:
    """Draws the loss over depth."""
    figure, (axis,) = plots.panels(1, width=6)
    rows = sorted(select(tables["models"], SWEEP), key=lambda row: row["layers"])
    plots.curves(
        axis,
        rows,
        "layers",
        "loss",
        lambda row: row["model"],
        lambda _: {"marker": "o"},
        extend=False,
    )
    axis.set(xlabel="layers", ylabel="validation loss, nats per character")
    axis.legend()
    return figure


def draw_classes(tables: Tables) -> Figure:
    """Draws the loss by class of character, of the best depths without dropout."""
    rows = select(tables["classes"], MAIN, dropout=0.0)
    models = select(tables["models"], MAIN, dropout=0.0)
    names = distinct(rows, "class")
    figure, (axis,) = plots.panels(1, width=8)
    losses = {}
    for architecture in PRESETS:
        of_model = [row for row in models if row["model"] == architecture]
        depth = min(of_model, key=lambda row: row["loss"])["layers"]
        by_class: dict[str, list[float]] = {character_class: [] for character_class in names}
        for row in rows:
            if (row["model"], row["layers"]) == (architecture, depth):
                by_class[row["class"]].append(row["loss"])
        losses[f"{architecture}, {depth} layers"] = list(map(mean, by_class.values()))
    plots.side_by_side(
        axis, names, losses, [plots.COLORS[architecture] for architecture in PRESETS]
    )
    axis.set_ylabel("nats per character")
    return figure


EXPERIMENT = Experiment(
    name="stacked-vs-grid",
    title="Character models: stacked against grid",
    claim="On 100 million characters of Wikipedia a 6-layer Grid LSTM of 1000 units ends 4.61% "
    "lower in validation loss than the best stacked LSTM; without dropout a 6-layer stacked LSTM "
    "stays at 3.53 nats, and a 6-layer grid trains (the Torch7 Grid LSTM on top of char-rnn).",
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
