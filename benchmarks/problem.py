"""The network, the initial weights and the text that all contenders train on."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the process of a peer imports nothing of this project's model
    from model.language_model.config import Architecture

VOCABULARY = 205
"""Number of distinct characters in the first 10^8 bytes of Wikipedia, as the Torch7 code counts."""
LEARNING_RATE = 0.001
RHO = 0.95
CLIP_VALUE = 5.0
RESIDUAL_BYTES = 2**30
"""Largest size of the residuals of a piece; its gradients and copies take several times as much."""


class Size(NamedTuple):
    """The size of a network and of its batches.

    Attributes:
      model: "grid" for a 2-D grid with depth prioritised, all weights tied, and characters that
        enter hidden and memory vectors, or "stacked" for a stacked LSTM.
      layers: Number of layers along depth.
      units: Width of the vectors.
      batch: Number of rows of a batch.
      window: Number of steps of a window.
    """

    model: "Architecture"
    layers: int
    units: int
    batch: int
    window: int

    @property
    def name(self) -> str:
        """Description for people."""
        return f"{self.model} {self.layers}x{self.units}, batch {self.batch}, window {self.window}"

    @property
    def flops(self) -> float:
        """Number of floating-point operations of the recurrent products in one training step.

        3 * 2 * 16 * units^2 per block and character of a grid, forward and backward; 8 in place of
        16 for a stacked LSTM.
        """
        products = 16 if self.model == "grid" else 8
        cells = self.layers * self.batch * self.window
        return 3.0 * 2 * products * self.units**2 * cells


def pieces(size: Size) -> int:
    """Returns the number of pieces of a window for gradient checkpointing.

    It is the smallest divisor of the window with which the residuals of a piece, `32 * units` bytes
    for each block and row in bfloat16, are within `RESIDUAL_BYTES`.

    Args:
      size: Size of the network.
    """
    whole = 32 * size.units * size.layers * size.batch * size.window
    return next(
        count
        for count in range(1, size.window + 1)
        if size.window % count == 0 and (whole <= count * RESIDUAL_BYTES or count == size.window)
    )


class Problem(NamedTuple):
    """Initial weights and text; gates are in the order i, f, o, g.

    Attributes:
      kernels: Kernels `[2 * units, 4 * units]`: those of time and depth of a grid, for
        `[h_time, h_depth]`, or one per layer of a stacked LSTM, for `[h_below, h_time]`.
      biases: Biases `[4 * units]`, one per kernel.
      embedding: Embedding `[VOCABULARY, width]`; of a grid, hidden and memory side by side.
      output_kernel: Kernel of the logits `[units, VOCABULARY]`.
      output_bias: Bias of the logits `[VOCABULARY]`.
      ids: Characters `[batch, window + 1]`; all but the last are inputs, all but the first targets.
    """

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    embedding: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray
    ids: np.ndarray


def make_problem(size: Size) -> Problem:
    """Returns the weights and the text of a size, always the same.

    Args:
      size: Size of the network.
    """
    generator = np.random.default_rng(0)
    units = size.units
    copies = 2 if size.model == "grid" else size.layers

    def uniform(*shape: int) -> np.ndarray:
        bound = units**-0.5
        return generator.uniform(-bound, bound, shape).astype(np.float32)

    width = units * (2 if size.model == "grid" else 1)
    return Problem(
        kernels=[uniform(2 * units, 4 * units) for _ in range(copies)],
        biases=[uniform(4 * units) for _ in range(copies)],
        embedding=generator.uniform(-1, 1, (VOCABULARY, width)).astype(np.float32),
        output_kernel=uniform(units, VOCABULARY),
        output_bias=uniform(VOCABULARY),
        ids=generator.integers(0, VOCABULARY, (size.batch, size.window + 1), np.int32),
    )
