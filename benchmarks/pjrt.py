"""Times this project's training step on any device of PJRT: `python -m benchmarks.pjrt`.

`export` needs TensorFlow and writes a training step as StableHLO; `time` needs only NumPy and JAX,
for machines with an accelerator but without a TensorFlow for it.
"""

import json
import pathlib
import statistics
import time as clock
from collections.abc import Callable

import click
import numpy as np

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Problem, Size, make_problem


@click.group()
def main() -> None:
    """Export a training step, and time it on another device."""


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=pathlib.Path))
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True)
@click.option("--units", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=50, show_default=True)
@click.option("--window", type=click.IntRange(1), default=50, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="bfloat16")
def export(
    directory: pathlib.Path, layers: int, units: int, batch: int, window: int, dtype: str
) -> None:
    """Write `step.mlir` and `size.json` for a 2-D Grid LSTM."""
    size = Size(model="grid", layers=layers, units=units, batch=batch, window=window)
    step = _training_step(size, dtype)
    problem = make_problem(size)
    weights = _weights(problem)
    arguments = [problem.ids, *weights, *map(np.zeros_like, weights)]
    text = step.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "step.mlir").write_text(str(text), encoding="utf-8")
    (directory / "size.json").write_text(json.dumps(size._asdict()), encoding="utf-8")


def _weights(problem: Problem) -> list[np.ndarray]:
    """Returns the weights in the order of the step's arguments."""
    return [*problem.kernels, *problem.biases, *problem[2:5]]


def _training_step(size: Size, dtype: str) -> Callable:
    """Returns a pure function of ids, weights and mean squares to a loss and new values of both."""
    import tensorflow as tf

    from model.execution.compilation import Compilation
    from model.grid.equations import GridEquations
    from model.grid.reference import DimensionWeights, Sides
    from model.grid.wavefront.wavefront import grid_wavefront

    units, compute = size.units, tf.dtypes.as_dtype(dtype)

    def loss_of(ids, weights):
        *kernels, embedding, output_kernel, output_bias = weights
        time_kernel, depth_kernel, time_bias, depth_bias = (weight[None] for weight in kernels)
        characters = tf.transpose(ids)
        hidden, memory = tf.split(tf.gather(embedding, characters[:-1]), 2, axis=-1)
        state = tf.zeros([size.layers, size.batch, units])
        leaving = grid_wavefront(
            Sides((tf.cast(state, compute), tf.cast(hidden, compute)), (state, memory)),
            [DimensionWeights(time_kernel, time_bias), DimensionWeights(depth_kernel, depth_bias)],
            GridEquations(),
            (size.window, size.layers),
            compilation=Compilation(jit="step"),
        )
        flat = tf.reshape(leaving.hidden[1], [-1, units])
        logits = tf.cast(tf.matmul(flat, tf.cast(output_kernel, compute)), tf.float32) + output_bias
        labels = tf.reshape(characters[1:], [-1])
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )

    @tf.function(autograph=False, jit_compile=True)
    def step(ids, *rest):
        weights, squares = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = loss_of(ids, weights)
        gradients = [
            tf.clip_by_value(tf.convert_to_tensor(gradient), -CLIP_VALUE, CLIP_VALUE)
            for gradient in tape.gradient(loss, weights)
        ]
        pairs = list(zip(squares, gradients, strict=True))
        squares = [RHO * old + (1 - RHO) * new * new for old, new in pairs]
        weights = [
            weight - LEARNING_RATE * gradient * tf.math.rsqrt(square + 1e-7)
            for weight, gradient, square in zip(weights, gradients, squares, strict=True)
        ]
        return (loss, *weights, *squares)

    return step


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True)
@click.option("--peak", type=float, help="Peak GFLOP/s of the device, to report a share of it.")
def time(directory: pathlib.Path, steps: int, peak: float | None) -> None:
    """Train with an exported step on JAX's default device; print JSON."""
    import jax
    from jaxlib import _jax, xla_client

    size = Size(**json.loads((directory / "size.json").read_text(encoding="utf-8")))
    device = jax.devices()[0]
    start = clock.perf_counter()
    executable = device.client.compile_and_load(
        (directory / "step.mlir").read_text(encoding="utf-8"),
        _jax.DeviceList((device,)),
        xla_client.CompileOptions(),
    )
    compiled = clock.perf_counter() - start
    problem = make_problem(size)
    weights = _weights(problem)
    ids = jax.device_put(problem.ids, device)
    state = [jax.device_put(array, device) for array in (*weights, *map(np.zeros_like, weights))]
    times, losses = [], []
    for _ in range(steps + 1):
        start = clock.perf_counter()
        results = executable.execute_sharded([ids, *state])
        loss, *state = (shards[0] for shards in results.disassemble_into_single_device_arrays())
        losses.append(float(loss))
        times.append(clock.perf_counter() - start)
    median = statistics.median(times[1:])
    rate = size.flops / median / 1e9
    report = {
        "device": device.device_kind,
        "size": size._asdict(),
        "characters_per_second": size.batch * size.window / median,
        "milliseconds": {"median": 1e3 * median, "least": 1e3 * min(times[1:])},
        "gflops": rate,
        "share_of_peak": rate / peak if peak else None,
        "compile_seconds": compiled,
        "losses": [losses[0], losses[-1]],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
