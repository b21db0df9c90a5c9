"""The textbook form of the wavefront of a 2-D grid, a skewed array, for `skewed_wavefront`.

It skews the grid into an array of T + L - 1 columns of L slots: slot l of column d holds block
(d - l, l), the depth vectors move up by one slot per column, and slots outside of the grid compute
values that a mask discards. The schedule of `model.grid.wavefront.routes` has only the rows that
exist. Both compute the same function and gradient here, with the same products, cells and
compilation.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model.cells.lstm import lstm_backward, lstm_forward
from model.execution.compilation import Compilation, Jit, compiled
from model.grid.equations import GridEquations
from model.grid.reference import DimensionWeights, Sides
from model.grid.wavefront.products import Products
from model.grid.wavefront.schedule import choose_schedule
from model.grid.wavefront.wavefront import grid_wavefront


def skewed_wavefront(
    sides: Sides, weights: list[DimensionWeights], steps: int, layers: int, compilation: Compilation
) -> tf.Tensor:
    """Computes the hidden vectors at the top of a 2-D grid by a skewed array.

    Args:
      sides: The vectors that enter, as for `grid_wavefront`.
      weights: The tied weights of time and depth, which has priority.
      steps: The number of time steps.
      layers: The number of layers.
      compilation: How the gates are compiled.

    Returns:
      The hidden vectors at the top, `[steps, batch, units]`.
    """

    @tf.custom_gradient
    def differentiable(*tensors: tf.Tensor) -> tuple:
        net = _Skewed(tensors[4:], steps, layers, compilation)
        top, residuals = net.forward(*tensors[:4])

        def gradient(d_top: tf.Tensor) -> list[tf.Tensor]:
            return net.backward(residuals, d_top, tensors[:4])

        return top, gradient

    flat = [part for one in weights for part in (one.kernel, one.bias)]
    return differentiable(*sides.hidden, *sides.memory, *flat)


class _Skewed:
    """The two loops over the columns of a skewed array."""

    def __init__(self, weights: tuple, steps: int, layers: int, compilation: Compilation):
        self._kernels, self._biases = weights[0::2], [bias[0] for bias in weights[1::2]]
        self._steps, self._layers = steps, layers
        self._columns = steps + layers - 1
        self._compilation = compilation
        # Products want one, and use it only where layers have weights of their own.
        self._schedule = choose_schedule((steps, layers), padded=compilation.jits_step)
        self._forward_cell = compiled(lstm_forward, compilation)
        self._backward_cell = compiled(lstm_backward, compilation)
        column = np.arange(self._columns)[:, None] - np.arange(layers)
        self._active = tf.constant((column >= 0) & (column < steps))[:, :, None, None]

    def _products(self, dtype: tf.DType) -> list[Products]:
        jits_step = self._compilation.jits_step
        return [Products(kernel, dtype, self._schedule, jits_step) for kernel in self._kernels]

    def forward(
        self, h_time: tf.Tensor, h_depth: tf.Tensor, m_time: tf.Tensor, m_depth: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.TensorArray]]:
        """Returns the outputs at the top, and the residuals as arrays over the columns."""
        time_product, depth_product = self._products(h_time.dtype)
        batch, units = h_time.shape[1:]
        pad = [[0, self._layers], [0, 0], [0, 0]]
        h_bottom, m_bottom = tf.pad(h_depth, pad), tf.pad(m_depth, pad)

        def shift(bottom: tf.Tensor, rows: tf.Tensor, d: tf.Tensor | int) -> tf.Tensor:
            return tf.concat([bottom[d][None], rows[:-1]], axis=0)

        def step(
            d: tf.Tensor,
            h_t: tf.Tensor,
            m_t: tf.Tensor,
            h_d: tf.Tensor,
            m_d: tf.Tensor,
            arrays: list[tf.TensorArray],
        ) -> tuple:
            active = self._active[d]
            first = tf.concat([h_t, h_d], axis=-1)
            time_cell = self._forward_cell(time_product.forward(d, first), self._biases[0], m_t)
            new_h_t = tf.where(active, time_cell.hidden, h_t)
            new_m_t = tf.where(active, time_cell.memory, m_t)
            second = tf.concat([new_h_t, h_d], axis=-1)
            depth_cell = self._forward_cell(depth_product.forward(d, second), self._biases[1], m_d)
            saved = (
                first, second, time_cell.activations, depth_cell.activations, m_t, m_d,
                depth_cell.hidden[-1],
            )  # fmt: skip
            arrays = [array.write(d, one) for array, one in zip(arrays, saved, strict=True)]
            h_d = shift(h_bottom, depth_cell.hidden, d + 1)
            m_d = shift(m_bottom, depth_cell.memory, d + 1)
            return d + 1, new_h_t, new_m_t, h_d, m_d, arrays

        shape = [self._layers, batch]
        dtypes = [h_time.dtype] * 4 + [m_time.dtype] * 2 + [h_time.dtype]
        widths = [2 * units, 2 * units, 4 * units, 4 * units, units, units]
        shapes = [*([*shape, width] for width in widths), [batch, units]]
        arrays = [
            tf.TensorArray(dtype, self._columns, element_shape=one, clear_after_read=False)
            for dtype, one in zip(dtypes, shapes, strict=True)
        ]
        zeros_h = tf.zeros([self._layers, batch, units], h_time.dtype)
        zeros_m = tf.zeros([self._layers, batch, units], m_time.dtype)
        *_, arrays = tf.while_loop(
            lambda d, *_: d < self._columns,
            step,
            (0, h_time, m_time, shift(h_bottom, zeros_h, 0), shift(m_bottom, zeros_m, 0), arrays),
            maximum_iterations=self._columns,
        )
        return arrays.pop().stack()[self._layers - 1 :], arrays

    def backward(
        self, residuals: list[tf.TensorArray], d_top: tf.Tensor, entering: tuple[tf.Tensor, ...]
    ) -> list[tf.Tensor]:
        """Returns the gradients of the vectors that entered, and of the weights."""
        h_time, _, m_time, _ = entering
        time_product, depth_product = self._products(h_time.dtype)
        units = h_time.shape[-1]
        d_top = tf.pad(d_top, [[self._layers - 1, 0], [0, 0], [0, 0]])

        def step(
            count: tf.Tensor,
            d_h_t: tf.Tensor,
            d_m_t: tf.Tensor,
            d_h_d: tf.Tensor,
            d_m_d: tf.Tensor,
            arrays: list[tf.TensorArray],
        ) -> tuple:
            d = self._columns - 1 - count
            _, _, time_gates, depth_gates, m_t, m_d = (one.read(d) for one in residuals)
            active = self._active[d]
            zeros_h, zeros_m = tf.zeros_like(d_h_t), tf.zeros_like(d_m_t)
            d_out = tf.concat([d_h_d[1:], d_top[d][None]], axis=0)
            d_out_m = tf.concat([d_m_d[1:], zeros_m[:1]], axis=0)
            d_depth, d_m_d = self._backward_cell(depth_gates, m_d, (), d_out, d_out_m)
            d_second = depth_product.backward(d, d_depth)
            d_new, d_h_d = d_h_t + d_second[..., :units], d_second[..., units:]
            d_time, d_old_m = self._backward_cell(
                time_gates,
                m_t,
                (),
                tf.where(active, d_new, zeros_h),
                tf.where(active, d_m_t, zeros_m),
            )
            d_first = time_product.backward(d, d_time)
            d_h_t = d_first[..., :units] + tf.where(active, zeros_h, d_new)
            d_m_t = d_old_m + tf.where(active, zeros_m, d_m_t)
            d_h_d += d_first[..., units:]
            saved = (d_time, d_depth, d_h_d[0], d_m_d[0])
            arrays = [array.write(d, one) for array, one in zip(arrays, saved, strict=True)]
            return count + 1, d_h_t, d_m_t, d_h_d, d_m_d, arrays

        batch = h_time.shape[1]
        shapes = [
            *[[self._layers, batch, 4 * units]] * 2,
            *[[batch, units]] * 2,
        ]
        dtypes = [h_time.dtype] * 3 + [m_time.dtype]
        arrays = [
            tf.TensorArray(dtype, self._columns, element_shape=one)
            for dtype, one in zip(dtypes, shapes, strict=True)
        ]
        zeros = tf.zeros_like(h_time), tf.zeros_like(m_time)
        _, d_h_t, d_m_t, _, _, arrays = tf.while_loop(
            lambda count, *_: count < self._columns,
            step,
            (0, *zeros, *zeros, arrays),
            maximum_iterations=self._columns,
        )
        d_time, d_depth, d_bottom_h, d_bottom_m = (one.stack() for one in arrays)
        gradients = []
        for d_gates, concat in ((d_time, residuals[0]), (d_depth, residuals[1])):
            flat = tf.reshape(d_gates, [-1, 4 * units])
            rows = tf.reshape(concat.stack(), [-1, 2 * units])
            kernel = tf.matmul(rows, flat, transpose_a=True)
            gradients.append(tf.cast(kernel, tf.float32)[None])
            gradients.append(tf.reduce_sum(tf.cast(flat, tf.float32), axis=0)[None])
        steps = self._steps
        return [d_h_t, d_bottom_h[:steps], d_m_t, d_bottom_m[:steps], *gradients]


def make_step(
    schedule: str, size: tuple[int, int, int, int], jit: Jit, dtype: tf.DType
) -> Callable[[], list[tf.Tensor]]:
    """Returns a function that computes the top of a grid and all gradients.

    Args:
      schedule: "rows" for the project's schedule, "skewed" for the skewed array.
      size: Layers, units, batch and window.
      jit: Which part XLA compiles; see `model.execution.compilation.Compilation`.
      dtype: The compute dtype.
    """
    layers, units, batch, steps = size
    generator = np.random.default_rng(0)

    def normal(*shape: int, dtype: tf.DType = tf.float32, scale: float = 1.0) -> tf.Tensor:
        return tf.constant(generator.normal(size=shape, scale=scale), dtype)

    weights = [
        DimensionWeights(
            kernel=normal(1, 2 * units, 4 * units, scale=units**-0.5),
            bias=normal(1, 4 * units),
        )
        for _ in range(2)
    ]
    sides = Sides(
        hidden=(
            normal(layers, batch, units, dtype=dtype),
            normal(steps, batch, units, dtype=dtype),
        ),
        memory=(normal(layers, batch, units), normal(steps, batch, units)),
    )
    compilation = Compilation(jit=jit, prefetch=jit == "step")
    sources = tf.nest.flatten([sides, [(one.kernel, one.bias) for one in weights]])

    @tf.function(autograph=False, jit_compile=jit == "step")
    def run() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            if schedule == "skewed":
                top = skewed_wavefront(sides, weights, steps, layers, compilation)
            else:
                extents = (steps, layers)
                leaving = grid_wavefront(
                    sides, weights, GridEquations(), extents, compilation=compilation
                )
                top = leaving.hidden[1]
            loss = tf.reduce_sum(tf.cast(top, tf.float32) ** 2)
        return [top, *tape.gradient(loss, sources)]

    return run
