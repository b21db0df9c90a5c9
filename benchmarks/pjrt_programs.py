"""The programs that `benchmarks.pjrt` exports as StableHLO: a training step, and a deep grid."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Size
from model.cells.cell import Cell
from model.execution.compilation import Compilation
from model.grid.equations import GridEquations
from model.grid.reference import DimensionWeights, Sides
from model.grid.wavefront.wavefront import grid_wavefront


class DeepGrid(NamedTuple):
    """The size of a grid with two dimensions of equal extent, and depth, which no weights share.

    Attributes:
      cell: Name of the cell of all three dimensions.
      extent: Number of blocks along each of the first two dimensions.
      depth: Number of blocks along depth.
      units: Width of the vectors.
      batch: Number of rows of a batch.
      backward: Whether the gradient by all weights is computed as well.
    """

    cell: str
    extent: int
    depth: int
    units: int
    batch: int
    backward: bool

    @property
    def equations(self) -> GridEquations:
        """The equations of the blocks."""
        return GridEquations(cells=(self.cell,) * 3, priority=())

    @property
    def cells(self) -> list[Cell]:
        """The cells of the dimensions."""
        return [self.equations.cell(dimension) for dimension in range(3)]

    @property
    def flops(self) -> float:
        """Number of floating-point operations of the products: 2 * 3 * 3 * gates * units^2 a block.

        The gradient takes twice as many again.
        """
        gates = sum(cell.gates for cell in self.cells)
        blocks = self.extent**2 * self.depth * self.batch
        return (3.0 if self.backward else 1.0) * 2 * 3 * gates * self.units**2 * blocks

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the arguments of `deep_grid`, float32.

        They are the hidden vectors that enter along each dimension, then the kernel and the bias of
        each dimension.
        """
        extents = [(self.extent, self.depth), (self.extent, self.depth), (self.extent, self.extent)]
        shapes: list[tuple[int, ...]] = [(*two, self.batch, self.units) for two in extents]
        for cell in self.cells:
            width = cell.gates * self.units
            shapes += [(self.depth, 3 * self.units, width), (self.depth, width)]
        return shapes


def deep_grid(size: DeepGrid) -> tf.types.experimental.PolymorphicFunction:
    """Returns a function of arguments of `size.shapes` to what leaves a deep grid.

    Without the gradient these are the hidden vectors that leave along each dimension; with it, the
    sum of all of them, and the gradient of that by each kernel and bias.

    Args:
      size: Size of the grid.
    """

    def hidden_of(hidden: Sequence[tf.Tensor], flat: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        memories = tuple(
            tf.zeros([*side.shape[:-1], cell.memory_size * size.units])
            for side, cell in zip(hidden, size.cells, strict=True)
        )
        pairs = zip(flat[::2], flat[1::2], strict=True)
        leaving = grid_wavefront(
            Sides(hidden=tuple(hidden), memory=memories),
            [DimensionWeights(kernel=kernel, bias=bias) for kernel, bias in pairs],
            size.equations,
            (size.extent, size.extent, size.depth),
            compilation=Compilation(jit="step"),
            training=size.backward,
        )
        return leaving.hidden

    @tf.function(autograph=False, jit_compile=True)
    def run(*arguments: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hidden, flat = arguments[:3], arguments[3:]
        if not size.backward:
            return hidden_of(hidden, flat)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            total = tf.add_n([tf.reduce_sum(part) for part in hidden_of(hidden, flat)])
        return (total, *tape.gradient(total, flat))

    return run


def training_step(size: Size, dtype: str) -> tf.types.experimental.PolymorphicFunction:
    """Returns a pure function of ids, weights and mean squares to a loss and new values of both.

    Args:
      size: Size of a 2-D Grid LSTM.
      dtype: Name of the dtype of the products.
    """
    units, compute = size.units, tf.dtypes.as_dtype(dtype)

    def loss_of(ids: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
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
    def step(ids: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, ...]:
        weights, squares = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = loss_of(ids, weights)
        gradients = [
            tf.clip_by_value(tf.convert_to_tensor(gradient), -CLIP_VALUE, CLIP_VALUE)
            for gradient in tape.gradient(loss, weights)
        ]
        pairs = list(zip(squares, gradients, strict=True))
        new_squares = [RHO * old + (1 - RHO) * new * new for old, new in pairs]
        new_weights = [
            weight - LEARNING_RATE * gradient * tf.math.rsqrt(square + 1e-7)
            for weight, gradient, square in zip(weights, gradients, new_squares, strict=True)
        ]
        return (loss, *new_weights, *new_squares)

    return step
