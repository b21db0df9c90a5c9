"""The summary and the plots of the language models over documents."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.documents.document_coherence import sign_test
from experiments.documents.document_nets import NETS, SENTENCE
from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, difference, distinct

_STYLES: tuple[dict[str, Any], ...] = (
    {"marker": "", "linestyle": (0, (1, 1)), "color": "#6b7580"},
    {"marker": "o", "linestyle": "-", "color": "#1a6fb5"},
    {"marker": "s", "linestyle": "--", "color": "#d9662b"},
    {"marker": "^", "linestyle": "-.", "color": "#3f8f4f"},
    {"marker": "v", "linestyle": ":", "color": "#a04fb0"},
    {"marker": "D", "linestyle": "-", "color": "#111111"},
    {"marker": "x", "linestyle": "--", "color": "#2f9e9e"},
)

LOOKS: dict[str, dict[str, Any]] = {
    name: {**look, "markersize": 4} for name, look in zip(NETS, _STYLES, strict=True)
}
"""What tells the models apart, also where there is no colour."""


def _models(tables: Tables) -> list[str]:
    """Returns the names of the models that were measured, in the order of tables and plots."""
    return sorted(distinct(tables["nets"], "model"), key=NETS.index)


def _of(rows: Sequence[Row], model: str) -> list[Row]:
    return [row for row in rows if row["model"] == model]


def _longest(tables: Tables) -> int:
    """Returns the largest number of sentences whose coherence was measured on any document."""
    return max(row["sentences"] for row in tables["coherence"] if row["documents"])


def coherence(tables: Tables, model: str, sentences: int) -> tuple[float, int, int]:
    """Returns the coherence of a model, the share of all seeds and the documents of one.

    Args:
      tables: Measurements.
      model: Name of the model.
      sentences: Number of sentences of the beginnings of documents.

    Returns:
      The share of orders that are less likely than the document's own, and the numbers of documents
      that are likelier than more, and than less, than half of their orders: those of the seed with
      the largest p, as the seeds of one document are not independent.
    """
    rows = [row for row in _of(tables["coherence"], model) if row["sentences"] == sentences]
    weakest = max(rows, key=lambda row: sign_test(row["above"], row["below"]))
    return mean(row["likelier"] for row in rows), weakest["above"], weakest["below"]


def summarize(tables: Tables) -> Summary:
    """Summarizes perplexity and coherence with its sign test."""
    sentences = _longest(tables)
    rows = []
    for model in _models(tables):
        nets = _of(tables["nets"], model)
        found = [row["perplexity"] for row in nets]
        share, above, below = coherence(tables, model, sentences)
        rows.append(
            (
                model,
                str(nets[0]["units"]),
                f"{nets[0]['parameters']:,}",
                f"{mean(found):,.1f}",
                f"{min(found):,.1f} to {max(found):,.1f}",
                f"{100 * share:.1f}%",
                f"{above} of {above + below}",
                f"{min(1.0, len(_models(tables)) * sign_test(above, below)):.2g}",
                f"{mean(row['seconds'] for row in nets) / 60:.1f}",
            )
        )
    header = (
        "model",
        "units",
        "parameters",
        "perplexity",
        "seeds",
        "coherence",
        "documents above half",
        "p",
        "minutes",
    )
    return Summary(sentences=_findings(tables, sentences), header=header, rows=rows)


def _findings(tables: Tables, sentences: int) -> list[str]:
    """Returns sentences on the text, and on each model beside that of sentences."""
    first = tables["nets"][0]
    measured = [row for row in tables["coherence"] if row["sentences"] == sentences]
    found = [
        f"Trained on {first['documents']:,} documents of {first['words']:,} words, ends of "
        f"sentences included; the softmax is over {first['vocabulary']:,} ids, and words that the "
        "vocabulary lacks count as one.",
        f"Coherence is the share of orders of the first {sentences} sentences that are less likely "
        f"than their own, on {max(row['documents'] for row in measured)} documents of the test "
        "part, ties counting half; p is that of a two-sided sign test over the documents that are "
        "likelier than more, or than less, than half of their orders, of the seed where it is "
        "largest, by Bonferroni for as many models.",
        "The 3-D grid is trained on pieces of documents, each of which begins without a state; "
        "the others carry theirs through whole documents.",
    ]
    sentence = _of(tables["nets"], SENTENCE)
    if not sentence:
        return found
    reference = mean(row["perplexity"] for row in sentence)
    for model in [one for one in _models(tables) if one != SENTENCE]:
        perplexity = mean(row["perplexity"] for row in _of(tables["nets"], model))
        share, *_ = coherence(tables, model, sentences)
        found.append(
            f"{model}: perplexity {difference(perplexity, reference)} than that of the model of "
            f"sentences, coherence {100 * share:.1f}%."
        )
    return found


def draw_coherence(tables: Tables) -> Figure:
    """Draws the coherence of each model over the number of sentences."""
    figure, (axis,) = plots.panels(1, height=3.6, width=6.0)
    rows = [
        {**row, "percent": 100 * row["likelier"]} for row in tables["coherence"] if row["documents"]
    ]
    rows.sort(key=lambda row: NETS.index(row["model"]))
    plots.curves(
        axis, rows, "sentences", "percent", lambda row: row["model"], LOOKS.__getitem__, False
    )
    axis.axhline(50, color="#6b7580", linewidth=0.6)
    axis.set_xticks(distinct(rows, "sentences"))
    axis.set(xlabel="sentences", ylabel="% of orders less likely")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_curves(tables: Tables) -> Figure:
    """Draws the perplexity of the validation part by passes."""
    figure, (axis,) = plots.panels(1, height=3.6, width=6.0)
    rows = sorted(tables["curves"], key=lambda row: NETS.index(row["model"]))
    plots.curves(
        axis,
        rows,
        "epoch",
        "validation_perplexity",
        lambda row: row["model"],
        LOOKS.__getitem__,
    )
    axis.set(xlabel="passes", ylabel="perplexity of the validation part", yscale="log")
    axis.set_xticks(distinct(rows, "epoch"))
    plots.log_ticks(axis.yaxis, "{x:,.0f}")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_attention(tables: Tables) -> Figure:
    """Draws the weights of attention, a row per predicted word."""
    figure, (axis,) = plots.panels(1, height=4.0, width=6.0)
    rows = tables.get("attention", [])
    rows = [row for row in rows if row["seed"] == rows[0]["seed"]]
    if not rows:
        axis.set_axis_off()
        return figure
    steps, places = (distinct(rows, name) for name in ("step", "place"))
    shares = np.zeros([len(steps), len(places)])
    for row in rows:
        shares[steps.index(row["step"]), places.index(row["place"])] = row["share"]
    drawn = axis.pcolormesh(shares, cmap="Greys", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    axis.invert_yaxis()
    words = {row["step"]: row["word"] for row in rows}
    before = {row["place"]: row["before"] for row in rows}
    axis.set_xticks(
        [at + 0.5 for at in range(len(places))], [before[one] for one in places], rotation=60
    )
    axis.set_yticks([at + 0.5 for at in range(len(steps))], [words[one] for one in steps])
    axis.tick_params(length=0)
    figure.colorbar(drawn, ax=axis, label="weight")
    return figure
