"""`python -m benchmarks.execution_table`: measures which execution is the fastest at which size.

Writes the rows of this processor into `model/execution/table.json` and leaves the others.
"""

import json
from typing import get_args

import click

from benchmarks.contenders import THIS, Contender
from benchmarks.problem import Size
from benchmarks.train_step import measure
from common import command_line
from model.execution import planner
from model.language_model.config import Architecture

SIZES = [
    Size("grid", 2, 32, 16, 64),
    Size("grid", 2, 128, 16, 64),
    Size("grid", 3, 256, 64, 64),
    Size("grid", 6, 1000, 50, 50),
    Size("stacked", 2, 32, 16, 64),
    Size("stacked", 2, 128, 16, 64),
    Size("stacked", 3, 256, 64, 64),
    Size("stacked", 3, 1000, 50, 50),
]


@click.command(context_settings=command_line.CONTEXT)
@click.option("--steps", type=click.IntRange(1), default=30, show_default=True)
@click.option(
    "--turn", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Seconds of a turn."
)
@click.option("--only", help="Only the size of this name, as 6x1000.")
@click.option(
    "--architecture",
    type=click.Choice(get_args(Architecture)),
    help="Only nets of this architecture.",
)
def main(steps, turn, only, architecture):
    """Measure all variants at all sizes on this processor."""
    here = planner.instruction_set()
    choices = [("float32", "step"), ("float32", "gates")]
    if here in ("amx", "avx512_bf16"):
        choices.append(("bfloat16", "gates"))
    variants = [
        planner.Variant(dtype=dtype, jit=jit, sharded=sharded)
        for dtype, jit in choices
        for sharded in (False, True)
    ]
    for size in SIZES:
        if only not in (None, f"{size.layers}x{size.units}") or architecture not in (
            None,
            size.model,
        ):
            continue
        chosen = [
            Contender(
                name=THIS,
                dtype=str(one),
                module="this_project",
                function="make_variant_step",
                variant=tuple(one),
            )
            for one in variants
        ]
        speeds = {
            planner.Variant(*result.contender.variant): round(
                size.batch * size.window / result.median
            )
            for result in measure(size, chosen, steps, turn)
        }
        _replace(planner.Measured(here, *size[:4], speeds))


def _replace(row: planner.Measured) -> None:
    """Writes the table with a row in the place of an older one."""
    planner.measurements.cache_clear()
    rows = {old[:-1]: old for old in planner.measurements()}
    rows[row[:-1]] = row
    ordered = sorted(rows.values(), key=lambda one: one[:-1])
    lines = ",\n".join(" " + json.dumps(one.to_json()) for one in ordered)
    planner.TABLE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    command_line.main(main)
