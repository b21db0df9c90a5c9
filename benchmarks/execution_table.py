"""Measures the fastest execution at each size: `python -m benchmarks.execution_table`.

Replaces the rows of this machine's instruction set in `model/execution/table.json`.
"""

import json
from typing import TYPE_CHECKING, get_args

import click

from benchmarks.contenders import THIS, Contender
from benchmarks.options import counts
from benchmarks.problem import Size
from benchmarks.train_step import measure
from common import command_line
from common.commands import TensorFlowCommand
from model.language_model.config import Architecture

if TYPE_CHECKING:
    from model.execution.compilation import Jit
    from model.execution.planner import Measured, Variant

SIZES = [
    Size(model="grid", layers=2, units=32, batch=16, window=64),
    Size(model="grid", layers=2, units=128, batch=16, window=64),
    Size(model="grid", layers=3, units=256, batch=64, window=64),
    Size(model="grid", layers=6, units=1000, batch=50, window=50),
    Size(model="stacked", layers=2, units=32, batch=16, window=64),
    Size(model="stacked", layers=2, units=128, batch=16, window=64),
    Size(model="stacked", layers=3, units=256, batch=64, window=64),
    Size(model="stacked", layers=3, units=1000, batch=50, window=50),
]


@click.command(cls=TensorFlowCommand, example="python -m benchmarks.execution_table --only 3x256")
@counts(steps=30)
@click.option(
    "--turn", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Seconds of a turn."
)
@click.option("--only", help="Only the size of this name, such as 6x1000.")
@click.option(
    "--architecture",
    type=click.Choice(get_args(Architecture)),
    help="Only nets of this architecture.",
)
def main(steps: int, turn: float, only: str | None, architecture: str | None) -> None:
    """Measure all variants at all sizes on this processor."""
    from model.execution import planner

    here = planner.instruction_set()
    choices: list[tuple[str, Jit]] = [("float32", "step"), ("float32", "gates")]
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
        chosen = {
            Contender(
                name=THIS,
                dtype=str(variant),
                module="this_project",
                function="make_variant_step",
                variant=tuple(variant),
            ): variant
            for variant in variants
        }
        speeds: dict[Variant, float] = {
            chosen[result.contender]: round(size.batch * size.window / result.median)
            for result in measure(size, list(chosen), steps, turn)
        }
        _replace(
            planner.Measured(
                instruction_set=here,
                architecture=size.model,
                layers=size.layers,
                units=size.units,
                batch=size.batch,
                speeds=speeds,
            )
        )


def _replace(row: "Measured") -> None:
    """Replaces a row of the table."""
    from model.execution import planner

    planner.measurements.cache_clear()
    rows = {old[:-1]: old for old in planner.measurements()}
    rows[row[:-1]] = row
    ordered = sorted(rows.values(), key=lambda measured: measured[:-1])
    lines = ",\n".join(" " + json.dumps(measured.to_json()) for measured in ordered)
    planner.TABLE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    command_line.main(main, resumes=False)
