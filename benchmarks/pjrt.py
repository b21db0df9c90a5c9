"""Times programs of this project on any device of PJRT: `python -m benchmarks.pjrt`.

`export` and `export-grid` need TensorFlow and write a training step and a deep grid as StableHLO;
`time` needs only NumPy and JAX, for machines with an accelerator but without a TensorFlow for it.
"""

import json
import math
import pathlib
import statistics
import time as clock
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from benchmarks.options import counts, dtype_option
from benchmarks.problem import Problem, Size, make_problem
from common.commands import Group

if TYPE_CHECKING:  # `time` runs where there is no TensorFlow
    import tensorflow as tf


@click.group(cls=Group, example="python -m benchmarks.pjrt export exported")
def main() -> None:
    """Export a training step or a deep grid, and time it on another device."""


@main.command(example="python -m benchmarks.pjrt export exported --layers 3 --units 256")
@click.argument("directory", type=click.Path(file_okay=False, path_type=pathlib.Path))
@counts(layers=6, units=1000, batch=50, window=50)
@dtype_option
def export(
    directory: pathlib.Path, layers: int, units: int, batch: int, window: int, dtype: str
) -> None:
    """Write `step.mlir` and `step.json` for the training step of a 2-D Grid LSTM."""
    from benchmarks.pjrt_programs import training_step

    size = Size(model="grid", layers=layers, units=units, batch=batch, window=window)
    weights = _weights(problem := make_problem(size))
    arguments = [problem.ids, *weights, *map(np.zeros_like, weights)]
    text = _stablehlo(training_step(size, dtype), arguments)
    _write(directory, "step", text, size._asdict())


@main.command(example="python -m benchmarks.pjrt export-grid exported --units 1024")
@click.argument("directory", type=click.Path(file_okay=False, path_type=pathlib.Path))
@click.option(
    "--cell",
    type=click.Choice(["tanh", "lstm"]),
    default="tanh",
    show_default=True,
    help="Cell of all dimensions.",
)
@click.option(
    "--extent",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Number of blocks along each of the two dimensions.",
)
@click.option(
    "--depth",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Number of blocks along depth.",
)
@counts(units=256, batch=32)
@click.option("--backward", is_flag=True, help="Compute the gradient by all weights as well.")
def export_grid(
    directory: pathlib.Path,
    cell: str,
    extent: int,
    depth: int,
    units: int,
    batch: int,
    backward: bool,
) -> None:
    """Write `grid.mlir` and `grid.json` for a deep grid of extent x extent blocks.

    The defaults are the sizes of the stacked grid RNN of Liu et al., "Uncovering Nested Data
    Parallelism and Data Reuse in DNN Computation with FractalTensor" (SOSP 2024).
    """
    from benchmarks.pjrt_programs import DeepGrid, deep_grid

    size = DeepGrid(cell, extent, depth, units, batch, backward)
    zeros = [np.broadcast_to(np.float32(0), shape) for shape in size.shapes]
    about = {**size._asdict(), "flops": size.flops, "shapes": size.shapes}
    _write(directory, "grid", _stablehlo(deep_grid(size), zeros), about)


def _stablehlo(
    program: "tf.types.experimental.PolymorphicFunction", arguments: Sequence[np.ndarray]
) -> str:
    """Returns a program as StableHLO text, for arguments of these shapes and dtypes."""
    return str(program.experimental_get_compiler_ir(*arguments)(stage="stablehlo"))


def _write(directory: pathlib.Path, name: str, text: str, about: dict[str, Any]) -> None:
    """Writes a program and what `time` needs to know of it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.mlir").write_text(text, encoding="utf-8")
    (directory / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")


def _weights(problem: Problem) -> list[np.ndarray]:
    """Returns the weights in the order of the step's arguments."""
    return [*problem.kernels, *problem.biases, *problem[2:5]]


class _Program:
    """A program that was exported, compiled for JAX's default device.

    Attributes:
      device: The device.
      compile_seconds: Seconds that compiling took.
    """

    def __init__(self, path: pathlib.Path):
        """Compiles a program.

        Args:
          path: File of its StableHLO text.
        """
        import jax
        from jaxlib import _jax, xla_client

        self.device = jax.devices()[0]
        start = clock.perf_counter()
        self._executable = self.device.client.compile_and_load(
            path.read_text(encoding="utf-8"),
            _jax.DeviceList((self.device,)),
            xla_client.CompileOptions(),
        )
        self.compile_seconds = clock.perf_counter() - start

    def put(self, arrays: Iterable[np.ndarray]) -> list[Any]:
        """Returns arrays as arrays on the device."""
        import jax

        return [jax.device_put(array, self.device) for array in arrays]

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Runs the program, and returns its results when all of them are there."""
        results = self._executable.execute_sharded(arguments)
        arrays = [shards[0] for shards in results.disassemble_into_single_device_arrays()]
        for array in arrays:
            array.block_until_ready()
        return arrays

    def report(self, seconds: Sequence[float], flops: float, peak: float | None) -> dict[str, Any]:
        """Returns the figures of runs, of which the first one does not count."""
        median = statistics.median(seconds[1:])
        rate = flops / median / 1e9
        return {
            "device": self.device.device_kind,
            "milliseconds": {"median": 1e3 * median, "least": 1e3 * min(seconds[1:])},
            "gflops": rate,
            "share_of_peak": rate / peak if peak else None,
            "compile_seconds": self.compile_seconds,
        }


@main.command(example="python -m benchmarks.pjrt time exported --steps 50")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@counts(steps=20)
@click.option("--peak", type=float, help="Peak GFLOP/s of the device, to report a share of it.")
def time(directory: pathlib.Path, steps: int, peak: float | None) -> None:
    """Run what was exported on JAX's default device; print JSON, a line for each program."""
    timings = {"step": _time_step, "grid": _time_grid}
    found = [name for name in timings if (directory / f"{name}.mlir").is_file()]
    if not found:
        raise click.UsageError(f"{directory} has no exported program; run `export` first")
    for name in found:
        about = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
        print(json.dumps(timings[name](_Program(directory / f"{name}.mlir"), about, steps, peak)))


def _time_step(
    program: _Program, about: dict[str, Any], steps: int, peak: float | None
) -> dict[str, Any]:
    """Trains with an exported step; returns its figures."""
    size = Size(**about)
    problem = make_problem(size)
    weights = _weights(problem)
    (ids,) = program.put([problem.ids])
    state = program.put([*weights, *map(np.zeros_like, weights)])
    times, losses = [], []
    for _ in range(steps + 1):
        start = clock.perf_counter()
        loss, *state = program.run([ids, *state])
        times.append(clock.perf_counter() - start)
        losses.append(float(loss))
    report = program.report(times, size.flops, peak)
    rate = 1e3 * size.batch * size.window / report["milliseconds"]["median"]
    return {
        "size": size._asdict(),
        "characters_per_second": rate,
        **report,
        "losses": [losses[0], losses[-1]],
    }


def _time_grid(
    program: _Program, about: dict[str, Any], steps: int, peak: float | None
) -> dict[str, Any]:
    """Runs an exported deep grid on random numbers; returns its figures."""
    generator = np.random.default_rng(0)
    shapes = about.pop("shapes")
    arguments = program.put(
        generator.uniform(-1, 1, shape).astype(np.float32) / math.sqrt(shape[-1])
        for shape in shapes
    )
    times = []
    for _ in range(steps + 1):
        start = clock.perf_counter()
        results = program.run(arguments)
        times.append(clock.perf_counter() - start)
    largest = max(float(np.max(np.abs(np.asarray(result)))) for result in results)
    return {"size": about, **program.report(times, about["flops"], peak), "largest": largest}


if __name__ == "__main__":
    main()
