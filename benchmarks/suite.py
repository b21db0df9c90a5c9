"""Runs every size of the benchmark of training steps: `python -m benchmarks.suite`.

It prints tables, and writes JSON and a plot.
"""

import json
import pathlib

import click
import rich.console

from benchmarks.contenders import CEILING, THIS, contenders
from benchmarks.options import counts
from benchmarks.problem import Size
from benchmarks.train_step import as_table, check_losses, measure, summary
from common import command_line
from common.commands import Command
from common.pictures import save_svg

SIZES = [
    Size(model="grid", layers=6, units=1000, batch=50, window=50),
    Size(model="grid", layers=3, units=256, batch=64, window=64),
    Size(model="grid", layers=2, units=128, batch=16, window=64),
    Size(model="stacked", layers=3, units=1000, batch=50, window=50),
    Size(model="stacked", layers=3, units=256, batch=64, window=64),
    Size(model="grid", layers=6, units=1000, batch=100, window=1000),
]
TITLE = "Characters per second of this project and its peers, in a panel per size of the net."
"""What the plot shows, for those that do not see it."""
LONG = 10**5
"""Number of characters of a step from which on only `LONG_CONTENDERS` take part."""
LONG_CONTENDERS = (f"{THIS}, auto", "PyTorch wavefront, bfloat16", f"{CEILING}, bfloat16")


def plot(summaries: list[dict], path: pathlib.Path) -> None:
    """Plots the characters per second of each contender, best first, in a panel per size.

    Args:
      summaries: Summaries of the sizes.
      path: Path of the SVG.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(summaries),
        1,
        figsize=(9, 0.6 + 2.6 * len(summaries)),
        layout="constrained",
        squeeze=False,
    )
    for panel, results in zip(panels[:, 0], summaries, strict=True):
        rows = sorted(results["contenders"], key=lambda row: row["characters_per_second"])
        names = [f"{row['name']}, {row['dtype']}" for row in rows]
        speeds = [row["characters_per_second"] for row in rows]
        colors = ["#1a6fb5" if name.startswith("this") else "#b8bec6" for name in names]
        errors = [row["characters_per_second"] * row["spread"] for row in rows]
        bars = panel.barh(names, speeds, xerr=errors, color=colors, ecolor="#555555")
        panel.bar_label(bars, [f"{speed:,.0f}" for speed in speeds], fontsize=8, padding=3)
        panel.set_title(Size(**results["size"]).name, loc="left", fontsize=10)
        panel.set_xlim(0, 1.15 * max(map(sum, zip(speeds, errors, strict=True))))
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[-1, 0].set_xlabel(
        f"characters per second; {summaries[0]['machine']}, {summaries[0]['date']}"
    )
    save_svg(figure, path, TITLE)
    pyplot.close(figure)


@click.command(cls=Command, example="python -m benchmarks.suite --steps 5 --no_long")
@counts(steps=10)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("runs/benchmarks"),
    show_default=True,
    help="Folder of train_step.json and train_step.svg.",
)
@click.option(
    "--long/--no_long", default=True, help="Whether to include the window of 1000 characters."
)
def main(steps: int, output: pathlib.Path, long: bool) -> None:
    """Measure every size; takes about an hour on two cores, half of it for `--long`."""
    output.mkdir(parents=True, exist_ok=True)
    summaries = []
    for size in SIZES:
        chosen = contenders(size.model, "auto")
        is_long = size.batch * size.window >= LONG
        if is_long and not long:
            continue
        if is_long:  # a step takes minutes; other contenders run out of memory
            chosen = [contender for contender in chosen if contender.label in LONG_CONTENDERS]
        results = measure(size, chosen, 1 if is_long else steps, turn=2.0)
        check_losses(results)
        summaries.append(summary(size, results))
        rich.console.Console(width=140).print(as_table(summaries[-1]))
        (output / "train_step.json").write_text(json.dumps(summaries, indent=1) + "\n")
        plot(summaries, output / "train_step.svg")


if __name__ == "__main__":
    command_line.main(main, resumes=False)
