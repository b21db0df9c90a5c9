"""Kernels laid out for products with few rows, as sampling has them.

What bounds a text alone is the reading of the kernels. So these are laid out once for many steps,
in the order in which they are read, or rounded to integers of 8 bits.
"""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import tensorflow as tf
from tensorflow.python.framework import op_def_library

from ..shapes import shape_of

Precision = Literal["float32", "bfloat16", "int8"]

BLOCK = 64  # columns
LARGEST = 127
ALL_ZERO = 1e-30  # what is smaller than this counts as nothing


class BlockedKernel(NamedTuple):
    """A kernel in blocks of columns, for products in its own dtype.

    In bfloat16 oneDNN reads blocks of 64 columns, one after the other, up to 1.4 times as fast as
    the same columns side by side; in float32 it does not.

    Attributes:
      layers: of each layer, or of all, `[units, width]`, or `[blocks, units, BLOCK]` in bfloat16.
    """

    layers: tuple[tf.Tensor, ...]

    @classmethod
    def of(cls, kernel: tf.Tensor, dtype: tf.DType | str) -> "BlockedKernel":
        """Packs a kernel `[layers | 1, units, width]`."""
        kernel = tf.cast(kernel, dtype)
        if kernel.dtype == tf.bfloat16:
            copies, units, width = kernel.shape
            kernel = tf.pad(kernel, [[0, 0], [0, 0], [0, -width % BLOCK]])
            blocks = tf.reshape(kernel, [copies, units, -1, BLOCK])
            kernel = tf.transpose(blocks, [0, 2, 1, 3])
        return cls(tuple(tf.unstack(kernel)))

    def product(self, layer: int, rows: tf.Tensor) -> tf.Tensor:
        """`[batch, units]` with the kernel of a layer, `[batch, width]` or some columns more."""
        kernel = self.layers[layer]
        entering = tf.cast(rows, kernel.dtype)
        if len(kernel.shape) == 2:
            return tf.cast(tf.matmul(entering, kernel), rows.dtype)
        product = tf.transpose(tf.matmul(entering[None], kernel), [1, 0, 2])
        width = kernel.shape[0] * kernel.shape[2]
        return tf.cast(tf.reshape(product, [-1, width]), rows.dtype)


class QuantizedKernel(NamedTuple):
    """A kernel of integers, with which products are sums of integers.

        x W ~ s sum_k a_k B_k;   a = round(127 x), B = round(W / (127 s)), s = max |W| / 127^2

    for |x| <= 1, as hidden vectors are, with an s per column of W; see `quantized`. What becomes of
    a row does not depend on the rows beside it, and sums of integers do not on their order; see
    `has_integer_products`. Not for eager execution.

    Attributes:
      layers: B of each layer, or of all, `[units, width]`, int8.
    """

    layers: tuple[tf.Tensor, ...]

    def product(self, layer: int, rows: tf.Tensor) -> tf.Tensor:
        """The sums of `[batch, units]` with the kernel of a layer, `[batch, width]`, float32."""
        return _integer_product(_integers(rows), self.layers[layer])


PackedKernel = BlockedKernel | QuantizedKernel


def is_shared(kernel: PackedKernel) -> bool:
    """Whether all layers have the same."""
    return len(kernel.layers) == 1


def product_of_layer(kernel: PackedKernel, layer: int | tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The product of `[batch, units]` with the kernel of one layer; a tensor if it is shared.

    Of a `QuantizedKernel` the sum, for rows within 1 of 0; likewise in what follows.
    """
    return kernel.product(0 if is_shared(kernel) else layer, rows)


def product_of_any(kernel: PackedKernel, rows: tf.Tensor) -> tf.Tensor:
    """That of the first layer, for rows of any size."""
    if isinstance(kernel, BlockedKernel):
        return kernel.product(0, rows)
    largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    return kernel.product(0, rows / tf.maximum(largest, ALL_ZERO)) * largest


def products_of_all(kernel: PackedKernel, rows: tf.Tensor) -> tf.Tensor:
    """The products of `[layers, batch, units]`, each layer with its own kernel.

    A kernel that the layers share is read once.
    """
    if is_shared(kernel):
        flat = kernel.product(0, tf.reshape(rows, [-1, rows.shape[-1]]))
        return tf.reshape(flat, [*shape_of(rows)[:-1], -1])
    return tf.stack([kernel.product(layer, one) for layer, one in enumerate(tf.unstack(rows))])


def pack(kernels: Sequence[tf.Tensor], dtype: tf.DType | str) -> list[PackedKernel]:
    """Packs kernels `[layers | 1, units, width]` of the same vectors; joined if they can be."""
    # Kernels that all layers share are not to be repeated for each.
    if len({kernel.shape[0] for kernel in kernels}) == 1 and len(kernels) > 1:
        kernels = [tf.concat(kernels, axis=-1)]
    if dtype == "int8":
        return [QuantizedKernel(tuple(tf.unstack(kernel))) for kernel in kernels]
    return [BlockedKernel.of(kernel, dtype) for kernel in kernels]


def quantized(kernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """B and s of a kernel `[layers | 1, units, width]`; see `QuantizedKernel`."""
    kernel = tf.cast(kernel, tf.float32)
    largest = tf.reduce_max(tf.abs(kernel), axis=1)
    integers = _integers(kernel / tf.maximum(largest, ALL_ZERO)[:, None])
    return integers, largest / LARGEST**2


@functools.cache
def has_integer_products() -> bool:
    """Whether a `QuantizedKernel` computes here what it says.

    On x86 that takes VNNI, as Xeons have it since Cascade Lake and AMD since Zen 4. Without it
    oneDNN adds pairs of products in 16 bits, which overflow; other builds of TensorFlow lack the
    operation.
    """
    try:
        return bool(tf.function(integer_products_are_exact, autograph=False)())
    except (tf.errors.OpError, TypeError, ValueError):
        return False


def integer_products_are_exact() -> tf.Tensor:
    """Whether the machine that runs the graph multiplies the largest integers exactly; a scalar."""
    largest = tf.fill([64, 64], tf.constant(LARGEST, tf.int8))
    return tf.reduce_all(_integer_product(largest, -largest) == -64.0 * LARGEST**2)


def _integers(values):
    """Values within 1 of 0 as integers of 8 bits."""
    return tf.cast(tf.round(values * LARGEST), tf.int8)


def _integer_product(rows, kernel):
    """The exact product of int8 `[batch, units]` and `[units, width]`, as float32.

    By the operation that TensorFlow itself puts in the place of quantized products, as it alone
    keeps a kernel that never changes in the order that oneDNN reads.
    """
    ends = [tf.constant(float(sign * LARGEST)) for sign in (-1, 1)]  # so nothing is scaled
    outputs, _ = op_def_library.apply_op(
        "_QuantizedMatMul",
        name="quantized_product",
        # Loops carry no quantized types.
        device_inputs=[
            tf.bitcast(rows, tf.qint8),
            tf.bitcast(kernel, tf.qint8),
            tf.zeros([kernel.shape[1]]),
        ],
        host_inputs=[*ends, *ends],
        Tdevice_outputs=[tf.float32],
        Thost_outputs=[],
        T1=tf.qint8,
        T2=tf.qint8,
        Tbias=tf.float32,
        U=tf.float32,
        Tout=tf.float32,
        transpose_a=False,
        transpose_b=False,
        is_weight_const=True,
        is_bias_const=True,
        fused_ops=["BiasAdd", "Dequantize"],
        input_quant_mode="SCALED",
        output_quant_mode="SCALED",
        leakyrelu_alpha=0.2,
    )
    product = outputs[0]
    product.set_shape([rows.shape[0], kernel.shape[1]])
    return product
