"""Training steps by cell and by core, in turns within one process: `python -m benchmarks.cells`.

Cells differ in their number of gates, so what compares them is the speed per multiplication: a
cell without an input gate multiplies three quarters as often as an LSTM and should take three
quarters of its time.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple, get_args

import click
import rich.console
import rich.table

from benchmarks.options import counts
from common import command_line
from common.commands import TensorFlowCommand
from common.machine import machine
from common.progress import progress_bar
from model.cells.registry import MEMORY_CELLS
from model.language_model.config import Architecture, ModelConfig
from pipeline.settings import TrainingConfig

VOCABULARY = 96


class Timed(NamedTuple):
    """A net whose training step is timed.

    Attributes:
      step: Function that runs a training step and waits for it.
      multiplications: Number of multiplications of the core for one character, the elements of its
        matrices.
      seconds: Seconds of each step.
    """

    step: Callable[[], object]
    multiplications: int
    seconds: list[float]


def prepare(config: ModelConfig, batch: int, window: int) -> Timed:
    """Returns a net after two training steps, the first of which compiles.

    Args:
      config: The net.
      batch: Number of rows of a batch.
      window: Number of characters of a row.
    """
    import tensorflow as tf

    from pipeline.training.learner import Learner

    training = TrainingConfig(batch_size=batch, window=window)
    learner = Learner(
        tf.distribute.MirroredStrategy(["cpu:0"]), config, VOCABULARY, training, 1, 1, None
    )
    ids = tf.random.stateless_uniform([batch, window], (0, 1), 0, VOCABULARY, tf.int32)
    state, number = learner.initial_state(), tf.constant(0, tf.int64)
    kernels = (one for one in learner.model.core.trainable_variables if "kernel" in one.name)
    timed = Timed(
        step=lambda: learner.train(ids, state, number)[0].loss.numpy(),
        multiplications=sum(math.prod(one.shape) for one in kernels),
        seconds=[],
    )
    for _ in range(2):
        timed.step()
    return timed


def nets(layers: int, units: int, with_grids: bool) -> dict[str, ModelConfig]:
    """Returns the nets to time by name, the stacked LSTM first.

    Args:
      layers: Number of layers of each.
      units: Width of each.
      with_grids: Whether to time each cell in a grid, too.
    """
    cells = ["lstm", *(name for name in MEMORY_CELLS if name != "lstm")]
    named = {}
    for architecture in get_args(Architecture):
        if architecture == "grid" and not with_grids:
            continue
        has_cells = architecture in ("stacked", "grid")
        for cell in cells if has_cells else ["lstm"]:
            config = ModelConfig(architecture, layers=layers, units=units, cells=(cell,))
            named[f"{architecture} {cell}" if has_cells else architecture] = config
    first = "stacked lstm"
    return {first: named.pop(first), **named}


@click.command(cls=TensorFlowCommand, example="python -m benchmarks.cells --layers 2 --units 128")
@counts(layers=3, units=256, batch=64, window=64, rounds=15)
@click.option("--grids/--no-grids", default=False, help="Time each cell in a grid, too.")
def main(layers: int, units: int, batch: int, window: int, rounds: int, grids: bool) -> None:
    """Time training steps of every cell and core, in turns."""
    timed: dict[str, Timed] = {}
    chosen = nets(layers, units, grids)
    with progress_bar("Compiling", unit="nets") as progress:
        for name, config in chosen.items():
            timed[name] = prepare(config, batch, window)
            progress(len(timed), len(chosen))
    with progress_bar("Timing", unit="turns") as progress:
        for number in range(rounds):
            for one in timed.values():
                begun = time.perf_counter()
                one.step()
                one.seconds.append(time.perf_counter() - begun)
            progress(number + 1, rounds)
    title = f"{layers}x{units}, batch {batch}, window {window}; {machine()}"
    rich.console.Console(width=120).print(as_table(title, timed))


def as_table(title: str, timed: dict[str, Timed]) -> rich.table.Table:
    """Returns the times, relative to those of the first net, as a table for people.

    Args:
      title: What was measured, and where.
      timed: The nets by name.
    """
    first = next(iter(timed.values()))
    table = rich.table.Table(title=title)
    for column in ("", "ms", "of its time", "of its multiplications", "speed per multiplication"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in timed.items():
        # The ratio of each turn, as what slows a turn down slows all of its nets.
        ratios = [mine / its for mine, its in zip(one.seconds, first.seconds, strict=True)]
        share = one.multiplications / first.multiplications
        ratio = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        table.add_row(
            name,
            f"{1000 * statistics.median(one.seconds):.1f}",
            f"{ratio:.2f} ({low:.2f} to {high:.2f})",
            f"{share:.2f}",
            f"{share / ratio:.2f}",
        )
    return table


if __name__ == "__main__":
    command_line.main(main, resumes=False)
