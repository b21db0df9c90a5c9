"""Benchmark of training steps of this project and its peers: `python -m benchmarks.train_step`.

Every contender has its own process. They take turns within one run, so that whatever slows the
machine down affects all of them.
"""

import contextlib
import dataclasses
import datetime
import json
import math
import statistics
import subprocess
import sys
import tempfile

import click
import rich.console
import rich.table

from benchmarks.contenders import CEILING, THIS, Contender, contenders
from benchmarks.options import counts
from benchmarks.problem import Size
from benchmarks.worker import LONG_STEP
from common import command_line
from common.commands import Command, json_option
from common.machine import machine
from common.progress import task_bars
from model.language_model.config import Architecture


@dataclasses.dataclass
class Result:
    """The measurements of a contender.

    Attributes:
      contender: The contender.
      first: Seconds of the first step, tracing and compilation included.
      loss: Loss before the first step, in nats per character.
      times: Seconds of each further step.
      peak: Peak resident memory of its process in bytes, libraries included.
    """

    contender: Contender
    first: float
    loss: float
    times: list[float]
    peak: int = 0

    @property
    def median(self) -> float:
        """Median of the seconds per step."""
        return statistics.median(self.times)

    @property
    def spread(self) -> float:
        """Half of the interquartile range of the times, as a share of the median."""
        if len(self.times) < 4:
            return (max(self.times) - min(self.times)) / 2 / self.median
        low, _, high = statistics.quantiles(self.times, n=4)
        return (high - low) / 2 / self.median


class Worker:
    """A contender in its own process.

    Attributes:
      usual: Seconds of a step after the first.
      result: Measurements so far.
    """

    def __init__(self, contender: Contender, size: Size):
        """Starts the process and runs the first steps.

        Args:
          contender: The contender.
          size: Size of the network.
        """
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(contender), json.dumps(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        answer = self._read_answer()
        self.usual = answer["usual"]
        self.result = Result(
            contender=contender,
            first=answer["first"] + answer["made"],
            loss=answer["loss"],
            times=[],
        )

    def _read_answer(self) -> dict:
        assert self._process.stdout is not None  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            reason = self._errors.read().strip().rpartition("\n")[2] or "it said nothing"
            raise RuntimeError(f"a worker ended with status {status}: {reason}")
        return json.loads(line)

    def run(self, steps: int) -> None:
        """Runs a number of steps, and waits for them."""
        print(steps, file=self._process.stdin, flush=True)
        answer = self._read_answer()
        self.result.times += answer["times"]
        self.result.peak = answer["peak"]

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


def measure(size: Size, chosen: list[Contender], steps: int, turn: float) -> list[Result]:
    """Measures contenders in turns.

    Args:
      size: Size of the network.
      chosen: Contenders.
      steps: Number of steps of the fastest; slower ones run fewer, at least 3. A contender whose
        step takes minutes runs a single one, alone.
      turn: Seconds of a turn, which has at least one step.

    Returns:
      The measurements of each contender that could run.
    """
    with contextlib.ExitStack() as stack:
        results, workers = [], []
        progress = stack.enter_context(task_bars())
        task = progress.add_task(size.name, total=None)
        for contender in chosen:
            progress.update(task, description=f"{size.name}: {contender.label} compiles")
            try:
                worker = stack.enter_context(contextlib.closing(Worker(contender, size)))
                if worker.usual > LONG_STEP:  # several of them do not fit into memory
                    worker.run(1)
                    worker.close()
                else:
                    workers.append(worker)
            except RuntimeError as error:
                progress.console.print(f"{contender.label}: {error}; left out")
                continue
            results.append(worker.result)
        if all(_is_ceiling(result) for result in results):
            raise click.ClickException(
                f"no contender could train {size.name}; choose a smaller --batch or --window"
            )
        trained = (worker.usual for worker in workers if not _is_ceiling(worker.result))
        fastest = min(trained, default=turn)
        steps_per_turn = max(1, min(steps, round(turn / fastest)))
        rounds = max(3, math.ceil(steps / steps_per_turn))
        progress.update(task, total=rounds * len(workers))
        for number in range(rounds if workers else 0):
            first = number % len(workers)  # the order rotates
            for worker in workers[first:] + workers[:first]:
                progress.update(task, description=f"{size.name}: {worker.result.contender.label}")
                worker.run(max(1, min(steps, round(turn / worker.usual))))
                progress.advance(task)
        return results


def _is_ceiling(result: Result) -> bool:
    return result.contender.name == CEILING


def summary(size: Size, results: list[Result]) -> dict:
    """Returns all measurements of a size, for a table or a file.

    Args:
      size: Size of the network.
      results: Measurements of the contenders.
    """
    ceilings = {
        result.contender.dtype: 2 * 4096**3 / result.median
        for result in results
        if _is_ceiling(result)
    }
    best = max(ceilings.values(), default=math.nan)
    ours = next((result.median for result in results if result.contender.name == THIS), math.nan)
    rows = []
    for result in results:
        if _is_ceiling(result):
            continue
        rate = size.flops / result.median
        rows.append(
            {
                "name": result.contender.name,
                "dtype": result.contender.dtype,
                "characters_per_second": size.batch * size.window / result.median,
                "spread": result.spread,
                "steps": len(result.times),
                "this_project_is_faster_by": result.median / ours,
                "gflops": rate / 1e9,
                "share_of_ceiling": rate / ceilings.get(result.contender.dtype, best),
                "peak_bytes": result.peak,
                "first_step_seconds": result.first,
                "loss": result.loss,
            }
        )
    return {
        "size": size._asdict(),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "ceilings_gflops": {dtype: rate / 1e9 for dtype, rate in ceilings.items()},
        "contenders": rows,
    }


def as_table(results: dict) -> rich.table.Table:
    """Returns a summary as a table for people."""
    ceilings = ", ".join(
        f"{dtype} {rate:,.0f}" for dtype, rate in results["ceilings_gflops"].items()
    )
    table = rich.table.Table(
        title=f"{Size(**results['size']).name}; {results['machine']}, {results['date']}; "
        f"largest products: {ceilings} GFLOP/s"
    )
    columns = (
        "",
        "char/s",
        "±",
        "this is faster by",
        "GFLOP/s",
        "of ceiling",
        "peak MB",
        "first s",
    )
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for row in results["contenders"]:
        table.add_row(
            f"{row['name']}, {row['dtype']}",
            f"{row['characters_per_second']:,.0f}",
            f"{row['spread']:.0%}",
            f"{row['this_project_is_faster_by']:.2f}",
            f"{row['gflops']:,.0f}",
            f"{row['share_of_ceiling']:.2f}",
            f"{row['peak_bytes'] / 1e6:,.0f}",
            f"{row['first_step_seconds']:.1f}",
        )
    return table


def check_losses(results: list[Result]) -> None:
    """Checks that all contenders compute the same network.

    Args:
      results: Measurements of the contenders.

    Raises:
      click.ClickException: If a loss differs from the others by 1% or more.
    """
    compared = [result for result in results if not _is_ceiling(result)]
    reference = statistics.median(result.loss for result in compared)
    for result in compared:
        if not abs(result.loss - reference) < 0.01 * reference:
            raise click.ClickException(
                f"{result.contender.label} begins at {result.loss:.4f} nats per character and the "
                f"others at {reference:.4f}; they are not the same network"
            )


@click.command(
    cls=Command,
    example="python -m benchmarks.train_step --layers 3 --units 256 --batch 64 --window 64",
)
@click.option(
    "--model",
    type=click.Choice(["grid", "stacked"]),
    default="grid",
    show_default=True,
    help="Core of the network.",
)
@counts(layers=6, units=1000, batch=50, window=50)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Number of steps of this project.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Dtype of this project's products; peers run in all that they support.",
)
@click.option(
    "--turn", type=click.FloatRange(0.01), default=2.0, show_default=True, help="Seconds of a turn."
)
@click.option("--only", multiple=True, help="Only contenders whose label contains this.")
@json_option
def main(
    model: Architecture,
    layers: int,
    units: int,
    batch: int,
    window: int,
    steps: int,
    dtype: str,
    turn: float,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Time training steps of this project and of its peers in turns."""
    size = Size(model=model, layers=layers, units=units, batch=batch, window=window)
    chosen = contenders(model, dtype)
    if only:
        chosen = [
            contender
            for contender in chosen
            if contender.name in (THIS, CEILING) or any(part in contender.label for part in only)
        ]
    results = measure(size, chosen, steps, turn)
    check_losses(results)
    summarized = summary(size, results)
    if as_json:
        print(json.dumps(summarized, indent=1))
    else:
        rich.console.Console(width=140).print(as_table(summarized))


if __name__ == "__main__":
    command_line.main(main, resumes=False)
