"""The summary and the plots of the language models over words."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, difference, distinct
from experiments.words.word_nets import INPUTS, TABLE
from experiments.words.word_trial import UNKNOWN_BIN, UNSEEN, frequency_names

RARE = "1-9"
"""Name of the range of rare words."""

NAMES = {"stacked": "stacked LSTM", "grid": "grid LSTM"}
"""The names of the cores in tables and plots."""

LOOKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "linestyle": "-", "color": "#1a6fb5"},
    {"marker": "s", "linestyle": "--", "color": "#d9662b"},
    {"marker": "^", "linestyle": "-.", "color": "#3f8f4f"},
    {"marker": "D", "linestyle": ":", "color": "#a04fb0"},
)
"""What tells the kinds of input apart, also where there is no colour."""


def perplexity(
    tables: Tables, core: str, model: str, side: str = "", occurrences: str = ""
) -> float:
    """Returns the mean perplexity of a net over its seeds; NaN where it was not measured.

    Args:
      tables: Measurements.
      core: Name of the core.
      model: Name of the kind of input.
      side: "target" or "input", for the words of one range. Default: all words.
      occurrences: Name of the range.
    """
    rows = tables["frequencies"] if side else tables["nets"]
    found = [
        row["perplexity"]
        for row in rows
        if (row["core"], row["model"]) == (core, model)
        and (not side or (row["side"], row["occurrences"]) == (side, occurrences))
    ]
    return mean(found) if found else math.nan


def _cores(tables: Tables) -> list[str]:
    """Returns the names of the cores that were measured, in the order of tables and plots."""
    return sorted(distinct(tables["nets"], "core"), key=list(NAMES).index)


def _models(tables: Tables) -> list[str]:
    """Returns the names of the kinds of input that were measured, the table first."""
    return sorted(distinct(tables["nets"], "model"), key=list(INPUTS).index)


def _nets(tables: Tables) -> Iterator[tuple[str, str, list[Row]]]:
    """Yields core, kind of input and rows of the nets, tables first."""
    for core in _cores(tables):
        for model in _models(tables):
            rows = [row for row in tables["nets"] if (row["core"], row["model"]) == (core, model)]
            if rows:
                yield core, model, rows


def summarize(tables: Tables) -> Summary:
    """Summarizes perplexities in all, of rare words and after unseen ones, and neighbours."""
    rows: list[Sequence[str]] = []
    for core, model, nets in _nets(tables):
        found = [row["perplexity"] for row in nets]
        rows.append(
            (
                NAMES[core],
                model,
                str(nets[0]["units"]),
                f"{nets[0]['parameters']:,}",
                _shown(mean(found)),
                f"{min(found):.1f} to {max(found):.1f}",
                _shown(perplexity(tables, core, model, "target", RARE)),
                _shown(perplexity(tables, core, model, "target", UNKNOWN_BIN)),
                _shown(perplexity(tables, core, model, "input", UNSEEN)),
                f"{mean(row['seconds'] for row in nets) / 60:.1f}",
            )
        )
    header = (
        "core",
        "inputs",
        "units",
        "parameters",
        "perplexity",
        "seeds",
        f"of words with {RARE} occurrences",
        f"of {UNKNOWN_BIN}",
        "after unseen words",
        "minutes",
    )
    return Summary(
        sentences=_findings(tables), header=header, rows=rows, texts=neighbour_texts(tables)
    )


def _shown(value: float) -> str:
    """Returns a perplexity as text; "" for none, as where a text has no such words."""
    return "" if math.isnan(value) else f"{value:,.1f}"


def _findings(tables: Tables) -> list[str]:
    first = tables["nets"][0]
    counts = _counts(tables)
    sentences = [
        f"Of {first['words']:,} words of training text, the vocabulary has {first['vocabulary']:,} "
        "ids; the softmax is over all of them, also in training.",
        f"Of {counts['all']:,} words of the test part, {counts[UNKNOWN_BIN]:,} are not in the "
        f"vocabulary: as predicted words all count as one, {UNKNOWN_BIN}. {counts[UNSEEN]:,} "
        "follow a word that the training part lacks, whose spelling the models with characters "
        f"read, and which is {UNKNOWN_BIN} to a table.",
    ]
    if first["cut"]:
        sentences.append(
            f"{first['cut']:,} distinct words are longer than a spelling, and are cut."
        )
    for core in _cores(tables):
        models = [model for one, model, _ in _nets(tables) if one == core and model != TABLE]
        table = perplexity(tables, core, TABLE)
        if not models or math.isnan(table):
            continue
        of_models = {model: perplexity(tables, core, model) for model in models}
        best = min(of_models, key=of_models.__getitem__)
        found = of_models[best]
        text = (
            f"With a {NAMES[core]}, the word table comes to a perplexity of {_shown(table)}, and "
            f"{best}, the best of the others, to {_shown(found)}, {difference(found, table)}"
        )
        parts = []
        for side, name, where in (
            ("target", RARE, f"on words with {RARE} occurrences"),
            ("input", UNSEEN, "after unseen words"),
        ):
            ours, theirs = (perplexity(tables, core, one, side, name) for one in (best, TABLE))
            if not (math.isnan(ours) or math.isnan(theirs)):
                parts.append(f"{difference(ours, theirs)} {where}")
        sentences.append(f"{'; '.join([text, *parts])}.")
    return sentences


def _counts(tables: Tables) -> dict[str, int]:
    """Returns the number of test words in all, of unknown ones, and after unseen ones."""
    labels = ("core", "model", "seed")
    first = tuple(tables["nets"][0][name] for name in labels)
    own = [row for row in tables["frequencies"] if tuple(row[name] for name in labels) == first]
    found = {UNKNOWN_BIN: 0, UNSEEN: 0, "all": 0}
    for row in own:
        if row["side"] == "target":
            found["all"] += row["words"]
        if row["occurrences"] in (UNKNOWN_BIN, UNSEEN):
            found[row["occurrences"]] = row["words"]
    return found


def neighbour_texts(tables: Tables) -> dict[str, str]:
    """Returns a table of nearest neighbours per net, of the first seed.

    Args:
      tables: Measurements.
    """
    texts = {}
    for core, model, nets in _nets(tables):
        rows = [
            row
            for row in tables["neighbours"]
            if (row["core"], row["model"], row["seed"]) == (core, model, nets[0]["seed"])
        ]
        if rows:
            heading = f"Nearest words by cosine, {NAMES[core]}, {model}"
            texts[heading] = "\n".join(_neighbour_lines(rows))
    return texts


def _neighbour_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yields a header, and a line per word and layer, those of a word together."""
    width = max(len("word"), *(len(row["word"]) for row in rows))
    yield f"{'word':<{width}}  occurrences  highway  nearest"
    for word in distinct(rows, "word"):
        for row in rows:
            if row["word"] == word:
                layer = "" if row["layer"] == "table" else row["layer"]
                count = f"{row['occurrences']:,}"
                yield f"{word:<{width}}  {count:>11}  {layer:<7}  {row['neighbours']}"


def draw_frequencies(tables: Tables) -> Figure:
    """Draws the perplexity by frequency of the predicted word and of the word before, by core."""
    cores = _cores(tables)
    figure, axes = plots.panels(2 * len(cores), height=3.3, most=2, shares_y=False)
    sides = {"target": "occurrences of the predicted word", "input": "of the word before it"}
    for number, core in enumerate(cores):
        for column, (side, label) in enumerate(sides.items()):
            axis = axes[2 * number + column]
            names = frequency_names(tables["frequencies"], side)
            for at, model in enumerate(_models(tables)):
                heights = [perplexity(tables, core, model, side, name) for name in names]
                axis.plot(names, heights, label=model, markersize=5, **LOOKS[at % len(LOOKS)])
            axis.set(title=NAMES[core], xlabel=label, yscale="log")
            _log_labels(axis)
        axes[2 * number].set_ylabel("perplexity")
    axes[0].legend(fontsize=8)
    return figure


def _log_labels(axis: Axes) -> None:
    plots.log_ticks(axis.yaxis, "{x:,.0f}")


def draw_curves(tables: Tables) -> Figure:
    """Draws the perplexity of the validation part by passes, a panel per core."""
    cores = _cores(tables)
    models = _models(tables)
    figure, axes = plots.panels(len(cores), height=3.4)
    looks = {model: {**LOOKS[at % len(LOOKS)], "markersize": 4} for at, model in enumerate(models)}
    for axis, core in zip(axes, cores, strict=True):
        rows = [row for row in tables["curves"] if row["core"] == core]
        rows.sort(key=lambda row: models.index(row["model"]))
        plots.curves(
            axis,
            rows,
            "epoch",
            "validation_perplexity",
            lambda row: row["model"],
            looks.__getitem__,
        )
        axis.set(title=NAMES[core], xlabel="passes", yscale="log")
        _log_labels(axis)
    axes[0].set_ylabel("perplexity of the validation part")
    axes[0].legend(fontsize=8)
    return figure
