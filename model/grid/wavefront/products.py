"""The products of a wavefront: rows of hidden vectors times the kernel of their layer."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from ...cells.cell import Parameters
from ...shapes import shape_of
from .schedule import Schedule


class Products:
    """Computes W H of one dimension and its gradients, for all rows of a hyperplane.

    Within an XLA program the kernel is used as it is. Outside of it the products are oneDNN's,
    which in bfloat16 is fastest where the second factor is given transposed and in float32 where it
    is not; so the kernel is kept in the layout that each of the two products prefers.

    Args:
      kernel: The kernels, `[layers | 1, n, m]`.
      dtype: The dtype of the products.
      schedule: The schedule of the grid.
      jits_step: Whether the products are part of an XLA program.
    """

    def __init__(self, kernel: tf.Tensor, dtype: tf.DType, schedule: Schedule, jits_step: bool):
        self._schedule = schedule
        self._shape = kernel.shape
        self._kernel_dtype = kernel.dtype
        kernel = tf.cast(kernel[0] if kernel.shape[0] == 1 else kernel, dtype)
        if jits_step:
            self._forward, self._backward = (kernel, False), (kernel, True)
        elif dtype == tf.bfloat16:
            self._forward = tf.linalg.matrix_transpose(kernel), True
            self._backward = kernel, True
        else:
            self._forward = kernel, False
            self._backward = tf.linalg.matrix_transpose(kernel), False

    def forward(self, hyperplane: tf.Tensor, h_concat: tf.Tensor) -> tf.Tensor:
        """Computes W H: `[rows, batch, n]` to `[rows, batch, m]`."""
        return self._product(hyperplane, h_concat, *self._forward, self._shape[2])

    def backward(self, hyperplane: tf.Tensor, d_product: tf.Tensor) -> tf.Tensor:
        """Computes dL/dH from dL/d(W H): `[rows, batch, m]` to `[rows, batch, n]`."""
        return self._product(hyperplane, d_product, *self._backward, self._shape[1])

    def _product(
        self,
        hyperplane: tf.Tensor,
        rows: tf.Tensor,
        kernel: tf.Tensor,
        transpose: bool,
        width: int,
    ) -> tf.Tensor:
        if self._shape[0] == 1:
            return _flat_product(rows, kernel, transpose, width)
        if self._schedule.layers is not None:
            kernels = self._schedule.layers.slice(kernel, hyperplane)
            return tf.matmul(rows, kernels, transpose_b=transpose)
        products = [
            _flat_product(part, kernel[layer], transpose, width)
            for layer, part in enumerate(self._split_by_layer(hyperplane, rows))
        ]
        return tf.concat(products, axis=0)

    def _split_by_layer(self, hyperplane: tf.Tensor, rows: tf.Tensor) -> list[tf.Tensor]:
        """Splits the rows of a hyperplane into those of each layer."""
        spans = self._schedule.layer_spans
        assert spans is not None
        layers = self._shape[0]
        if (spans == spans[:1]).all():
            return [rows[spans[0, at] : spans[0, at + 1]] for at in range(layers)]
        span = tf.gather(tf.constant(spans), hyperplane)
        return [rows[span[at] : span[at + 1]] for at in range(layers)]

    def kernel_gradient(self, h_concat: tf.Tensor, d_product: tf.Tensor) -> tf.Tensor:
        """Computes dL/dW as one tall product per kernel, over the rows of all hyperplanes.

        Args:
          h_concat: The concatenated hidden vectors H, `[all rows, batch, n]`.
          d_product: The gradient dL/d(W H), `[all rows, batch, m]`.
        """
        kernels = []
        for rows in _rows_of_kernels(self._schedule, self._shape[0]):
            n, m = (
                tf.reshape(_gather(values, rows), [-1, width])
                for values, width in zip((h_concat, d_product), self._shape[1:], strict=True)
            )
            kernels.append(tf.matmul(n, m, transpose_a=True))
        return tf.cast(tf.stack(kernels), self._kernel_dtype)


class LayerVectors:
    """Looks up the bias or the gain of each row of a hyperplane.

    Args:
      vectors: The vectors of the layers, `[layers | 1, m]`.
      schedule: The schedule of the grid.
      jits_step: Whether the look-up is part of an XLA program.
    """

    def __init__(self, vectors: tf.Tensor, schedule: Schedule, jits_step: bool):
        self._vectors = vectors
        self._shared = vectors[0]
        self._schedule = schedule
        self._jits_step = jits_step

    def lookup(self, hyperplane: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of the rows of a hyperplane, broadcastable to `[rows, batch, m]`."""
        schedule = self._schedule
        if self._vectors.shape[0] == 1:
            return self._shared
        return _of_rows(self._vectors, schedule, hyperplane)[:, None]

    def gradient(self, d_rows: tf.Tensor) -> tf.Tensor:
        """Sums the gradients `[all rows, batch, m]` of the rows that share a vector."""
        sums = []
        for rows in _rows_of_kernels(self._schedule, self._vectors.shape[0]):
            flat = tf.reshape(_gather(d_rows, rows), [-1, self._vectors.shape[1]])
            sums.append(sum_rows(flat, self._vectors.dtype, self._jits_step))
        return tf.stack(sums)


class LayerParameters:
    """Looks up the cell's own parameters of each row of a hyperplane, and sums their gradients.

    Args:
      parameters: The parameters, `[layers | 1, ...]` each; () for a cell without.
      schedule: The schedule of the grid.
    """

    def __init__(self, parameters: Parameters, schedule: Schedule):
        self._parameters = parameters
        self._schedule = schedule

    def lookup(self, hyperplane: tf.Tensor) -> Parameters:
        """Returns the parameters of the rows of a hyperplane; see `cells.cell.Parameters`."""
        values = []
        for one in self._parameters:
            if one.shape[0] == 1:
                values.append(one[0])
                continue
            of_rows = _of_rows(one, self._schedule, hyperplane)
            values.append(of_rows[:, None] if len(one.shape) == 2 else of_rows)
        return tuple(values)

    def gradients(self, layer_gradients: Callable[..., Parameters], *rows: tf.Tensor) -> Parameters:
        """Computes the gradients of the parameters, `[layers | 1, ...]` each.

        Args:
          layer_gradients: Maps the rows of one layer and its parameters to their gradients.
          *rows: The arguments, `[all rows, batch, ...]` each.
        """
        if not self._parameters:
            return ()
        layers = []
        for layer, own in enumerate(_rows_of_kernels(self._schedule, self._parameters[0].shape[0])):
            parameters = tuple(one[layer] for one in self._parameters)
            gathered = (_gather(part, own) for part in rows)
            layers.append(layer_gradients(*gathered, parameters))
        return tuple(tf.stack(parts) for parts in zip(*layers, strict=True))


def _of_rows(values: tf.Tensor, schedule: Schedule, hyperplane: tf.Tensor) -> tf.Tensor:
    """Returns the entry of `[layers, ...]` that belongs to each row of a hyperplane."""
    if schedule.layers is not None:
        return schedule.layers.slice(values, hyperplane)
    cells = schedule.rows.slice(schedule.cells, hyperplane)
    return tf.gather(values, cells % values.shape[0])


def sum_rows(rows: tf.Tensor, dtype: tf.DType, jits_step: bool) -> tf.Tensor:
    """Sums rows `[rows, m]` to `[m]` in a dtype, rounded once.

    XLA fuses a product with ones into loops that take several times as long as a reduction. Outside
    of XLA the product needs no copy of the rows in that dtype.

    Args:
      rows: The rows, `[rows, m]`.
      dtype: The dtype of the sum.
      jits_step: Whether the sum is part of an XLA program.
    """
    if jits_step:
        return tf.reduce_sum(tf.cast(rows, dtype), axis=0)
    ones = tf.ones([1, tf.shape(rows)[0]], rows.dtype)
    return tf.cast(tf.matmul(ones, rows)[0], dtype)


def _rows_of_kernels(schedule: Schedule, kernels: int) -> Sequence[tf.Tensor | None]:
    """Returns which rows use each kernel; None for all, padding included, whose gradients are 0."""
    return (None,) if kernels == 1 else schedule.layer_rows


def _gather(values: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
    return values if rows is None else tf.gather(values, rows)


def _flat_product(rows: tf.Tensor, kernel: tf.Tensor, transpose: bool, width: int) -> tf.Tensor:
    """Multiplies `[rows, batch, n]` by one kernel, as one product."""
    flat = tf.reshape(rows, [-1, rows.shape[-1]])
    product = tf.matmul(flat, kernel, transpose_b=transpose)
    return tf.reshape(product, [-1, *shape_of(rows)[1:-1], width])
