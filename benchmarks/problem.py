"""The network, the weights and the text that all contenders train on."""

from typing import NamedTuple

import numpy as np

VOCABULARY = 205  # characters in the first 10^8 bytes of Wikipedia, as the Torch7 code counts them
LEARNING_RATE = 0.001
RHO = 0.95
CLIP_VALUE = 5.0
TAPE = 2**30  # bytes; the gradients and copies of a piece take several times as much


class Size(NamedTuple):
    """What is trained.

    Attributes:
      model: "grid", 2-D, depth prioritised, all weights tied, characters entering hidden and memory
        vectors; or "stacked".
      layers: blocks along depth.
      units: width of the vectors.
      batch: rows.
      window: steps.
    """

    model: str
    layers: int
    units: int
    batch: int
    window: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model} {self.layers}x{self.units}, batch {self.batch}, window {self.window}"

    @property
    def flops(self) -> float:
        """Operations of the recurrent products in one training step.

        3 * 2 * 16 * units^2 per block and character of a grid, forward and backward; 8 in place of
        16 for a stacked LSTM.
        """
        products = 16 if self.model == "grid" else 8
        cells = self.layers * self.batch * self.window
        return 3.0 * 2 * products * self.units**2 * cells


def pieces(size: Size) -> int:
    """How many pieces a window is cut into whose gates are computed again for the gradient.

    The least number that divides the window and holds a piece's tape, `32 * units` bytes for each
    block and row in bfloat16, within `TAPE`.
    """
    whole = 32 * size.units * size.layers * size.batch * size.window
    return next(
        count
        for count in range(1, size.window + 1)
        if size.window % count == 0 and (whole <= count * TAPE or count == size.window)
    )


class Problem(NamedTuple):
    """Weights and text; gates are in the order i, f, o, g.

    Attributes:
      kernels: of a grid time's and depth's, `[2 * units, 4 * units]` for `[h_time, h_depth]`; of a
        stacked LSTM one per layer, for `[h_below, h_time]`.
      biases: `[4 * units]`, one per kernel.
      embedding: `[VOCABULARY, width]`, of a grid hidden and memory side by side.
      output_kernel: `[units, VOCABULARY]`.
      output_bias: `[VOCABULARY]`.
      ids: `[batch, window + 1]`, the characters; each but the last is read, each but the first is
        predicted.
    """

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    embedding: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray
    ids: np.ndarray


def make_problem(size: Size) -> Problem:
    """The same for every contender of a run."""
    generator = np.random.default_rng(0)
    units = size.units
    copies = 2 if size.model == "grid" else size.layers

    def uniform(*shape):
        bound = units**-0.5
        return generator.uniform(-bound, bound, shape).astype(np.float32)

    width = units * (2 if size.model == "grid" else 1)
    return Problem(
        [uniform(2 * units, 4 * units) for _ in range(copies)],
        [uniform(4 * units) for _ in range(copies)],
        generator.uniform(-1, 1, (VOCABULARY, width)).astype(np.float32),
        uniform(units, VOCABULARY),
        uniform(VOCABULARY),
        generator.integers(0, VOCABULARY, (size.batch, size.window + 1), np.int32),
    )
