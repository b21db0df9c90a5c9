"""The summary and the plots of the nets on connected digits."""

from collections.abc import Sequence
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, distinct
from experiments.speech.connected_data import SPECTROGRAM
from experiments.speech.connected_hypotheses import BAND

REFERENCE = "LSTM"
"""The net that the others are compared with."""


def error_rates(tables: Tables, model: str, column: str = "beam_error") -> list[float]:
    """Returns the digit error rates of a net in percent, one per seed.

    Args:
      tables: Measurements.
      model: Name of the net.
      column: "beam_error" or "greedy_error".
    """
    return [100 * row[column] for row in tables["nets"] if row["model"] == model]


def summarize(tables: Tables) -> Summary:
    """Summarizes the digit error rates."""
    models = distinct(tables["nets"], "model")
    rates = {model: mean(error_rates(tables, model)) for model in models}
    ranked = sorted(models, key=lambda model: rates[model])
    order = ", ".join(f"{model} {rates[model]:.2f}%" for model in ranked)
    digits = _digits(tables)
    sentences = [
        f"On {digits:,} connected digits of the official test recordings, the digit error rates by "
        f"beam search are {order}."
    ]
    rows: list[Sequence[str]] = []
    for model in models:
        of_model = [row for row in tables["nets"] if row["model"] == model]
        relative = 100 * (rates[model] / rates[REFERENCE] - 1) if rates[REFERENCE] else 0.0
        rows.append(
            (
                model,
                str(of_model[0]["units"]),
                f"{of_model[0]['parameters']:,}",
                f"{mean(error_rates(tables, model, 'greedy_error')):.2f}%",
                f"{rates[model]:.2f}%",
                f"{100 * mean(row['exact'] for row in of_model):.1f}%",
                f"{mean(row['loss'] for row in of_model):.3f}",
                "" if model == REFERENCE else f"{relative:+.1f}%",
            )
        )
    header = (
        "model",
        "units",
        "parameters",
        "digit errors, likeliest path",
        "digit errors, beam search",
        "utterances without an error",
        "nats per digit",
        f"relative to {REFERENCE}",
    )
    return Summary(sentences=sentences, header=header, rows=rows)


def _digits(tables: Tables) -> int:
    """Returns the number of digits to test on."""
    first = tables["hypotheses"][0]
    own = [row for row in tables["hypotheses"] if _training(row) == _training(first)]
    return sum(len(row["said"]) for row in own)


def _training(row: Row) -> tuple[str, int]:
    return row["model"], row["seed"]


def draw_errors(tables: Tables) -> Figure:
    """Draws the digit error rate of each training, by the likeliest path and by beam search."""
    models = distinct(tables["nets"], "model")
    figure, (axis,) = plots.panels(1, height=0.5 * len(models) + 1.4, width=6)
    styles = {
        "likeliest path": ("greedy_error", "o", "none"),
        "beam search": ("beam_error", "D", "#111"),
    }
    for label, (column, marker, fill) in styles.items():
        for place, model in enumerate(reversed(models)):
            rates = error_rates(tables, model, column)
            axis.plot(
                rates,
                [place + (0.12 if column == "greedy_error" else -0.12)] * len(rates),
                marker,
                color="#111",
                markerfacecolor=fill,
                markersize=5,
                label=label if place == 0 else None,
            )
    axis.set_yticks(range(len(models)), list(reversed(models)))
    axis.set(xlabel="digit error rate, %", ylim=(-0.6, len(models) - 0.4))
    axis.set_xlim(left=0)
    axis.grid(axis="x", color="#ddd")
    axis.legend(loc="best")
    return figure


def draw_utterance(tables: Tables) -> Figure:
    """Draws the spectrogram of an utterance, what was said and what the best net recognized."""
    frames = tables["spectrogram"]
    best = min(tables["nets"], key=lambda row: row["beam_error"])
    (row,) = (
        row
        for row in tables["hypotheses"]
        if _training(row) == _training(best) and int(row["utterance"]) == frames[0]["utterance"]
    )
    values = np.array(
        [[frame[BAND.format(band)] for band in range(SPECTROGRAM.bands)] for frame in frames]
    )
    figure = Figure(figsize=(8, 3.4))
    axis = figure.subplots()
    seconds = len(values) * SPECTROGRAM.step / SPECTROGRAM.sample_rate
    image = axis.imshow(
        values.T,
        cmap="Greys",
        aspect="auto",
        origin="lower",
        extent=(0, seconds, 0.5, SPECTROGRAM.bands + 0.5),
    )
    figure.colorbar(image, ax=axis, fraction=0.04, pad=0.02, label="standard deviations")
    _mark(axis, row["said"], row["said_at"], 1.10, "-", "said")
    _mark(axis, row["beam"], row["beam_at"], 1.02, "--", "recognized")
    axis.set(xlabel="seconds", ylabel="mel band")
    axis.text(0, 1.19, f"by {best['model']}, speaker {row['speaker']}", transform=axis.transAxes)
    return figure


def _mark(axis: Axes, digits: str, times: str, height: float, style: str, label: str) -> None:
    """Marks digits above a spectrogram, each with a line at its time."""
    across = axis.get_xaxis_transform()
    axis.text(-0.01, height, label, transform=axis.transAxes, ha="right")
    for digit, time in zip(digits, map(float, times.split()), strict=True):
        # White below black, so that a line shows on light and dark ground.
        axis.axvline(time, color="white", linewidth=2.5)
        axis.axvline(time, color="black", linewidth=1, linestyle=style)
        axis.text(time, height, digit, transform=across, ha="center", weight="bold")
