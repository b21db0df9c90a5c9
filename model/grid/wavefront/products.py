"""The products of a wavefront: rows of hidden vectors with the kernel of their layer."""

from collections.abc import Sequence

import tensorflow as tf

from ...shapes import shape_of
from .schedule import Schedule


class Products:
    """W H of one dimension, and the gradients of H and W, for all rows of a hyperplane.

    Within an XLA program the kernel is used as it is. Outside of it the products are oneDNN's,
    which in bfloat16 is fastest where the second factor is given transposed and in float32 where it
    is not; so the kernel is kept in the layout that each of the two products wants.
    """

    def __init__(self, kernel: tf.Tensor, dtype: tf.DType, schedule: Schedule, xla: bool):
        """Prepares a kernel `[layers | 1, n, m]` for products in `dtype`."""
        self._schedule = schedule
        self._shape = kernel.shape
        self._kernel_dtype = kernel.dtype
        kernel = tf.cast(kernel[0] if kernel.shape[0] == 1 else kernel, dtype)
        if xla:
            self._forward, self._backward = (kernel, False), (kernel, True)
        elif dtype == tf.bfloat16:
            self._forward = tf.linalg.matrix_transpose(kernel), True
            self._backward = kernel, True
        else:
            self._forward = kernel, False
            self._backward = tf.linalg.matrix_transpose(kernel), False

    def forward(self, hyperplane: tf.Tensor, together: tf.Tensor) -> tf.Tensor:
        """W H: `[rows, batch, n]` to `[rows, batch, m]`."""
        return self._product(hyperplane, together, *self._forward, self._shape[2])

    def backward(self, hyperplane: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """dL/dH from dL/d(W H): `[rows, batch, m]` to `[rows, batch, n]`."""
        return self._product(hyperplane, gradient, *self._backward, self._shape[1])

    def _product(self, hyperplane, rows, kernel, transpose, width):
        if self._shape[0] == 1:
            return _flat_product(rows, kernel, transpose, width)
        if self._schedule.layer_spans is None:
            kernels = self._schedule.layers.of(kernel, hyperplane)
            return tf.matmul(rows, kernels, transpose_b=transpose)
        parts = self.by_layer(hyperplane, rows)
        return tf.concat(
            [
                _flat_product(part, kernel[layer], transpose, width)
                for layer, part in enumerate(parts)
            ],
            axis=0,
        )

    def by_layer(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> list[tf.Tensor]:
        """The rows of each layer."""
        spans = self._schedule.layer_spans
        layers = self._shape[0]
        if (spans == spans[:1]).all():
            return [rows[spans[0, at] : spans[0, at + 1]] for at in range(layers)]
        span = tf.gather(tf.constant(spans), hyperplane)
        return [rows[span[at] : span[at + 1]] for at in range(layers)]

    def kernel_gradient(self, together: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """dL/dW, one tall product for all rows of all hyperplanes, per kernel.

        Args:
          together: H, `[all rows, batch, n]`.
          gradient: dL/d(W H), `[all rows, batch, m]`.
        """
        kernels = []
        for rows in _rows_of_kernels(self._schedule, self._shape[0]):
            n, m = (
                tf.reshape(_take(values, rows), [-1, width])
                for values, width in zip((together, gradient), self._shape[1:], strict=True)
            )
            kernels.append(tf.matmul(n, m, transpose_a=True))
        return tf.cast(tf.stack(kernels), self._kernel_dtype)


class LayerVectors:
    """The bias or the gain of each row of a hyperplane."""

    def __init__(self, vectors: tf.Tensor, schedule: Schedule, xla: bool):
        """Prepares `[layers | 1, m]`."""
        self._vectors = vectors
        self._only = vectors[0]
        self._schedule = schedule
        self._xla = xla

    def of(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Broadcastable to `rows`, `[rows, batch, m]`."""
        schedule = self._schedule
        if self._vectors.shape[0] == 1:
            return self._only
        if schedule.layer_spans is None:
            return schedule.layers.of(self._vectors, hyperplane)[:, None]
        cells = schedule.rows.of(schedule.cells, hyperplane)
        return tf.gather(self._vectors, cells % self._vectors.shape[0])[:, None]

    def gradient(self, rows: tf.Tensor) -> tf.Tensor:
        """The sum of `[all rows, batch, m]` over all that share a vector."""
        sums = []
        for chosen in _rows_of_kernels(self._schedule, self._vectors.shape[0]):
            flat = tf.reshape(_take(rows, chosen), [-1, self._vectors.shape[1]])
            sums.append(sum_of_rows(flat, self._vectors.dtype, self._xla))
        return tf.stack(sums)


def sum_of_rows(rows: tf.Tensor, dtype: tf.DType, xla: bool) -> tf.Tensor:
    """The sum `[m]` of `[rows, m]` in a dtype, rounded once.

    XLA fuses a product with ones into loops that take several times as long as a reduction. Outside
    of XLA the product needs no copy of the rows in that dtype.
    """
    if xla:
        return tf.reduce_sum(tf.cast(rows, dtype), axis=0)
    ones = tf.ones([1, tf.shape(rows)[0]], rows.dtype)
    return tf.cast(tf.matmul(ones, rows)[0], dtype)


def _rows_of_kernels(schedule: Schedule, kernels: int) -> Sequence[tf.Tensor | None]:
    """Which rows use each kernel; None for all, padding included, whose gradients are zero."""
    return (None,) if kernels == 1 else schedule.layer_rows


def _take(values, rows):
    return values if rows is None else tf.gather(values, rows)


def _flat_product(rows, kernel, transpose, width):
    """`[rows, batch, n]` with one kernel, as one product."""
    flat = tf.reshape(rows, [-1, rows.shape[-1]])
    product = tf.matmul(flat, kernel, transpose_b=transpose)
    return tf.reshape(product, [-1, *shape_of(rows)[1:-1], width])
