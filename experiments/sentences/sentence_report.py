"""The summary and the plots of the language models of sentences."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, difference

LANGUAGE_MODEL, VAE = "language model", "VAE"
NAMES = {"": "", "stacked": "LSTM", "grid": "Grid LSTM"}
"""The names of the cores in tables and plots."""

NOTHING = "(no word)"
"""What stands for an empty sentence."""

LABELS = ("model", "encoder", "decoder", "keep_rate", "annealing")
"""Columns that tell the nets apart."""

LOOKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "linestyle": "-", "color": "#1a6fb5"},
    {"marker": "s", "linestyle": "--", "color": "#d9662b"},
    {"marker": "^", "linestyle": "-.", "color": "#3f8f4f"},
    {"marker": "D", "linestyle": ":", "color": "#a04fb0"},
    {"marker": "v", "linestyle": (0, (6, 2)), "color": "#b8901f"},
    {"marker": "x", "linestyle": (0, (1, 3)), "color": "#6b7580"},
)
"""What tells the lines of a plot apart, also where there is no colour."""


def _nets(tables: Tables) -> Iterator[list[Row]]:
    """Yields the rows of each net, the language models first, and by falling keep rate."""
    groups: dict[tuple, list[Row]] = {}
    for row in tables["nets"]:
        groups.setdefault(tuple(row[name] for name in LABELS), []).append(row)
    order = list(NAMES)

    def place(key: tuple) -> tuple:
        model, encoder, decoder, keep_rate, annealing = key
        cores = order.index(encoder) + order.index(decoder)
        return model != LANGUAGE_MODEL, cores, -keep_rate, -annealing

    for key in sorted(groups, key=place):
        yield groups[key]


def _find(
    tables: Tables, model: str, keep_rate: float, encoder: str = "stacked", annealed: bool = True
) -> list[Row]:
    """Returns the rows of a net whose decoder is an LSTM."""
    return [
        row
        for row in tables["nets"]
        if (row["model"], row["keep_rate"], row["decoder"]) == (model, keep_rate, "stacked")
        and (model == LANGUAGE_MODEL or row["encoder"] == encoder)
        and (model == LANGUAGE_MODEL or (row["annealing"] > 0) == annealed)
    ]


def _mean(rows: Sequence[Row], column: str) -> float:
    """Returns the mean of a column; NaN where there is none."""
    found = [row[column] for row in rows if row[column] is not None]
    return mean(found) if found else math.nan


def summarize(tables: Tables) -> Summary:
    """Summarizes the bounds, the divergence and what the latent vectors say."""
    table = [
        (
            rows[0]["model"],
            NAMES[rows[0]["encoder"]],
            NAMES[rows[0]["decoder"]],
            f"{rows[0]['keep_rate']:g}",
            "yes" if rows[0]["annealing"] else "" if rows[0]["model"] == LANGUAGE_MODEL else "no",
            _spread(rows, "bound"),
            f"{_mean(rows, 'weighted_bound'):.2f}" if rows[0]["model"] == VAE else "",
            f"{_mean(rows, 'divergence'):.2f}" if rows[0]["model"] == VAE else "",
            f"{_mean(rows, 'information'):.2f}" if rows[0]["model"] == VAE else "",
            f"{_mean(rows, 'active_units'):g}" if rows[0]["model"] == VAE else "",
            _percentage(rows),
            f"{rows[0]['parameters']:,}",
            f"{_mean(rows, 'seconds') / 60:.1f}",
        )
        for rows in _nets(tables)
    ]
    header = (
        "model", "encoder", "decoder", "keep rate", "annealing", "nats per sentence",
        "importance-weighted", "KL", "information", "active units", "adversarial error",
        "parameters", "minutes",
    )  # fmt: skip
    return Summary(sentences=_findings(tables), header=header, rows=table, texts=_texts(tables))


def _spread(rows: Sequence[Row], column: str) -> str:
    values = [row[column] for row in rows]
    middle = f"{mean(values):.2f}"
    return f"{middle} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else middle


def _percentage(rows: Sequence[Row]) -> str:
    share = _mean(rows, "adversarial_error")
    return "" if math.isnan(share) else f"{share:.1%}"


def _findings(tables: Tables) -> list[str]:
    first = tables["nets"][0]
    sentences = [
        f"Trained on {first['sentences']:,} sentences, with a vocabulary of "
        f"{first['vocabulary']:,} ids; measured on {first['tested']:,} sentences of "
        f"{first['words']:.1f} words on average, the end included. Losses are upper bounds of "
        "-ln p of a sentence, in nats; those of language models are exact.",
    ]
    if first["left_out"]:
        sentences.append(
            f"{first['left_out']:,} sentences of the training part were too long or empty, and "
            "left out."
        )
    for keep_rate, where in ((1.0, "With all words before the next one"), (0.0, "Without inputs")):
        theirs, ours = (_find(tables, model, keep_rate) for model in (LANGUAGE_MODEL, VAE))
        if theirs and ours:
            plain, bound = _mean(theirs, "bound"), _mean(ours, "bound")
            divergence = _mean(ours, "divergence")
            sentences.append(
                f"{where}, the language model comes to {plain:.2f} nats and the VAE to "
                f"{bound:.2f}, {difference(bound, plain)}, of which {divergence:.2f} are "
                "divergence; by the importance-weighted bound "
                f"{_mean(ours, 'weighted_bound'):.2f}."
            )
    annealed, rows = (_find(tables, VAE, 1.0, annealed=one) for one in (True, False))
    if annealed and rows:
        sentences.append(
            f"Without annealing the divergence with all words ends at "
            f"{_mean(rows, 'divergence'):.2f} nats, with it at "
            f"{_mean(annealed, 'divergence'):.2f}."
        )
    return sentences


def _texts(tables: Tables) -> dict[str, str]:
    """Returns sentences between two others, and ends of sentences, of one seed."""
    texts = {}
    seeds = [row["seed"] for row in tables["nets"]]
    wanted = [
        row
        for row in tables["nets"]
        if (row["seed"], row["decoder"]) == (seeds[0], "stacked") and row["keep_rate"] > 0
    ]
    for net in wanted:
        key = {name: net[name] for name in (*LABELS, "seed")}
        lines = [row for row in tables["homotopies"] if key.items() <= row.items()]
        if lines and net["annealing"]:
            heading = f"From one sentence to another, keep rate {net['keep_rate']:g}"
            texts[heading] = "\n\n".join(
                "\n".join(row["sentence"] or NOTHING for row in lines if row["pair"] == pair)
                for pair in dict.fromkeys(row["pair"] for row in lines)
            )
        ends = [row for row in tables["imputed"] if key.items() <= row.items()]
        if ends and net["keep_rate"] == 1 and (net["annealing"] or not net["encoder"]):
            texts[f"The last fifth, by the {net['model']}"] = "\n".join(
                f"{row['beginning']} [{row['end']}] {row['imputed'] or NOTHING}" for row in ends
            )
    return texts


def draw_keep_rates(tables: Tables) -> Figure:
    """Draws reconstruction and divergence by the keep rate, with the language models beside."""
    figure, (axis,) = plots.panels(1, width=7.0, height=3.8)
    bars = [
        (f"{LANGUAGE_MODEL}\n{rate:g}", _find(tables, LANGUAGE_MODEL, rate)) for rate in (1.0, 0.0)
    ]
    rates = sorted({row["keep_rate"] for row in tables["nets"]}, reverse=True)
    bars += [(f"VAE\n{rate:g}", _find(tables, VAE, rate)) for rate in rates]
    bars = [(name, rows) for name, rows in bars if rows]
    names = [name for name, _ in bars]
    divergence = [_mean(rows, "divergence") for _, rows in bars]
    bound = [_mean(rows, "bound") for _, rows in bars]
    rest = [whole - part for whole, part in zip(bound, divergence, strict=True)]
    axis.bar(names, rest, color="#7cc0f0", edgecolor="#333", linewidth=0.6, label="reconstruction")
    top = axis.bar(
        names, divergence, bottom=rest, color="#d9662b", edgecolor="#333", linewidth=0.6,
        hatch="///", label="divergence",
    )  # fmt: skip
    axis.bar_label(top, [f"{value:.1f}" for value in bound], fontsize=8, padding=2)
    axis.set(ylabel="nats per sentence", xlabel="model, and keep rate", ylim=(0, 1.25 * max(bound)))
    axis.legend(ncols=2, loc="upper left")
    return figure


def draw_training(tables: Tables) -> Figure:
    """Draws the divergence and the information of the validation part by passes."""
    rows = [
        row
        for row in tables["curves"]
        if (row["model"], row["encoder"], row["decoder"]) == (VAE, "stacked", "stacked")
    ]

    def name(row: Row) -> str:
        return f"{row['keep_rate']:g}" + ("" if row["annealing"] else ", not annealed")

    names = sorted({name(row) for row in rows}, key=lambda one: (len(one), one))
    looks = {one: {**LOOKS[at % len(LOOKS)], "markersize": 4} for at, one in enumerate(names)}
    rows.sort(key=lambda row: names.index(name(row)))
    figure, axes = plots.panels(2, height=3.6)
    titles = {"divergence": "KL", "information": "mutual information"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        plots.curves(axis, rows, "epoch", column, name, looks.__getitem__)
        axis.set(title=f"{title}, nats", xlabel="passes")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("nats per sentence")
    axes[0].legend(title="keep rate", fontsize=8)
    return figure
