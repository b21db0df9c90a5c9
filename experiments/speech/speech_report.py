"""The summary and the plots of the nets on spoken digits."""

from collections.abc import Sequence
from statistics import mean

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments.framework import plots
from experiments.framework.experiment import Summary, Tables, distinct
from experiments.speech.speech_data import OFFICIAL

REFERENCE = "LSTM"
"""The net that the others are compared with."""


def errors(tables: Tables, model: str, official: bool) -> dict[tuple[str, int], float]:
    """Returns the errors of a net in percent, by split and seed.

    Args:
      tables: Measurements.
      model: Name of the net.
      official: Whether to return those on the official split, or those on speakers left out.
    """
    return {
        (row["split"], row["seed"]): 100 * row["error"]
        for row in tables["nets"]
        if row["model"] == model and (row["split"] == OFFICIAL) == official
    }


def of_speakers(tables: Tables, model: str) -> dict[str, float]:
    """Returns the mean error of a net over seeds, in percent, by the speaker who was left out.

    Args:
      tables: Measurements.
      model: Name of the net.
    """
    found = errors(tables, model, official=False)
    speakers = dict.fromkeys(split for split, _ in found)
    return {
        speaker: mean(error for (split, _), error in found.items() if split == speaker)
        for speaker in speakers
    }


def paired_p(tables: Tables, model: str) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test of a net against `REFERENCE`.

    Pairs are speakers: seeds of one speaker are not independent of each other. With six of them no
    p-value is below 1/32.

    Args:
      tables: Measurements.
      model: Name of the net.
    """
    mine, theirs = (of_speakers(tables, name) for name in (model, REFERENCE))
    differences = np.array([mine[speaker] - theirs[speaker] for speaker in mine])
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def summarize(tables: Tables) -> Summary:
    """Summarizes the errors on both kinds of splits, and the paired differences."""
    models = distinct(tables["nets"], "model")
    left_out = {model: mean(errors(tables, model, official=False).values()) for model in models}
    reference = left_out[REFERENCE]
    ranked = sorted(models, key=lambda model: left_out[model])
    order = ", ".join(f"{model} {left_out[model]:.2f}%" for model in ranked)
    best = min(mean(errors(tables, model, official=True).values()) for model in models)
    sentences = [
        f"With one speaker left out of training at a time, the errors on that speaker are {order}.",
        f"On the official split the best net errs on {best:.2f}% of the recordings.",
    ]
    rows: list[Sequence[str]] = []
    for model in models:
        row = next(row for row in tables["nets"] if row["model"] == model)
        official = errors(tables, model, official=True).values()
        relative = 100 * (left_out[model] / reference - 1) if reference else 0.0
        rows.append(
            (
                model,
                str(row["units"]),
                f"{row['parameters']:,}",
                f"{mean(official):.2f}%",
                f"{left_out[model]:.2f}%",
                "" if model == REFERENCE else f"{relative:+.1f}%",
                "" if model == REFERENCE else f"{paired_p(tables, model):.3f}",
            )
        )
    header = (
        "model",
        "units",
        "parameters",
        "error, official split",
        "error, speaker left out",
        f"relative to {REFERENCE}",
        "p, paired by speaker",
    )
    return Summary(sentences=sentences, header=header, rows=rows)


def draw_errors(tables: Tables) -> Figure:
    """Draws the error of each training, and the mean of each net, in a panel per kind of split."""
    models = distinct(tables["nets"], "model")
    figure, axes = plots.panels(2, height=0.45 * len(models) + 1.2, width=6, most=1, shares_y=False)
    for axis, official in zip(axes, (True, False), strict=True):
        for place, model in enumerate(reversed(models)):
            found = list(errors(tables, model, official).values())
            axis.plot(found, [place] * len(found), "o", color="#6b7580", markersize=4, alpha=0.7)
            axis.plot([mean(found)], [place], "|", color="#111", markersize=18, markeredgewidth=2)
        axis.set_yticks(range(len(models)), list(reversed(models)))
        axis.set(
            title="official split" if official else "speaker left out",
            xlabel="test error, %; the bar is the mean",
            ylim=(-0.6, len(models) - 0.4),
        )
        axis.set_xlim(left=0)
    return figure


def draw_folds(tables: Tables) -> Figure:
    """Draws the mean error of each net by the speaker who was left out."""
    figure, (axis,) = plots.panels(1, width=6.5, height=4)
    speakers = [name for name in distinct(tables["nets"], "split") if name != OFFICIAL]
    markers = "osD^vX"
    for number, model in enumerate(distinct(tables["nets"], "model")):
        means = of_speakers(tables, model)
        axis.plot(
            speakers,
            [means[speaker] for speaker in speakers],
            color=plots.color(model, number),
            marker=markers[number % len(markers)],
            linestyle=("-", "--", ":", "-.")[number % 4],
            label=model,
        )
    axis.set(xlabel="speaker left out", ylabel="test error, %")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    return figure
