"""The summary and the plots of the comparison of stacked LSTMs with grids."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from experiments.characters.equal_time import lowest_losses
from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, difference, distinct

PRESETS = {"grid": "enwik8-grid3", "stacked": "enwik8-stacked3"}
"""Presets of the models, of which a scale changes some settings."""

MARKERS = {"grid": ("o", None), "stacked": ("s", "white")}
"""Marker of each architecture and its filling, None for that of the line."""

MAIN, WIDE, SWEEP = "equal width", "equal parameters", "depth"


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


def summarize(tables: Tables) -> Summary:
    """Summarizes the differences to the best stacked models at equal updates, weights and time."""
    losses = means(select(tables["models"], MAIN), "loss")
    wide = means(select(tables["models"], WIDE), "loss")
    grid = min((m for m in losses if m.startswith("grid")), key=lambda m: losses[m])
    stacked = min((m for m in losses if m.startswith("stacked")), key=lambda m: losses[m])
    depth = next(row["layers"] for row in tables["models"] if model_name(row) == grid)
    of_depth = {model_name(row) for row in select(tables["models"], WIDE, layers=depth)}
    widest = min(of_depth, key=lambda m: wide[m])
    deepest = max(row["layers"] for row in select(tables["models"], MAIN))
    plain = select(tables["models"], MAIN, layers=deepest, dropout=0.0)
    deep = {
        architecture: mean(row["loss"] for row in plain if row["model"] == architecture)
        for architecture in PRESETS
    }
    ours, theirs, seconds = lowest_losses(tables["curves"], grid, stacked, model_name)

    sentences = [
        f"The best grid, {grid}, ends at {losses[grid]:.4f} nats per character, "
        f"{difference(losses[grid], losses[stacked])} than the best stacked model, {stacked} "
        f"({losses[stacked]:.4f}), after the same updates on the same text;",
        f"against the best stacked model of its depth and parameters, {widest}, that is "
        f"{difference(losses[grid], wide[widest])};",
        f"at equal time, {seconds:,.0f} s, {difference(ours, theirs)}.",
        f"With {deepest} layers and no dropout the grid ends at {deep['grid']:.4f}, "
        f"{difference(deep['grid'], losses[stacked])} than the best stacked model, and the stacked "
        f"net at {deep['stacked']:.4f}.",
        _sweep_sentence(tables),
    ]
    rows = []
    for row in select(tables["models"], MAIN, WIDE):
        reference = losses[stacked]
        rows.append(
            (
                model_name(row),
                str(row["seed"]),
                f"{row['parameters']:,}",
                f"{row['loss']:.4f}",
                f"{100 * (row['loss'] / reference - 1):+.2f}%",
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
        tried = ", ".join(map(str, sorted(losses)))
        parts.append(
            f"{architecture} nets of {units} units train up to {deepest} layers ({tried} were "
            f"tried) to within 10% of their best, {best:.3f}"
        )
    return "In the sweep over depths " + "; ".join(parts) + "."


def draw_curves(tables: Tables) -> Figure:
    """Draws validation curves, in a panel per depth."""
    rows = select(tables["curves"], MAIN, WIDE)
    depths = sorted({row["layers"] for row in rows})
    figure, axes = plots.panels(len(depths), height=3.9, width=5.4, most=1)
    for axis, depth in zip(axes, depths, strict=True):
        at_depth = [row for row in rows if row["layers"] == depth]
        plots.curves(axis, at_depth, "characters", "loss", model_name, _style)
        axis.set_title(f"{depth} layers")
        axis.set_ylabel("validation loss, nats per character")
        # Below the panel there is room for it whatever the curves are.
        axis.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.45, -0.16), handlelength=3.5)
        axis.set_xlabel("training characters", labelpad=1)
    return figure


def _style(label: str) -> dict[str, Any]:
    """Returns a colour and a marker per architecture, and a line per kind of net."""
    architecture = label.split()[0]
    is_wide, drops = "widened" in label, "dropout" in label
    line = {(False, False): "-", (False, True): ":", (True, False): "--", (True, True): "-."}[
        is_wide, drops
    ]
    marker, face = MARKERS[architecture]
    return {
        "color": plots.COLORS[architecture],
        "linestyle": line,
        "marker": marker,
        "markerfacecolor": face,
        "markersize": 5,
        "markevery": 3,
    }


def draw_gradients(tables: Tables) -> Figure:
    """Draws the norm of each layer's gradient, of the deepest nets without dropout."""
    rows = select(tables["gradients"], MAIN, seed=0, dropout=0.0)
    deepest = max(row["layers"] for row in rows)
    # One above the other, the panels can be read on a phone.
    figure, axes = plots.panels(len(PRESETS), height=3.0, width=5.0, most=1)
    for axis, architecture in zip(axes, PRESETS, strict=True):
        for layer in range(1, deepest + 1):
            norms = _layer_norms(rows, architecture, deepest, layer)
            shade = 0.25 + 0.75 * layer / deepest
            axis.plot(
                *zip(*norms, strict=True),
                color=plots.COLORS[architecture],
                alpha=shade,
                linewidth=1.4,
                label=f"layer {layer}",
            )
        axis.set(yscale="log", title=f"{architecture}, {deepest} layers", xlabel="update")
        axis.legend(ncols=-(-deepest // 2), loc="upper left")
        axis.set_ylabel("norm of the layer's gradient")
    axes[0].set_ylim(top=20 * max(row["norm"] for row in rows))  # room for the legends
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
