"""The layer `GridLSTM` against `keras.layers.LSTM` under `fit`, in turns within one process.

Run with `python -m benchmarks.keras_layers`. A grid of one layer multiplies 2.25 times as often as
Keras's LSTM of the same width: 8 units^2 along time, as many along depth, and 2 units^2 in the
projection of its inputs, against 8. As many times the time is the same speed per multiplication.
"""

import time
from typing import TYPE_CHECKING

import click
import numpy as np

from common import command_line
from common.commands import TensorFlowCommand

if TYPE_CHECKING:
    import keras

STEPS, BATCH = 50, 32

MULTIPLICATIONS = 18 / 8
"""Multiplications of a grid of one layer, per multiplication of Keras's LSTM."""


def fitted(layer: "keras.layers.Layer", units: int) -> tuple["keras.Model", float]:
    """Returns a model of a layer and the seconds that its first step of training took."""
    import keras

    model = keras.Sequential([keras.Input((STEPS, units)), layer])
    model.compile("sgd", "mse")
    start = time.perf_counter()
    model.train_on_batch(np.zeros([BATCH, STEPS, units]), np.zeros([BATCH, units]))
    return model, time.perf_counter() - start


def spread(values: list[float]) -> str:
    """Returns the median of some values, with half of their interquartile range."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ±{(high - low) / 2:.2f}"


def compare(units: int, batches: int, rounds: int) -> None:
    """Prints the first step and the time of a step of each layer, and their ratio in each round.

    Args:
      units: The width of inputs and layers.
      batches: The number of batches of one call of `fit`.
      rounds: The number of turns.
    """
    import keras

    from model.layers.grid_lstm import GridLSTM

    fitted(keras.layers.GRU(units), units)  # the first step of a process takes longer
    layers = {"keras.layers.LSTM": keras.layers.LSTM(units), "GridLSTM": GridLSTM(units)}
    models = {name: fitted(layer, units) for name, layer in layers.items()}
    random = np.random.default_rng(0)
    inputs = random.normal(size=[batches * BATCH, STEPS, units]).astype(np.float32)
    targets = random.normal(size=[batches * BATCH, units]).astype(np.float32)
    for model, _ in models.values():
        model.fit(inputs, targets, batch_size=BATCH, verbose=0)  # the first one traces
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, (model, _) in models.items():
            start = time.perf_counter()
            model.fit(inputs, targets, batch_size=BATCH, verbose=0)
            taken[name].append(1000 * (time.perf_counter() - start) / batches)
    for name, (_, first) in models.items():
        print(f"{units} units, {name}: {spread(taken[name])} ms, first step {first:.2f} s")
    ratios = [ours / theirs for theirs, ours in zip(*taken.values(), strict=True)]
    speeds = [MULTIPLICATIONS / ratio for ratio in ratios]
    print(
        f"{units} units: {spread(ratios)} times as long, "
        f"{spread(speeds)} times as fast a multiplication"
    )


@click.command(
    cls=TensorFlowCommand, example="python -m benchmarks.keras_layers --units 32 --units 128"
)
@click.option(
    "--units",
    type=click.IntRange(1),
    multiple=True,
    default=(32, 128, 512),
    show_default=True,
    help="Widths.",
)
@click.option(
    "--batches", type=click.IntRange(1), default=4, show_default=True, help="Batches per fit."
)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Turns each.")
def main(units: tuple[int, ...], batches: int, rounds: int) -> None:
    """Time the layers under `fit`, in turns, at every width."""
    for width in units:
        compare(width, batches, rounds)


if __name__ == "__main__":
    command_line.main(main, resumes=False)
