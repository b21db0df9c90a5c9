"""The summary and the plots of the search space odyssey."""

import math
from collections.abc import Sequence
from statistics import mean, median

from matplotlib.figure import Figure

from experiments.framework import plots
from experiments.framework.experiment import Row, Summary, Tables, distinct
from experiments.odyssey.odyssey_statistics import best_trials, variance_shares, welch

VARIANTS: dict[str, str] = {
    "lstm_peephole": "V",
    "lstm_no_input_gate": "NIG",
    "lstm_no_forget_gate": "NFG",
    "lstm_no_output_gate": "NOG",
    "lstm_no_input_activation": "NIAF",
    "lstm_no_output_activation": "NOAF",
    "lstm_coupled_gates": "CIFG",
    "lstm": "NP",
    "lstm_full_gate_recurrence": "FGR",
    "grid": "grid",
}
"""The paper's names of the variants, vanilla first, by their cells; and the grid."""

VANILLA = "lstm_peephole"

RANGES: dict[str, tuple[float, float, bool]] = {
    "learning_rate": (1e-6, 1e-2, True),
    "units": (20, 200, True),
    "momentum_gap": (0.01, 1, True),
    "input_noise": (0, 1, False),
}
"""What was drawn: the least and the largest value, and whether log-uniformly."""

_NAMES = {
    "learning_rate": "learning rate",
    "units": "units",
    "momentum_gap": "momentum",
    "input_noise": "input noise",
}


def of(tables: Tables, task: str, variant: str | None = None) -> list[Row]:
    """Returns the trials of a task, and of a variant if one is given."""
    return [
        row for row in tables["trials"] if row["task"] == task and variant in (None, row["variant"])
    ]


def shares_of(rows: Sequence[Row]) -> dict[str, float]:
    """Returns the share of the variance of the test loss that each setting explains."""
    with_gap = [{**row, "momentum_gap": 1 - row["momentum"]} for row in rows]
    return variance_shares(with_gap, RANGES)


def summarize(tables: Tables) -> Summary:
    """Summarizes, per task, the order of the variants and what explains the variance."""
    sentences: list[str] = []
    rows: list[Sequence[str]] = []
    for task in distinct(tables["trials"], "task"):
        best = {
            variant: [row["loss"] for row in best_trials(of(tables, task, variant))]
            for variant in VARIANTS
            if of(tables, task, variant)
        }
        ranked = sorted(best, key=lambda variant: mean(best[variant]))
        order = ", ".join(f"{VARIANTS[variant]} {mean(best[variant]):.3f}" for variant in ranked)
        shares = shares_of(of(tables, task))
        explained = ", ".join(
            f"{_NAMES[name]} {100 * share:.0f}%" for name, share in shares.items()
        )
        rest = max(0.0, 1 - sum(shares.values()))
        sentences.append(
            f"On {task} the order by the test loss of the best trials, in nats per step, is "
            f"{order}. Of the variance over all trials, none of which counts as worse than a "
            f"guess, these explain, each by itself: {explained}; "
            f"interactions and the variant the other {100 * rest:.0f}%."
        )
        for variant in ranked:
            rows.append(_table_row(task, variant, best, of(tables, task, variant)))
    p_name = "Welch's p against V, by Bonferroni"
    header = ("task", "variant", "trials", "best", "mean of the best", p_name)
    return Summary(sentences=sentences, header=header, rows=rows)


def _table_row(
    task: str, variant: str, best: dict[str, list[float]], trials: Sequence[Row]
) -> tuple[str, ...]:
    losses = best[variant]
    p_value = ""
    if variant != VANILLA and VANILLA in best:  # Bonferroni: as many comparisons as other variants
        p_value = f"{min(1.0, (len(best) - 1) * welch(losses, best[VANILLA])):.3f}"
    return (
        task,
        VARIANTS[variant],
        f"{len(losses)} of {len(trials)}",
        f"{losses[0]:.4f}",
        f"{mean(losses):.4f}",
        p_value,
    )


def draw_variants(tables: Tables) -> Figure:
    """Draws a box per variant, in a panel per task."""
    tasks = distinct(tables["trials"], "task")
    figure, axes = plots.panels(len(tasks), height=3.4, width=6, most=1, shares_y=False)
    for axis, task in zip(axes, tasks, strict=True):
        variants = [variant for variant in VARIANTS if of(tables, task, variant)]
        losses = [
            [row["loss"] for row in best_trials(of(tables, task, variant))] for variant in variants
        ]
        axis.boxplot(
            losses,
            tick_labels=[VARIANTS[variant] for variant in variants],
            whis=(0, 100),
            medianprops={"color": plots.COLORS["grid"], "linewidth": 2},
        )
        for place, values in enumerate(losses, start=1):
            axis.plot([place] * len(values), values, "o", color="#444", markersize=3)
        axis.set(title=task, ylabel="test loss, nats per step")
    return figure


def draw_learning_rates(tables: Tables) -> Figure:
    """Draws all trials by their learning rate, in a panel per task."""
    tasks = distinct(tables["trials"], "task")
    figure, axes = plots.panels(len(tasks), height=3.4, width=6, most=1, shares_y=False)
    for axis, task in zip(axes, tasks, strict=True):
        rows = of(tables, task)
        axis.plot(
            [row["learning_rate"] for row in rows],
            [row["loss"] for row in rows],
            ".",
            color="#6b7580",
            label="trials of all variants",
        )
        decades: dict[int, list[float]] = {}
        for row in rows:
            decades.setdefault(math.floor(math.log10(row["learning_rate"])), []).append(row["loss"])
        places = sorted(decades)
        axis.plot(
            [10 ** (decade + 0.5) for decade in places],
            [median(decades[decade]) for decade in places],
            "o-",
            color=plots.COLORS["grid"],
            label="median of a decade",
        )
        axis.set(xscale="log", title=task, xlabel="learning rate", xlim=RANGES["learning_rate"][:2])
        axis.set_ylabel("test loss, nats per step")
        axis.legend()
    return figure


def draw_map(tables: Tables) -> Figure:
    """Draws the loss by learning rate and units, in a panel per task."""
    tasks = distinct(tables["trials"], "task")
    figure, axes = plots.panels(len(tasks), height=3.4, width=6, most=1, shares_y=False)
    for axis, task in zip(axes, tasks, strict=True):
        settings = sorted({(row["learning_rate"], row["units"]) for row in of(tables, task)})
        losses = [
            median(
                row["loss"]
                for row in of(tables, task)
                if (row["learning_rate"], row["units"]) == setting
            )
            for setting in settings
        ]
        rates, units = zip(*settings, strict=True)
        drawn = axis.scatter(rates, units, c=losses, cmap="Greys_r", s=160, edgecolors="#222")
        figure.colorbar(drawn, ax=axis, label="median test loss, nats per step")
        axis.set(xscale="log", yscale="log", title=task, xlabel="learning rate", ylabel="units")
        axis.set_xlim(RANGES["learning_rate"][:2])
        axis.set_yticks([20, 50, 100, 200], ["20", "50", "100", "200"])
        axis.minorticks_off()
    return figure
