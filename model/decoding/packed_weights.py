"""The packed kernels of a net, and the products of its decode step with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.cell import Cell
from ..config import Precision
from ..errors import InputError
from .packed_kernels import (
    PackedKernel,
    product_of_layer,
    product_of_unbounded,
    products_of_all,
    quantize,
)


class PackedWeights(NamedTuple):
    """The kernels of a net, by the vectors that they are applied to.

    Attributes:
      old: The kernels of the hidden vectors that enter a block, per dimension; of a stacked LSTM
        those of its own old vector and of the layer below.
      new: The kernels of the hidden vectors that leave a grid's block, per dimension.
      scales: The factors of the sums of products, per dimension, `[layers | 1, width]`; empty
        unless the kernels are integers.
      table: The sums of products of the vectors that can enter the bottom, a row each,
        `[vectors, width]`; empty without a table.
    """

    old: tuple[list[PackedKernel], ...]
    new: tuple[list[PackedKernel], ...] = ()
    scales: tuple[tf.Tensor, ...] = ()
    table: tuple[tf.Tensor, ...] = ()


def require_bounded(cell: Cell, precision: Precision) -> None:
    """Refuses kernels of 8-bit integers for a cell whose hidden vectors are not bounded by 1."""
    if precision == "int8" and not cell.is_bounded:
        raise InputError(
            f"the hidden vectors of the cell {cell.name!r} are not all within 1 of 0, as kernels "
            f"of 8-bit integers need them; use float32 or bfloat16"
        )


def quantize_all(
    kernels: list[tf.Tensor], precision: Precision
) -> tuple[Sequence[tf.Tensor], tuple[tf.Tensor, ...]]:
    """Returns the kernels as `packed_kernels.pack` takes them, and their scales if any."""
    if precision != "int8":
        return kernels, ()
    integers, scales = zip(*map(quantize, kernels), strict=True)
    return integers, scales


def table_of(
    entering: tf.Tensor | None,
    first: dict[int, tf.Tensor],
    scales: tuple[tf.Tensor, ...],
    kernels: list[tf.Tensor],
) -> tuple[tf.Tensor, ...]:
    """Returns `PackedWeights.table` from the first layer's kernels, by the dimension using them."""
    width = sum(kernel.shape[1] for kernel in first.values())
    most = sum(kernel.shape.num_elements() for kernel in kernels)
    if entering is None or entering.shape[0] * width > most:
        return ()
    products = {i: entering @ tf.cast(kernel, entering.dtype) for i, kernel in first.items()}
    if scales:
        products = {i: tf.math.divide_no_nan(one, scales[i][0]) for i, one in products.items()}
    return (tf.concat(list(products.values()), axis=-1),)


class Products:
    """Products of the same vectors with packed kernels, by the dimension that uses them."""

    def __init__(self, kernels: list[PackedKernel], widths: dict[int, int]):
        self._kernels = kernels
        self._widths = widths

    def of_all(self, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """Returns the products of `[layers, batch, units]`, each layer with its own kernel."""
        return self._by_user([products_of_all(kernel, rows) for kernel in self._kernels])

    def of_entering(self, hidden: tf.Tensor, table: tuple[tf.Tensor, ...]) -> dict[int, tf.Tensor]:
        """Returns the products of what enters the bottom with the first layer's kernels."""
        if table:
            return self._by_user([tf.gather(one, hidden) for one in table])
        return self._by_user([product_of_unbounded(one, hidden) for one in self._kernels])

    def of_layer(self, layer: Any, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """Returns the products of `[batch, units]` with the kernels of one layer."""
        return self._by_user([product_of_layer(one, layer, rows) for one in self._kernels])

    def _by_user(self, products: list[tf.Tensor]) -> dict[int, tf.Tensor]:
        """Splits joined products, and cuts off the columns of padding."""
        widths = list(self._widths.values())
        if len(products) < len(widths):
            padding = products[0].shape[-1] - sum(widths)
            products = tf.split(products[0], [*widths, padding], axis=-1)[:-1]
        return {
            user: product if product.shape[-1] == width else product[..., :width]
            for (user, width), product in zip(self._widths.items(), products, strict=True)
        }
