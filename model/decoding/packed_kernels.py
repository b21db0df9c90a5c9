"""Packed kernels: kernels laid out for products with few rows, as decoding has them.

Decoding a single text is bound by the memory bandwidth at which kernels are read. So they are laid
out once for many steps, in the order in which they are read, or rounded to integers of 8 bits.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from tensorflow.python.framework import op_def_library

from ..shapes import shape_of

BLOCK = 64
"""The number of columns of a block."""

LARGEST = 127
"""The largest 8-bit integer in use."""

SMALLEST_SCALE = 1e-30
"""The smallest divisor: what is smaller counts as zero."""


class BlockedKernel(NamedTuple):
    """A kernel in blocks of columns, for products in its own dtype.

    In bfloat16 oneDNN reads blocks of 64 columns, one after the other, up to 1.4 times as fast as
    the same columns side by side; in float32 it does not.

    Attributes:
      layers: The kernel of each layer, or the one that all share, `[units, width]`, or
        `[blocks, units, BLOCK]` in bfloat16.
    """

    layers: tuple[tf.Tensor, ...]

    @classmethod
    def pack(cls, kernel: tf.Tensor, dtype: tf.DType | str) -> "BlockedKernel":
        """Packs a kernel `[layers | 1, units, width]` in a dtype."""
        kernel = tf.cast(kernel, dtype)
        if kernel.dtype == tf.bfloat16:
            copies, units, width = kernel.shape
            kernel = tf.pad(kernel, [[0, 0], [0, 0], [0, -width % BLOCK]])
            blocks = tf.reshape(kernel, [copies, units, -1, BLOCK])
            kernel = tf.transpose(blocks, [0, 2, 1, 3])
        return cls(tuple(tf.unstack(kernel)))

    def product(self, layer: int, rows: tf.Tensor) -> tf.Tensor:
        """Multiplies `[batch, units]` by the kernel of a layer: `[batch, width]`, or some more."""
        kernel = self.layers[layer]
        entering = tf.cast(rows, kernel.dtype)
        if len(kernel.shape) == 2:
            return tf.cast(tf.matmul(entering, kernel), rows.dtype)
        product = tf.transpose(tf.matmul(entering[None], kernel), [1, 0, 2])
        width = kernel.shape[0] * kernel.shape[2]
        return tf.cast(tf.reshape(product, [-1, width]), rows.dtype)


class QuantizedKernel(NamedTuple):
    """A kernel of 8-bit integers, with which products are sums of integers.

        x W ~ s sum_k a_k B_k;   a = round(127 x), B = round(W / (127 s)), s = max |W| / 127^2

    for |x| <= 1, as hidden vectors are, with an s per column of W; see `quantize`. The product of a
    row does not depend on the rows beside it, nor a sum of integers on its order; see
    `has_integer_products`. It cannot be executed eagerly.

    Attributes:
      layers: B of each layer, or the one that all share, `[units, width]`, int8.
    """

    layers: tuple[tf.Tensor, ...]

    def product(self, layer: int, rows: tf.Tensor) -> tf.Tensor:
        """Returns the sums of products `[batch, width]`, float32, of `[batch, units]`."""
        return _integer_product(_to_int8(rows), self.layers[layer])


PackedKernel = BlockedKernel | QuantizedKernel


def is_shared(kernel: PackedKernel) -> bool:
    """Returns whether all layers share one kernel."""
    return len(kernel.layers) == 1


def product_of_layer(kernel: PackedKernel, layer: int | tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Multiplies `[batch, units]` by the kernel of one layer.

    For a `QuantizedKernel` the result is the unscaled sum, and the rows must lie within [-1, 1].

    Args:
      kernel: The packed kernel.
      layer: The index of the layer; a tensor only if the kernel is shared.
      rows: The rows, `[batch, units]`.
    """
    return kernel.product(0 if is_shared(kernel) else layer, rows)


def product_of_unbounded(kernel: PackedKernel, rows: tf.Tensor) -> tf.Tensor:
    """Multiplies rows of any size, `[batch, units]`, by the kernel of the first layer."""
    if isinstance(kernel, BlockedKernel):
        return kernel.product(0, rows)
    largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
    return kernel.product(0, rows / tf.maximum(largest, SMALLEST_SCALE)) * largest


def products_of_all(kernel: PackedKernel, rows: tf.Tensor) -> tf.Tensor:
    """Multiplies `[layers, batch, units]`, each layer by its own kernel.

    A kernel that the layers share is read once.

    Args:
      kernel: The packed kernel.
      rows: The rows of each layer.
    """
    if is_shared(kernel):
        flat = kernel.product(0, tf.reshape(rows, [-1, rows.shape[-1]]))
        return tf.reshape(flat, [*shape_of(rows)[:-1], -1])
    return tf.stack([kernel.product(layer, one) for layer, one in enumerate(tf.unstack(rows))])


def pack(kernels: Sequence[tf.Tensor], dtype: tf.DType | str) -> list[PackedKernel]:
    """Packs kernels that are applied to the same vectors; joined where they can be.

    Args:
      kernels: The kernels, `[layers | 1, units, width]`; for "int8" as `quantize` returns them.
      dtype: The dtype of the packed kernels, or "int8".
    """
    # Kernels that all layers share are not to be repeated for each.
    if len({kernel.shape[0] for kernel in kernels}) == 1 and len(kernels) > 1:
        kernels = [tf.concat(kernels, axis=-1)]
    if dtype == "int8":
        return [QuantizedKernel(tuple(tf.unstack(kernel))) for kernel in kernels]
    return [BlockedKernel.pack(kernel, dtype) for kernel in kernels]


def quantize(kernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns B and s of a kernel `[layers | 1, units, width]`; see `QuantizedKernel`."""
    kernel = tf.cast(kernel, tf.float32)
    largest = tf.reduce_max(tf.abs(kernel), axis=1)
    integers = _to_int8(kernel / tf.maximum(largest, SMALLEST_SCALE)[:, None])
    return integers, largest / LARGEST**2


@functools.cache
def has_integer_products() -> bool:
    """Returns whether this machine computes the products of a `QuantizedKernel` exactly.

    On x86 that takes VNNI, as Xeons have it since Cascade Lake and AMD since Zen 4. Without it
    oneDNN adds pairs of products in 16 bits, which overflow; other builds of TensorFlow lack the
    operation.
    """
    try:
        return bool(tf.function(integer_products_are_exact, autograph=False)())
    except (tf.errors.OpError, TypeError, ValueError):
        return False


def integer_products_are_exact() -> tf.Tensor:
    """Returns, as a scalar, whether the machine that runs the graph multiplies integers exactly."""
    largest = tf.fill([64, 64], tf.constant(LARGEST, tf.int8))
    return tf.reduce_all(_integer_product(largest, -largest) == -64.0 * LARGEST**2)


def _to_int8(values: tf.Tensor) -> tf.Tensor:
    """Rounds values within [-1, 1] to integers of 8 bits."""
    return tf.cast(tf.round(values * LARGEST), tf.int8)


def _integer_product(rows: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiplies int8 `[batch, units]` and `[units, width]` exactly, to float32.

    It uses the operation that TensorFlow itself substitutes for quantized products, as that alone
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
