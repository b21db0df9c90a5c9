"""Packed kernels against products in float64."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import needs_integer_products

from model.packed_kernels import pack, product_of_layer, products_of_all

LAYERS, BATCH, UNITS = 3, 5, 24
PRECISIONS = [
    "float32",
    "bfloat16",
    pytest.param("int8", marks=needs_integer_products),
]
BOUNDS = {"float32": 1e-6, "bfloat16": 1e-2, "int8": 2e-2}


def rows_and_kernel(copies, width):
    rng = np.random.default_rng()
    rows = rng.normal(size=(LAYERS, BATCH, UNITS)).astype(np.float32)
    return rows, rng.normal(size=(copies, UNITS, width)).astype(np.float32)


def products(kernel, rows):
    """Those of all layers at once, and of one after the other."""

    @tf.function
    def both(rows):
        each = [product_of_layer(kernel, layer, rows[layer]) for layer in range(LAYERS)]
        return products_of_all(kernel, rows), tf.stack(each)

    return [one.numpy() for one in both(rows)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("copies", [1, LAYERS])
@pytest.mark.parametrize("width", [64, 70])
def test_products_are_those_of_the_kernel(precision, copies, width):
    rows, kernel = rows_and_kernel(copies, width)
    expected = rows.astype(np.float64) @ kernel
    (packed,) = pack([tf.constant(kernel)], precision)
    for found in products(packed, rows):
        error = np.abs(found[..., :width] - expected).max()
        assert error < BOUNDS[precision] * np.abs(expected).max()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_of_as_many_layers_are_joined(precision):
    rows, first = rows_and_kernel(1, 64)
    _, second = rows_and_kernel(1, 64)
    _, per_layer = rows_and_kernel(LAYERS, 64)
    (joined,) = pack([tf.constant(first), tf.constant(second)], precision)
    assert len(pack([tf.constant(first), tf.constant(per_layer)], precision)) == 2
    (alone,) = pack([tf.constant(second)], precision)
    np.testing.assert_allclose(
        products(joined, rows)[0][..., 64:], products(alone, rows)[0], rtol=1e-5, atol=1e-5
    )


def test_integers_are_the_nearest():
    _, kernel = rows_and_kernel(2, 8)
    kernel[1, :, 3] = 0
    (packed,) = pack([tf.constant(kernel)], "int8")
    assert packed.scales.shape == (2, 8) and packed.scales[1, 3] == 0
    for integers, scales, exact in zip(packed.layers, packed.scales, kernel, strict=True):
        assert integers.dtype == tf.int8
        largest = np.abs(integers).max(axis=0)
        np.testing.assert_array_equal(largest, np.where(scales > 0, 127, 0))
        error = np.abs(integers.numpy().astype(np.float64) * scales - exact)
        assert (error <= 0.501 * scales.numpy()).all()


@needs_integer_products
def test_what_becomes_of_a_row_does_not_depend_on_the_others():
    rows, kernel = rows_and_kernel(1, 70)
    (packed,) = pack([tf.constant(kernel)], "int8")
    _, together = products(packed, rows)
    changed = rows.copy()
    changed[:, 1:] *= 1e6
    _, beside_others = products(packed, changed)
    np.testing.assert_array_equal(beside_others[:, 0], together[:, 0])


@needs_integer_products
def test_sums_of_the_largest_integers_are_exact():
    units = 4096
    rows = np.full([1, 1, units], 1.0, np.float32)
    (packed,) = pack([tf.fill([1, units, 8], -1.0)], "int8")
    product = tf.function(lambda rows: packed.product(0, rows))(rows[0])
    np.testing.assert_allclose(product, np.full([1, 8], -units), rtol=1e-6)
