"""`python -m benchmarks.suite`: every size of the benchmark, as tables, JSON and a plot."""

import json
import pathlib

import click
import rich.console

from benchmarks.contenders import CEILING, THIS, contenders
from benchmarks.problem import Size
from benchmarks.train_step import as_table, check_losses, measure, summary
from common import command_line

SIZES = [
    Size("grid", 6, 1000, 50, 50),
    Size("grid", 3, 256, 64, 64),
    Size("grid", 2, 128, 16, 64),
    Size("stacked", 3, 1000, 50, 50),
    Size("stacked", 3, 256, 64, 64),
    Size("grid", 6, 1000, 100, 1000),
]
LONG = 10**5  # characters a step from which on only these take part
LONG_TAKEN = (f"{THIS}, auto", "PyTorch wavefront, bfloat16", f"{CEILING}, bfloat16")


def plot(found: list[dict], path: pathlib.Path) -> None:
    """A panel per size: characters per second of each contender, best first."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(found), 1, figsize=(9, 0.6 + 2.6 * len(found)), layout="constrained", squeeze=False
    )
    for panel, one in zip(panels[:, 0], found, strict=True):
        rows = sorted(one["contenders"], key=lambda row: row["characters_per_second"])
        names = [f"{row['name']}, {row['dtype']}" for row in rows]
        speeds = [row["characters_per_second"] for row in rows]
        colors = ["#1a6fb5" if name.startswith("this") else "#b8bec6" for name in names]
        errors = [row["characters_per_second"] * row["spread"] for row in rows]
        bars = panel.barh(names, speeds, xerr=errors, color=colors, ecolor="#555555")
        panel.bar_label(bars, [f"{speed:,.0f}" for speed in speeds], fontsize=8, padding=3)
        panel.set_title(Size(**one["size"]).name, loc="left", fontsize=10)
        panel.set_xlim(0, 1.15 * max(map(sum, zip(speeds, errors, strict=True))))
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[-1, 0].set_xlabel(f"characters per second; {found[0]['machine']}, {found[0]['date']}")
    figure.savefig(path)
    pyplot.close(figure)


@click.command(context_settings=command_line.CONTEXT)
@click.option("--steps", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("runs/benchmarks"),
    show_default=True,
    help="Where train_step.json and train_step.svg go.",
)
@click.option("--long/--no_long", default=True, help="With the window of 1000 characters.")
def main(steps, output, long):
    """Measure every size; takes about an hour on two cores, half of it for `--long`."""
    output.mkdir(parents=True, exist_ok=True)
    found = []
    for size in SIZES:
        chosen = contenders(size.model, "auto")
        is_long = size.batch * size.window >= LONG
        if is_long and not long:
            continue
        if is_long:  # a step takes minutes; the others' graphs take more memory than there is
            chosen = [one for one in chosen if one.label in LONG_TAKEN]
        results = measure(size, chosen, 1 if is_long else steps, turn=2.0)
        check_losses(results)
        found.append(summary(size, results))
        rich.console.Console(width=140).print(as_table(found[-1]))
        (output / "train_step.json").write_text(json.dumps(found, indent=1) + "\n")
        plot(found, output / "train_step.svg")


if __name__ == "__main__":
    command_line.main(main)
