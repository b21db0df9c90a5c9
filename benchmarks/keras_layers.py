"""The layer `GridLSTM` against `keras.layers.LSTM` under `fit`, in turns within one process.

Run with `python -m benchmarks.keras_layers`. A grid of one layer multiplies twice as often as
Keras's LSTM of the same width: twice the time is the same speed per multiplication.
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


def fitted(layer: "keras.layers.Layer", units: int) -> tuple["keras.Model", float]:
    """Returns a model of a layer and the seconds that its first step of training took."""
    import keras

    model = keras.Sequential([keras.Input((STEPS, units)), layer])
    model.compile("sgd", "mse")
    start = time.perf_counter()
    model.train_on_batch(np.zeros([BATCH, STEPS, units]), np.zeros([BATCH, units]))
    return model, time.perf_counter() - start


def compare(units: int, batches: int, rounds: int) -> None:
    """Prints the first step and the best time of a step of each layer.

    Args:
      units: The width of inputs and layers.
      batches: The number of batches of one call of `fit`.
      rounds: The number of turns.
    """
    import keras

    from model.layers.grid_lstm import GridLSTM

    layers = {"keras.layers.LSTM": keras.layers.LSTM(units), "GridLSTM": GridLSTM(units)}
    models = {name: fitted(layer, units) for name, layer in layers.items()}
    random = np.random.default_rng(0)
    inputs = random.normal(size=[batches * BATCH, STEPS, units]).astype(np.float32)
    targets = random.normal(size=[batches * BATCH, units]).astype(np.float32)
    best = dict.fromkeys(models, float("inf"))
    for _ in range(rounds):
        for name, (model, _) in models.items():
            start = time.perf_counter()
            model.fit(inputs, targets, batch_size=BATCH, verbose=0)
            best[name] = min(best[name], (time.perf_counter() - start) / batches)
    ratio = best["GridLSTM"] / best["keras.layers.LSTM"]
    for name, (_, first) in models.items():
        print(f"{units} units, {name}: {1000 * best[name]:.1f} ms, first step {first:.2f} s")
    print(
        f"{units} units: {ratio:.2f} times as long, {2 / ratio:.2f} times as fast a multiplication"
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
    command_line.main(main)
