"""Recurrent highway networks by depth, beside grids of as many layers and parameters."""

import math

from experiments.characters import core_comparison
from experiments.characters.core_comparison import (
    SMALL_TRAINING,
    TINY_TRAINING,
    Comparison,
    bits,
    losses,
)
from experiments.characters.equal_time import lowest_losses
from experiments.framework.experiment import Summary, Tables, difference
from experiments.framework.scale import Scale

SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        layers={"rhn": (1, 2), "grid": (1, 2)},
        parameters=4_000,
        seeds=1,
        training=TINY_TRAINING,
    ),
    "small": Comparison(
        layers={"rhn": (1, 2, 3, 5, 8), "grid": (1, 2, 3, 5)},
        parameters=80_000,
        seeds=2,
        training=SMALL_TRAINING,
    ),
    "full": Comparison(
        layers={"rhn": (1, 2, 3, 5, 7, 10), "grid": (1, 2, 3, 5, 7, 10)},
        parameters=21_000_000,
        seeds=1,
        training={},
    ),
}


def summarize(tables: Tables) -> Summary:
    """Summarizes the loss by depth, and the grids of the same depths at equal time."""
    of_rhn, of_grid = (losses(tables, model) for model in ("rhn", "grid"))
    by_depth = ", ".join(f"{bits(loss):.3f} ({depth})" for depth, loss in of_rhn.items())
    best = min(of_rhn, key=lambda depth: of_rhn[depth])
    sentences = [
        f"With as many parameters, recurrent highway networks come to {by_depth} bits per "
        f"character, by their depth in brackets; depth {best} is best, and depth {max(of_rhn)} "
        f"{difference(of_rhn[max(of_rhn)], of_rhn[min(of_rhn)])} than depth {min(of_rhn)}.",
    ]
    for layers, loss in of_grid.items():
        if layers in of_rhn:
            curves = [row for row in tables["curves"] if row["layers"] == layers]
            ours, theirs, seconds = lowest_losses(
                curves, "grid", "rhn", name_of=lambda row: row["model"]
            )
            in_time = (
                f"; at equal time, {seconds:,.0f} s, when the learning rate of the slower has not "
                f"fallen yet, {difference(ours, theirs)}"
                if not (math.isnan(ours) or math.isnan(theirs))
                else ""
            )
            sentences.append(
                f"The grid of depth {layers} ends {difference(loss, of_rhn[layers])} than the "
                f"recurrent highway network of that depth after the same text{in_time}."
            )
    return core_comparison.summary(tables, sentences)


EXPERIMENT = core_comparison.core_experiment(
    name="rhn",
    title="Recurrent highway networks by depth",
    claim="At equal parameters a recurrent highway network improves with its depth: perplexity on "
    "Penn Treebank falls from 90.6 at depth 1 to 67.7 at 5 and 66.0 at 10 (Zilly, Srivastava, "
    "Koutnik, Schmidhuber, arXiv 1607.03474).",
    scales=SCALES,
    summarize=summarize,
)
