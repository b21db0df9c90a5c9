"""Parity: whether the number of ones is odd in a string of bits that a net reads at once."""

import itertools
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from experiments.framework import plots
from experiments.framework.experiment import Experiment, Inputs, Plot, Point, Row, Summary, Tables
from experiments.framework.scale import Scale
from experiments.tasks.algorithmic_tasks import Parity
from experiments.tasks.depth_sweep import DepthSweep, difficulty_sweeps
from experiments.tasks.fitting import LEARNED, FitConfig
from experiments.tasks.nets import Architecture

PAPER = 250
"""Number of bits that the paper's 1-D Grid LSTM learns."""

TICKS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of bits that are written along an axis."""

MODELS: dict[str, tuple[Architecture, bool]] = {
    "grid, tied": ("grid", True),
    "grid, untied": ("grid", False),
    "highway": ("highway", False),
    "tanh, tied": ("tanh", True),
    "tanh, untied": ("tanh", False),
    "relu, tied": ("relu", True),
    "relu, untied": ("relu", False),
}


# All nets start with the same input projection, of random signs: the correlation of a unit's input
# with the parity is then only polynomially small in the number of bits, and not exponentially, as
# with weights of many magnitudes (Abbe and others, "Learning High-Degree Parities", arXiv
# 2412.04910).
SCALES: dict[Scale, DepthSweep] = {
    "tiny": DepthSweep(
        sizes=(2, 4),
        layers=(2,),
        units=32,
        input_signs=2.0,
        fit=FitConfig(examples=25_600, test_every=6_400, batch_size=64, learning_rate=0.005),
        seeds=1,
    ),
    "small": DepthSweep(
        sizes=(2, 4, 8, 12, 16, 20, 24, 32, 40, 60, 80, 100, 130, 160, 200, PAPER),
        layers=(2, 5),
        units=100,
        input_signs=2.0,
        fit=FitConfig(examples=1_000_000, test_every=20_000, batch_size=64, learning_rate=0.005),
        seeds=2,
    ),
    "full": DepthSweep(
        sizes=(20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, PAPER),
        layers=(2, 5, 18, 50, 72),
        units=500,
        input_signs=2.0,
        fit=FitConfig(examples=10_000_000, test_every=50_000, batch_size=20),
        seeds=3,
    ),
}


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per model, depth, seed and number of bits."""
    return difficulty_sweeps(SCALES[scale], inputs, "bits", Parity, MODELS)


def longest(tables: Tables, model: str) -> dict[int, list[int]]:
    """Returns the most bits that each fit of a model has learned, 0 for none, by its depth."""
    most: dict[tuple[int, int], int] = {}
    for row in tables["nets"]:
        if row["model"] == model:
            key = row["layers"], row["seed"]
            learned = row["bits"] if row["exact"] >= LEARNED else 0
            most[key] = max(most.get(key, 0), learned)
    of_depths: dict[int, list[int]] = {}
    for (layers, _), bits in most.items():
        of_depths.setdefault(layers, []).append(bits)
    return of_depths


def at_best_depth(tables: Tables, model: str) -> list[int]:
    """Returns the most bits of each fit of a model at the depth where their mean is largest."""
    return max(longest(tables, model).values(), key=mean)


def _told(bits: Sequence[int]) -> str:
    """Returns the range of what fits have learned."""
    least, most = min(bits), max(bits)
    return str(most) if least == most else f"{least} to {most}"


def summarize(tables: Tables) -> Summary:
    """Summarizes the longest strings that each model has learned."""
    learned_by = {model: at_best_depth(tables, model) for model in MODELS}
    grid = max(
        (model for model in learned_by if model.startswith("grid")),
        key=lambda m: mean(learned_by[m]),
    )
    plain = max(
        (model for model in learned_by if model.startswith(("tanh", "relu"))),
        key=lambda m: mean(learned_by[m]),
    )
    sentences = [
        f"Of nets of one width, the 1-D Grid LSTM ({grid}) learned the parity of "
        f"{_told(learned_by[grid])} bits (the paper's: {PAPER}), the best plain net ({plain}) that "
        f"of {_told(learned_by[plain])}, and the highway net that of "
        f"{_told(learned_by['highway'])}: the range over seeds at the best depth of each."
    ]
    if mean(learned_by[plain]):
        ratio = mean(learned_by[grid]) / mean(learned_by[plain])
        sentences.append(f"On average the grid went {ratio:.1f} times as far as the plain net.")
    rows = []
    for model in MODELS:
        learned = [row for row in tables["nets"] if row["model"] == model]
        for layers in sorted({row["layers"] for row in learned}):
            fits = [row for row in learned if row["layers"] == layers]
            solved = [row for row in fits if row["exact"] >= LEARNED]
            top = max((row["bits"] for row in solved), default=0)
            examples = [row["examples"] for row in solved if row["bits"] == top]
            failed = [f"{r['bits']} ({r['exact']:.1%})" for r in fits if r["exact"] < LEARNED]
            rows.append(
                (
                    model,
                    str(layers),
                    f"{max(row['parameters'] for row in fits):,.0f}",
                    str(top),
                    f"{median(examples):,.0f}" if examples else "",
                    ", ".join(failed),
                )
            )
    header = ("model", "layers", "parameters", "bits learned", "examples for them", "failed at")
    return Summary(sentences=sentences, header=header, rows=rows)


def draw_longest(tables: Tables) -> Figure:
    """Draws a bar per model with the most bits learned."""
    figure, (axis,) = plots.panels(1, width=7)
    fits: dict[str, Sequence[float]] = {
        model: list(itertools.chain.from_iterable(longest(tables, model).values()))
        for model in MODELS
    }
    plots.bars(axis, fits, "{:.0f}")
    axis.axhline(PAPER, color="#1a6fb5", linestyle=":", linewidth=1)
    axis.annotate("the paper's grid", (len(MODELS) - 0.5, PAPER), ha="right", va="bottom")
    axis.set_ylabel("bits learned")
    return figure


def draw_examples(tables: Tables) -> Figure:
    """Draws the training examples that each length takes, in a panel per architecture.

    The lines of other architectures are in grey: in one panel for all they would hide each other.
    """
    solved = [row for row in tables["nets"] if row["exact"] >= LEARNED]
    fewest = {model: _fewest_examples(solved, model) for model in MODELS}
    architectures = list(dict.fromkeys(architecture for architecture, _ in MODELS.values()))
    figure, axes = plots.panels(len(architectures), height=2.5, width=2.7, most=2)
    for axis, architecture in zip(axes, architectures, strict=True):
        for model, curve in fewest.items():
            if MODELS[model][0] != architecture:
                axis.plot(*curve, color="#d3d8dd", linewidth=0.9, zorder=1)
            else:
                axis.plot(*curve, label=model.partition(", ")[2] or model, **_style(model))
        if len(axis.get_legend_handles_labels()[0]) > 1:
            axis.legend(loc="upper left", handlelength=3)
        axis.set(xscale="log", yscale="log", title=architecture)
        axis.set_xticks(TICKS, list(map(str, TICKS)))
        axis.set_xlim(1.6, 1.5 * max(row["bits"] for row in solved) if solved else None)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(y=0.15)
        plots.log_ticks(axis.yaxis, EngFormatter(sep=""))
    for axis in axes[-2:]:
        axis.set_xlabel("bits")
    figure.supylabel("examples until 99% are correct", fontsize=9)
    return figure


def _fewest_examples(solved: list[Row], model: str) -> tuple[list[int], list[int]]:
    """Returns the numbers of bits that a model learned, and the fewest examples for each."""
    rows = [row for row in solved if row["model"] == model]
    bits = sorted({row["bits"] for row in rows})
    return bits, [min(row["examples"] for row in rows if row["bits"] == count) for count in bits]


def _style(model: str) -> dict[str, Any]:
    """Returns what tells tied from untied weights without a colour, even where both meet."""
    architecture, tied = MODELS[model]
    color = plots.COLORS[architecture]
    if tied:
        return {"color": color, "marker": "o", "markersize": 4}
    return {
        "color": color,
        "linestyle": "--",
        "marker": "o",
        "markersize": 8,
        "markerfacecolor": "none",
    }


EXPERIMENT = Experiment(
    name="parity",
    title="Parity of a string of bits",
    claim="A 1-D Grid LSTM that gets k bits at once, by a single projection, learns their parity "
    f"for up to {PAPER} bits, where tanh and ReLU nets fail at about 30 (Kalchbrenner, Danihelka, "
    "Graves, 2015, section 4.1).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="longest",
            caption="The most bits whose parity is learned (99% of random strings correct, of "
            "which those of few bits occur in training): the mean over depths and seeds, and the "
            "range from the worst to the best.",
            draw=draw_longest,
        ),
        Plot(
            name="examples",
            caption="Training examples until the parity is learned, of the fit that took the "
            "fewest; the lines of the other panels are in grey.",
            draw=draw_examples,
        ),
    ),
)
