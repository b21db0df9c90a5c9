"""Packed kernels against products in float64."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import needs_integer_products
from seeds import generator

from model.decoding.packed_kernels import (
    pack,
    product_of_layer,
    product_of_unbounded,
    products_of_all,
    quantize,
)

LAYERS, BATCH, UNITS = 3, 5, 24
PRECISIONS = [
    "float32",
    "bfloat16",
    pytest.param("int8", marks=needs_integer_products),
]
BOUNDS = {"float32": 1e-6, "bfloat16": 1e-2, "int8": 2e-2}


def rows_and_kernel(copies, width):
    rng = generator()
    rows = rng.uniform(-1, 1, (LAYERS, BATCH, UNITS)).astype(np.float32)
    return rows, rng.normal(size=(copies, UNITS, width)).astype(np.float32)


def packed_kernel(kernel, precision):
    """The kernel, and what its products are to be multiplied with, `[copies, 1, width]`."""
    kernel, scales = tf.constant(kernel), np.ones([len(kernel), 1, kernel.shape[2]])
    if precision == "int8":
        kernel, scales = quantize(kernel)
        scales = scales.numpy()[:, None]
    return *pack([kernel], precision), scales


def products(kernel, rows):
    """Those of all layers at once, and of one after the other."""

    @tf.function
    def both(rows):
        each = [product_of_layer(kernel, layer, rows[layer]) for layer in range(LAYERS)]
        return products_of_all(kernel, rows), tf.stack(each)

    return [one.numpy() for one in both(rows)]


def assert_near(found, expected, precision):
    assert np.abs(found - expected).max() < BOUNDS[precision] * np.abs(expected).max()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("copies", [1, LAYERS])
@pytest.mark.parametrize("width", [64, 70])
def test_products_are_those_of_the_kernel(precision, copies, width):
    rows, kernel = rows_and_kernel(copies, width)
    packed, scales = packed_kernel(kernel, precision)
    for found in products(packed, rows):
        assert_near(found[..., :width] * scales, rows.astype(np.float64) @ kernel, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [0, 1e-3, 1e3])
def test_rows_of_any_size_have_a_product(precision, size):
    rows, kernel = rows_and_kernel(LAYERS, 64)
    rows = size * rows[0]
    packed, scales = packed_kernel(kernel, precision)
    found = tf.function(lambda rows: product_of_unbounded(packed, rows))(rows).numpy() * scales[0]
    if size:
        assert_near(found, rows.astype(np.float64) @ kernel[0], precision)
    else:
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_with_the_same_number_of_layers_are_concatenated(precision):
    rows, first = rows_and_kernel(1, 64)
    _, second = rows_and_kernel(1, 64)
    _, per_layer = rows_and_kernel(LAYERS, 64)
    if precision == "int8":
        first, second, per_layer = (quantize(one)[0] for one in (first, second, per_layer))
    (joined,) = pack([tf.constant(first), tf.constant(second)], precision)
    assert len(pack([tf.constant(first), tf.constant(per_layer)], precision)) == 2
    (alone,) = pack([tf.constant(second)], precision)
    np.testing.assert_allclose(
        products(joined, rows)[0][..., 64:], products(alone, rows)[0], rtol=1e-5, atol=1e-5
    )


def test_integers_are_the_nearest():
    _, kernel = rows_and_kernel(2, 8)
    kernel[1, :, 3] = 0
    integers, scales = (one.numpy() for one in quantize(tf.constant(kernel)))
    assert integers.dtype == np.int8 and scales.shape == (2, 8) and scales[1, 3] == 0
    np.testing.assert_array_equal(np.abs(integers).max(axis=1), np.where(scales > 0, 127, 0))
    steps = 127 * scales[:, None].astype(np.float64)
    assert (np.abs(integers * steps - kernel) <= 0.501 * steps).all()


@needs_integer_products
def test_an_integer_product_of_a_row_does_not_depend_on_other_rows():
    rows, kernel = rows_and_kernel(1, 70)
    packed, _ = packed_kernel(kernel, "int8")
    of_any = tf.function(lambda rows: product_of_unbounded(packed, rows))
    changed = rows[0].copy()
    changed[1:] *= 1e6
    np.testing.assert_array_equal(of_any(changed)[0], of_any(rows[0])[0])


@needs_integer_products
def test_sums_of_the_largest_integers_are_exact():
    units = 1024
    packed, _ = packed_kernel(np.full([1, units, 8], -1.0, np.float32), "int8")
    product = tf.function(lambda rows: packed.product(0, rows))(tf.ones([1, units]))
    np.testing.assert_array_equal(product, np.full([1, 8], -units * 127**2))
