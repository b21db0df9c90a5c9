"""`python -m benchmarks.execution_table`: measures which execution is the fastest at which size.

Writes the rows of this processor into `model/execution_table.json` and leaves the others.
"""

import json

import click

from benchmarks.contenders import THIS, Contender
from benchmarks.problem import Size
from benchmarks.train_step import measure
from model import execution

SIZES = [
    Size("grid", layers, units, batch, window)
    for layers, units, batch, window in (
        (2, 32, 16, 64),
        (2, 128, 16, 64),
        (3, 256, 64, 64),
        (6, 1000, 50, 50),
    )
]


@click.command()
@click.option("--steps", type=click.IntRange(1), default=30, show_default=True)
@click.option("--turn", type=float, default=1.0, show_default=True, help="Seconds of a turn.")
@click.option("--only", help="Only the size of this name, as 6x1000.")
def main(steps, turn, only):
    """Measure all variants at all sizes on this processor."""
    here = execution.processor()
    variants = ["float32 whole", "float32 gates", "float32 parts"]
    if here != "other":
        variants += ["bfloat16 gates", "bfloat16 parts"]
    for size in SIZES:
        if only and only != f"{size.layers}x{size.units}":
            continue
        chosen = [Contender(THIS, one, "this_project", "make_step") for one in variants]
        speeds = {
            result.contender.dtype: round(size.batch * size.window / result.median)
            for result in measure(size, chosen, steps, turn)
        }
        for kind in dict.fromkeys((here, "other")):
            kept = {v: s for v, s in speeds.items() if kind != "other" or v.startswith("float32")}
            _replace(execution.Measured(kind, size.layers, size.units, size.batch, kept))


def _replace(row: execution.Measured) -> None:
    """Writes the table with a row in the place of an older one."""
    execution.measurements.cache_clear()
    found = {old[:4]: old for old in execution.measurements()}
    found[row[:4]] = row
    ordered = sorted(found.values(), key=lambda one: one[:4])
    lines = ",\n".join(" " + json.dumps(one._asdict()) for one in ordered)
    execution.TABLE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
