"""`python -m benchmarks.skewed_wavefront`: the wavefront's schedule against a skewed array.

`benchmarks.skewed_array` says what that is. It imports TensorFlow, and so is imported when the
measurement begins.
"""

import statistics
import time
from typing import TYPE_CHECKING

import click

from benchmarks.options import counts, dtype_option
from common import command_line
from common.commands import TensorFlowCommand
from common.machine import machine

if TYPE_CHECKING:
    from model.execution.compilation import Jit

SIZES = {"6x1000": (6, 1000, 50, 50), "3x256": (3, 256, 64, 64), "2x128": (2, 128, 16, 64)}
"""Layers, units, batch and window of each net."""


@click.command(cls=TensorFlowCommand, example="python -m benchmarks.skewed_wavefront --jit step")
@counts(rounds=7)
@click.option(
    "--jit",
    type=click.Choice(["gates", "step"]),
    default="gates",
    show_default=True,
    help="What XLA compiles.",
)
@dtype_option
def main(rounds: int, jit: "Jit", dtype: str) -> None:
    """Time both schedules in turns, forward and backward, at three sizes."""
    import tensorflow as tf

    from benchmarks.skewed_array import make_step

    click.echo(f"{machine()}, jit={jit}, {dtype}")
    for name, size in SIZES.items():
        steps = {one: make_step(one, size, jit, tf.as_dtype(dtype)) for one in ("rows", "skewed")}
        times: dict[str, list[float]] = {one: [] for one in steps}
        for step in steps.values():
            step()
        for _ in range(rounds):
            for one, step in steps.items():
                begun = time.perf_counter()
                step()[0].numpy()
                times[one].append(time.perf_counter() - begun)
        medians = {one: statistics.median(values) for one, values in times.items()}
        click.echo(
            f"{name}: rows {1000 * medians['rows']:.1f} ms, skewed "
            f"{1000 * medians['skewed']:.1f} ms, ratio {medians['skewed'] / medians['rows']:.2f}"
        )


if __name__ == "__main__":
    command_line.main(main, resumes=False)
