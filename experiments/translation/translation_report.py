"""The summary and the plots of the nets that translate."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, distinct
from experiments.translation.translation_bleu import bleu, compared
from experiments.translation.translation_nets import BASELINE, REENCODER

LENGTHS = ((1, 6), (7, 9), (10, 12), (13, 50))
"""Ranges of the number of source words for which BLEU is given apart."""


def sentences_of(tables: Tables, model: str, seed: int | None = None) -> list[Row]:
    """Returns the test sentences with the translations of a net.

    Args:
      tables: Measurements.
      model: Name of the net.
      seed: Seed of the training; None for the first.
    """
    rows = [row for row in tables["sentences"] if row["model"] == model]
    seed = rows[0]["seed"] if seed is None else seed
    return [row for row in rows if row["seed"] == seed]


def bleu_of(rows: Sequence[Row], hypothesis: str = "hypothesis") -> float:
    """Returns BLEU of the translations of test sentences; 0 for none.

    Args:
      rows: Test sentences.
      hypothesis: Column of the translation.
    """
    if not rows:
        return 0.0
    return bleu([row[hypothesis] for row in rows], [row["reference"] for row in rows])


def mean_bleu(
    tables: Tables, model: str, unseen: bool = False, hypothesis: str = "hypothesis"
) -> float:
    """Returns the mean of BLEU over the seeds of a net.

    Args:
      tables: Measurements.
      model: Name of the net.
      unseen: Whether to leave out sentences that occur in the training part, on either side.
      hypothesis: Column of the translation.
    """
    seeds = distinct((row for row in tables["nets"] if row["model"] == model), "seed")
    parts = (sentences_of(tables, model, seed) for seed in seeds)
    return mean(
        bleu_of([row for row in part if not (unseen and row["in_training"])], hypothesis)
        for part in parts
    )


def bleu_by_length(tables: Tables, model: str) -> dict[str, float]:
    """Returns BLEU of the first seed of a net by the number of source words.

    Args:
      tables: Measurements.
      model: Name of the net.
    """
    found = {}
    rows = sentences_of(tables, model)
    for least, most in LENGTHS:
        part = [row for row in rows if least <= len(row["source"].split()) <= most]
        if part:
            found[f"{least}-{most}"] = bleu_of(part)
    return found


def summarize(tables: Tables) -> Summary:
    """Summarizes perplexity, BLEU with its paired bootstrap, and the speed of the search."""
    models = distinct(tables["nets"], "model")
    first = {model: sentences_of(tables, model) for model in models}
    tested = compared(
        {model: [row["hypothesis"] for row in rows] for model, rows in first.items()},
        [row["reference"] for row in first[models[0]]],
        BASELINE,
    )
    rows: list[Sequence[str]] = []
    scores = {model: mean_bleu(tables, model) for model in models}
    for model in models:
        nets = [row for row in tables["nets"] if row["model"] == model]
        p_value = tested[model].p_value
        rows.append(
            (
                model,
                str(nets[0]["units"]),
                f"{nets[0]['parameters']:,}",
                str(nets[0]["epochs"]),
                f"{mean(row['seconds'] for row in nets) / 60:.1f}",
                f"{mean(row['perplexity'] for row in nets):.2f}",
                f"{scores[model]:.1f}",
                f"{tested[model].bleu:.1f} +- {tested[model].interval:.1f}",
                "" if p_value is None else f"{p_value:.3f}",
                f"{mean_bleu(tables, model, unseen=True):.1f}",
                f"{mean_bleu(tables, model, hypothesis='greedy_hypothesis'):.1f}",
                f"{mean(row['beam_speed'] for row in nets):,.0f}",
                f"{mean(row['greedy_speed'] for row in nets):,.0f}",
            )
        )
    header = (
        "model",
        "units",
        "parameters",
        "passes",
        "minutes",
        "perplexity",
        "BLEU",
        "first seed, 95%",
        f"p against {BASELINE}",
        "BLEU, unseen",
        "BLEU, greedy",
        "sentences/s",
        "sentences/s, greedy",
    )
    return Summary(sentences=_findings(tables, scores), header=header, rows=rows)


def _findings(tables: Tables, scores: dict[str, float]) -> list[str]:
    ranked = sorted(scores, key=lambda model: -scores[model])
    order = ", ".join(f"{model} {scores[model]:.1f}" for model in ranked)
    test = sentences_of(tables, ranked[0])
    seen = sum(row["in_training"] for row in test)
    net = tables["nets"][0]
    sentences = [
        f"After training on {net['pairs']:,} pairs, BLEU of {len(test):,} test sentences is "
        f"{order}.",
        f"{seen:,} of them occur in the training part, in one language or both.",
    ]
    if net["skipped"]:
        sentences.append(f"Of the files, pairs were {net['skipped']}.")
    return sentences


LOOKS: dict[str, dict[str, Any]] = {
    REENCODER: {"marker": "o", "linestyle": "-"},
    "one grid": {"marker": "s", "linestyle": "--"},
    "LSTM with attention": {"marker": "^", "linestyle": "-."},
    BASELINE: {"marker": "D", "linestyle": ":"},
}
"""What tells the nets apart where there is no colour."""


def draw_curves(tables: Tables) -> Figure:
    """Draws the perplexity on the dev part by the passes and by the time of the training."""
    figure, axes = plots.panels(2, height=3.4)
    for axis, x, label in zip(
        axes, ("epoch", "seconds"), ("passes", "seconds of training"), strict=True
    ):
        rows = tables["curves"]
        plots.curves(
            axis, rows, x, "dev_perplexity", lambda row: row["model"], LOOKS.__getitem__, False
        )
        axis.set(xlabel=label, yscale="log")
        plots.log_ticks(axis.yaxis, "{x:.0f}")
    axes[0].set_ylabel("perplexity per word")
    axes[0].legend(fontsize=8)
    return figure


def draw_lengths(tables: Tables) -> Figure:
    """Draws BLEU of each net by the number of words of the source."""
    figure, (axis,) = plots.panels(1, width=6.5, height=3.6)
    models = distinct(tables["nets"], "model")
    heights = {model: bleu_by_length(tables, model) for model in models}
    groups = list(heights[models[0]])
    plots.side_by_side(
        axis,
        groups,
        {model: [found[group] for group in groups] for model, found in heights.items()},
        [plots.color(model, number) for number, model in enumerate(models)],
    )
    axis.set(xlabel="words of the source", ylabel="BLEU")
    return figure


def draw_alignments(tables: Tables) -> Figure:
    """Draws the gradients of the Reencoder as heat maps, words of the reference by source words."""
    rows = [row for row in tables.get("alignments", []) if row["model"] == REENCODER]
    rows = [row for row in rows if row["seed"] == rows[0]["seed"]]
    numbers = distinct(rows, "number")
    figure, axes = plots.panels(max(1, len(numbers)), height=3.6, shares_y=False)
    for axis, number in zip(axes, numbers, strict=False):
        part = [row for row in rows if row["number"] == number]
        targets = _words(part, "target")
        sources = _words(part, "source")
        norms = np.zeros([len(targets), len(sources)])
        for row in part:
            norms[row["target_place"], row["source_place"]] = row["norm"]
        # A word that any source may have has small gradients, but an alignment, too.
        largest = np.maximum(norms.max(axis=1, keepdims=True), np.finfo(float).tiny)
        axis.imshow(norms / largest, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(sources)), sources, rotation=60, ha="right")
        axis.set_yticks(range(len(targets)), targets)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


def _words(rows: Sequence[Row], side: str) -> list[str]:
    """Returns the words of one side of an alignment, in order."""
    found = {row[f"{side}_place"]: row[f"{side}_word"] for row in rows}
    return [found[place] for place in sorted(found)]
