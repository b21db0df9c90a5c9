"""Products by groups, against a product per row."""

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.contexts.grouped_products import grouped_products


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_each_row_is_multiplied_by_the_kernel_of_its_group(count, jit_compile):
    rng = generator()
    rows = rng.normal(size=(count, 5))
    kernels = rng.normal(size=(4, 5, 3))
    groups = rng.integers(0, 5, count)
    extended = np.concatenate([kernels, np.zeros((1, 5, 3))])
    expected = np.einsum("ru,ruv->rv", rows, extended[groups])
    d_expected = rng.normal(size=expected.shape)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def product(rows, kernels):
        with tf.GradientTape() as tape:
            tape.watch((rows, kernels))
            products = grouped_products(rows, tf.constant(groups, tf.int32), kernels, block=4)
        gradients = tape.gradient(products, (rows, kernels), output_gradients=d_expected)
        return products, *map(tf.convert_to_tensor, gradients)

    products, d_rows, d_kernels = product(tf.constant(rows), tf.constant(kernels))
    np.testing.assert_allclose(products, expected, atol=1e-12)
    d_rows_expected = np.einsum("rv,ruv->ru", d_expected, extended[groups])
    np.testing.assert_allclose(d_rows, d_rows_expected, atol=1e-12)
    for number in range(4):
        of_group = rows[groups == number].T @ d_expected[groups == number]
        np.testing.assert_allclose(d_kernels[number], of_group, atol=1e-12)


def test_rows_may_all_be_of_one_group_or_of_none():
    rows = tf.constant(generator().normal(size=(9, 2)))
    kernels = tf.constant(generator().normal(size=(3, 2, 2)))
    for group in (0, 2):
        products = grouped_products(rows, tf.fill([9], group), kernels, block=4)
        np.testing.assert_allclose(products, rows @ kernels[group], atol=1e-12)
    np.testing.assert_array_equal(
        grouped_products(rows, tf.fill([9], 3), kernels), np.zeros((9, 2))
    )


def test_the_number_of_rows_may_be_unknown_until_it_runs():
    function = tf.function(
        grouped_products,
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, 2], tf.float64),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([3, 2, 2], tf.float64),
        ],
    )
    kernels = generator().normal(size=(3, 2, 2))
    for count in (0, 1, 50):
        rows = generator().normal(size=(count, 2))
        groups = generator().integers(0, 3, count).astype(np.int32)
        expected = np.einsum("ru,ruv->rv", rows, kernels[groups])
        np.testing.assert_allclose(function(rows, groups, kernels), expected, atol=1e-12)
