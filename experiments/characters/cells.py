"""Cells: memory cells that track a feature of the text, and gates that saturate."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.characters import language_models, stacked_vs_grid
from experiments.characters.probing import DIMENSIONS, GATES, KINDS, SHOWN, probe
from experiments.framework import plots
from experiments.framework.experiment import (
    Experiment,
    Inputs,
    Measurement,
    Plot,
    Point,
    Row,
    Summary,
    Tables,
    distinct,
)
from experiments.framework.scale import Scale
from pipeline.corpora.corpus import Mixture
from pipeline.settings import Settings
from pipeline.store.artifacts import Store
from pipeline.training.exports import saved_models

PIECES = {"tiny": 2, "small": 40, "full": 200}
"""Number of pieces of the eval split to read, by scale; see `language_models.PIECE`."""
LINE = 80
"""Number of characters of a line in plots."""
SATURATED = {"right": "above 0.9, %", "left": "below 0.1, %"}
"""Columns of the saturated shares, and what is counted in them."""


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per export that the user names, or per model of stacked-vs-grid."""
    if inputs.saved_models:
        return [
            Point(
                labels={"model": str(path), "seed": 0},
                measure=partial(_probe_export, path=path, text=inputs.text, pieces=PIECES[scale]),
            )
            for path in inputs.saved_models
        ]
    size = stacked_vs_grid.SCALES[scale]
    layers = min(size.layers)  # deep stacked nets do not train
    seed = inputs.first_seed
    return [
        Point(
            labels={"model": f"{architecture} {layers}x{size.units}", "seed": seed},
            measure=partial(
                _probe_training,
                text=inputs.text,
                settings=stacked_vs_grid.settings(
                    size, architecture, layers, size.units, 0.0, seed
                ),
                pieces=PIECES[scale],
            ),
        )
        for architecture in stacked_vs_grid.PRESETS
    ]


def _probe_training(store: Store, text: Mixture, settings: Settings, pieces: int) -> Measurement:
    examples, model = language_models.train(store, text, settings)
    path = saved_models(model)["float32"]
    return Measurement(
        probe(path, language_models.text_of(examples, "eval"), pieces), model.manifest.seconds
    )


def _probe_export(store: Store, path: str, text: Mixture, pieces: int) -> Measurement:
    examples, _ = language_models.examples_of(store, text, stacked_vs_grid.data())
    return Measurement(probe(path, language_models.text_of(examples, "eval"), pieces), 0.0)


def summarize(tables: Tables) -> Summary:
    """Summarizes the cells that track a feature best, by model."""
    models = distinct(tables["cells"], "model")
    rows = [
        (
            row["model"],
            row["feature"],
            f"layer {row['layer']}, unit {row['unit']}",
            f"{row['correlation']:+.3f}",
        )
        for row in tables["cells"]
    ]
    sentences = []
    for model in models:
        cells = [row for row in tables["cells"] if row["model"] == model]
        best = max(cells, key=lambda row: abs(row["correlation"]))
        errors = [row for row in tables["errors"] if row["model"] == model]
        share = sum(row["errors"] for row in errors) / sum(row["count"] for row in errors)
        sentences.append(
            f"{model}: a cell of layer {best['layer']} tracks {best['feature']} best "
            f"(correlation {best['correlation']:+.2f}); {share:.1%} of the characters get less "
            "than half of the probability."
        )
    header = ("model", "feature", "cell", "correlation")
    return Summary(sentences=sentences, header=header, rows=rows)


def draw_cells(tables: Tables) -> Figure:
    """Draws text, coloured by the value of the cell that tracks a feature best."""
    cells = {(row["model"], row["feature"]): row for row in tables["cells"]}
    height = -(-SHOWN // LINE)
    figure = Figure(figsize=(9, 0.24 * (height + 2) * len(cells)))
    axes = np.atleast_1d(figure.subplots(len(cells), 1))
    for axis, ((model, feature), cell) in zip(axes, cells.items(), strict=True):
        rows = [r for r in tables["drawn"] if (r["model"], r["feature"]) == (model, feature)]
        values = np.full((height, LINE), np.nan)
        for row in rows:
            y, x = divmod(row["position"], LINE)
            values[y, x] = row["value"]
            visible = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": " "}
            text = visible.get(row["character"], row["character"])
            axis.text(
                x, y, text, ha="center", va="center", fontsize=6.5, family="monospace",
                parse_math=False,
            )  # fmt: skip
        axis.imshow(values, cmap="coolwarm", aspect="auto", alpha=0.7)
        axis.set_title(
            f"{model}: {feature}, layer {cell['layer']}, unit {cell['unit']}, correlation "
            f"{cell['correlation']:+.2f}",
            fontsize=8,
        )
        axis.set_axis_off()
    return figure


def draw_gates(tables: Tables) -> Figure:
    """Draws the saturated shares as tables: a row per gate and dimension, a column per layer."""
    models = distinct(tables["gates"], "model")
    found = {model: _gate_rows(tables, model) for model in models}
    heights = [len(rows) + 1.5 for rows in found.values()]  # in rows, with title and layers
    figure = Figure(figsize=(5.4, 0.27 * sum(heights) + 0.3))
    panels = figure.subplots(len(models), 2, squeeze=False, height_ratios=heights)
    for pair, (model, rows) in zip(panels, found.items(), strict=True):
        for axis, (side, meaning) in zip(pair, SATURATED.items(), strict=True):
            shares = [[row[side] for row in layers] for layers in rows.values()]
            layers = [row["layer"] for row in next(iter(rows.values()))]
            plots.percentages(axis, list(rows), layers, shares)
            axis.set_title(f"{model}: {meaning}", fontsize=9)
        pair[1].set_yticks([])
    for axis in panels[-1]:
        axis.set_xlabel("layer")
    return figure


def _gate_rows(tables: Tables, model: str) -> dict[str, list[Row]]:
    """Returns the rows of a model's layers, by gate and dimension."""
    found: dict[str, list[Row]] = {}
    for gate in GATES:
        for dimension in DIMENSIONS:
            labels = (model, gate, dimension)
            rows = [r for r in tables["gates"] if (r["model"], r["gate"], r["dimension"]) == labels]
            if rows:
                found[f"{gate}, {dimension}"] = sorted(rows, key=lambda row: row["layer"])
    return found


def draw_errors(tables: Tables) -> Figure:
    """Draws the errors by kind of character, models side by side."""
    models = distinct(tables["errors"], "model")
    figure, (axis,) = plots.panels(1, width=8)
    shares = {}
    for model in models:
        rows = {row["kind"]: row for row in tables["errors"] if row["model"] == model}
        shares[model] = [100 * rows[kind]["errors"] / max(rows[kind]["count"], 1) for kind in KINDS]
    colors = [plots.color(model.split()[0], number) for number, model in enumerate(models)]
    for drawn in plots.side_by_side(axis, KINDS, shares, colors):
        axis.bar_label(drawn, fmt="%.0f", fontsize=7, padding=2)
    axis.set_ylabel("errors, % of the characters")
    return figure


EXPERIMENT = Experiment(
    name="cells",
    title="What a cell knows",
    claim="Single cells of character models keep track of quotes, brackets, indentation and the "
    "length of a line, and some forget gates are open nearly all the time (Karpathy, Johnson, "
    "Fei-Fei, arXiv 1506.02078).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="cells",
            caption="The cell that tracks each feature best, over the piece of the eval split in "
            "which the feature varies the most: its memory there, from the lowest (blue) to the "
            "highest.",
            draw=draw_cells,
        ),
        Plot(
            name="gates",
            caption="Gate values that are saturated, that is above 0.9 or below 0.1, as "
            "percentages of all values of the gate, by dimension and layer.",
            draw=draw_gates,
        ),
        Plot(
            name="errors",
            caption="Characters that get less than half of the probability, by kind.",
            draw=draw_errors,
        ),
    ),
    outcomes="cells",
    prepare=stacked_vs_grid.prepare,
)
