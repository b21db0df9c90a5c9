"""Nets over the spectrograms of spoken digits, of as many parameters each.

They classify a digit by what they have computed of its last frame, or label each frame of connected
digits. Sainath, Li, "Modeling Time-Frequency Patterns with LSTM vs. Convolutional Architectures for
LVCSR Tasks" (Interspeech 2016), compares the first four; the grid over time and depth is that of
Hsu, Zhang, Glass, "A Prioritized Grid Long Short-Term Memory RNN for Speech Recognition" (SLT
2016).
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from experiments.framework.widths import nearest_width
from experiments.speech.speech_data import FRAMES, SPECTROGRAM
from model.layers import GridLSTM, GridLSTMND, StackedLSTM
from model.speech.nets import (
    BLOCK,
    BLOCK_UNITS,
    STRIDE,
    blocks_of,
    cut_into_blocks,
    flattened,
    lstm_over_time,
)

DIGITS = 10
BLOCKS = blocks_of(SPECTROGRAM.bands)


def _lstm(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return lstm_over_time(spectrogram, units, layers=2)


def _convolution(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    image = keras.layers.Reshape([-1, SPECTROGRAM.bands, 1])(spectrogram)
    maps = keras.layers.Conv2D(BLOCK_UNITS, [9, BLOCK], padding="same", activation="relu")(image)
    return lstm_over_time(keras.layers.MaxPooling2D([1, STRIDE])(maps), units)


class FrequencyLSTM(keras.layers.Layer):
    """An LSTM over the blocks of each frame by itself, from the lowest to the highest."""

    def __init__(self) -> None:
        super().__init__()
        self._entering = keras.layers.Dense(BLOCK_UNITS)
        self._lstm = StackedLSTM(BLOCK_UNITS, return_sequences=True)

    def call(self, blocks: tf.Tensor) -> tf.Tensor:
        """Returns the hidden vectors `[batch, frames, BLOCKS, BLOCK_UNITS]` of blocks."""
        batch, frames, *_ = keras.ops.shape(blocks)
        rows = keras.ops.reshape(blocks, [-1, BLOCKS, BLOCK])
        hidden = self._lstm(self._entering(rows))
        return keras.ops.reshape(hidden, [batch, frames, BLOCKS, BLOCK_UNITS])


def _frequency_lstm(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return lstm_over_time(FrequencyLSTM()(cut_into_blocks(spectrogram)), units)


def _time_frequency_grid(
    spectrogram: keras.KerasTensor, units: int, tied: bool = False
) -> keras.KerasTensor:
    cells = ("lstm_peephole", "lstm_peephole", "identity")
    shared = ((0, 1),) if tied else ()
    grid = GridLSTMND(BLOCK_UNITS, cells=cells, tied_dimensions=shared)
    return lstm_over_time(grid(cut_into_blocks(spectrogram)), units)


def _both_ways_grid(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    cells = ("lstm_peephole", "lstm_peephole", "identity")
    up = GridLSTMND(BLOCK_UNITS // 2, cells=cells)
    down = GridLSTMND(BLOCK_UNITS // 2, cells=cells, directions=("forward", "backward"))
    blocks = cut_into_blocks(spectrogram)
    return lstm_over_time(keras.ops.concatenate([up(blocks), down(blocks)], axis=-1), units)


def _three_dimensions(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return flattened(GridLSTMND(units, layers=2)(cut_into_blocks(spectrogram)))


def _time_depth_grid(spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return GridLSTM(units, layers=2, return_sequences=True)(spectrogram)


NETS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "LSTM": _lstm,
    "convolution + LSTM": _convolution,
    "frequency LSTM + LSTM": _frequency_lstm,
    "time-frequency grid + LSTM": _time_frequency_grid,
    "tied grid + LSTM": functools.partial(_time_frequency_grid, tied=True),
    "grid up and down + LSTM": _both_ways_grid,
    "3-D grid": _three_dimensions,
    "time-depth grid": _time_depth_grid,
}
"""The functions from spectrogram and width to the features `[batch, frames, features]`, by name."""


def build(name: str, units: int) -> keras.Model:
    """Returns a net from spectrograms `[batch, FRAMES, bands]` to the logits of the digits.

    Args:
      name: Name in `NETS`.
      units: Width of the LSTM over time; of a 3-D grid its width.
    """
    spectrogram = keras.Input([FRAMES, SPECTROGRAM.bands])
    last = _features(name, spectrogram, units)[:, -1]
    return keras.Model(spectrogram, keras.layers.Dense(DIGITS)(last))


def build_recognizer(name: str, units: int) -> keras.Model:
    """Returns a net that labels frames, of spectrograms `[batch, frames, bands]` of any length.

    Its outputs are the logits `[batch, frames, DIGITS + 1]` of the digits and the blank.

    Args:
      name: Name in `NETS`.
      units: Width, as in `build`.
    """
    spectrogram = keras.Input([None, SPECTROGRAM.bands])
    features = _features(name, spectrogram, units)
    return keras.Model(spectrogram, keras.layers.Dense(DIGITS + 1)(features))


def _features(name: str, spectrogram: keras.KerasTensor, units: int) -> keras.KerasTensor:
    """Returns the regularized features of each frame."""
    noisy = keras.layers.GaussianNoise(0.3)(spectrogram)
    return keras.layers.Dropout(0.2)(NETS[name](noisy, units))


@functools.cache
def width_of(name: str, parameters: int, connected: bool = False) -> int:
    """Returns the width at which a net comes nearest to a number of parameters.

    Args:
      name: Name in `NETS`.
      parameters: Number of parameters.
      connected: Whether the net is one of `build_recognizer`. Default False.
    """
    make = build_recognizer if connected else build
    return nearest_width(parameters, lambda units: make(name, units).count_params())
