"""Nets that label the frames of a spectrogram, from LSTMs over time to grids.

The grid over time and frequency is that of Sainath, Li, "Modeling Time-Frequency Patterns with LSTM
vs. Convolutional Architectures for LVCSR Tasks" (Interspeech 2016), the grid over time and depth
that of Hsu, Zhang, Glass, "A Prioritized Grid Long Short-Term Memory RNN for Speech Recognition"
(SLT 2016).
"""

import math
from collections.abc import Callable

import keras

from ..errors import InputError, nearest
from ..layers import GridLSTM, GridLSTMND, StackedLSTM

BLOCK = 8
"""Number of neighbouring bands of a block."""

STRIDE = 4
"""Distance of the lowest bands of two neighbouring blocks."""

BLOCK_UNITS = 16
"""Width of what a net computes of each block."""


def blocks_of(bands: int) -> int:
    """Returns the number of blocks that as many bands are cut into; the highest may be left over.

    >>> blocks_of(40)
    9

    Args:
      bands: Number of bands, `BLOCK` at least.
    """
    return (bands - BLOCK) // STRIDE + 1


def cut_into_blocks(spectrogram: keras.KerasTensor) -> keras.KerasTensor:
    """Cuts `[batch, frames, bands]` into overlapping blocks, `[batch, frames, blocks, BLOCK]`.

    Args:
      spectrogram: The spectrogram.
    """
    starts = (block * STRIDE for block in range(blocks_of(spectrogram.shape[-1])))
    return keras.ops.stack([spectrogram[..., at : at + BLOCK] for at in starts], axis=2)


def flattened(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the features of each frame, `[batch, frames, ...]`, as a vector.

    Args:
      features: The features.
    """
    if len(features.shape) == 3:
        return features
    return keras.layers.Reshape([-1, math.prod(features.shape[2:])])(features)


def lstm_over_time(
    features: keras.KerasTensor, units: int, layers: int = 1, dropout: float = 0.0
) -> keras.KerasTensor:
    """Reads features by LSTMs over time, and returns their hidden vectors `[batch, frames, units]`.

    Args:
      features: Features of each frame, `[batch, frames, ...]`.
      units: Width of the LSTMs.
      layers: Number of LSTMs that lie on each other. Default 1.
      dropout: Dropout rate of the inputs of each. Default 0.
    """
    entering = keras.layers.Dense(units)(flattened(features))
    return StackedLSTM(units, layers, dropout=dropout, return_sequences=True)(entering)


def _time_frequency_grid(
    spectrogram: keras.KerasTensor, units: int, layers: int, dropout: float
) -> keras.KerasTensor:
    grid = GridLSTMND(BLOCK_UNITS, cells=("lstm_peephole", "lstm_peephole", "identity"))
    return lstm_over_time(grid(cut_into_blocks(spectrogram)), units, layers, dropout)


def _time_depth_grid(
    spectrogram: keras.KerasTensor, units: int, layers: int, dropout: float
) -> keras.KerasTensor:
    return GridLSTM(units, layers, dropout=dropout, return_sequences=True)(spectrogram)


NETS: dict[str, Callable[[keras.KerasTensor, int, int, float], keras.KerasTensor]] = {
    "time_depth_grid": _time_depth_grid,
    "time_frequency_grid": _time_frequency_grid,
    "stacked_lstm": lstm_over_time,
}
"""Functions from spectrogram, width, layers and dropout to the features of frames, by name."""


def build_net(
    name: str,
    labels: int,
    bands: int = 40,
    units: int = 64,
    layers: int = 2,
    dropout: float = 0.0,
    noise: float = 0.0,
) -> keras.Model:
    """Returns a net from spectrograms of any length to the logits of labels and blank.

    >>> build_net("time_depth_grid", labels=10, units=8).output_shape
    (None, None, 11)

    Args:
      name: Name in `NETS`.
      labels: Number of labels.
      bands: Number of bands of the spectrogram. Default 40.
      units: Width of each hidden vector. Default 64.
      layers: Number of layers along depth. Default 2.
      dropout: Dropout rate of the inputs of each layer and before the output, in training. Default
        0.
      noise: Standard deviation of the noise that is added to the spectrogram in training. Default
        0.

    Raises:
      InputError: If there is no such net, or too few bands for a block of it.
    """
    if name not in NETS:
        raise InputError(f"there is no net {name}{nearest(name, NETS)}")
    if bands < BLOCK:
        raise InputError(f"bands is {bands}; the blocks of a net need {BLOCK} at least")
    spectrogram = keras.Input([None, bands])
    noisy = keras.layers.GaussianNoise(noise)(spectrogram)
    features = keras.layers.Dropout(dropout)(NETS[name](noisy, units, layers, dropout))
    return keras.Model(spectrogram, keras.layers.Dense(labels + 1)(features))
