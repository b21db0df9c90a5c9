"""Dimensions of a grid that share their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from grids import error, value_and_gradients
from seeds import generator

from model.core import CoreInputs, State
from model.errors import InputError
from model.execution.compilation import OPERATIONS
from model.execution.plan import Plan
from model.grid.reference import flatten_weights
from model.layers import GridLSTM, GridLSTMND


def normal(*shape):
    return generator().normal(size=shape)


def pair(shape, tied_dimensions, **options):
    """A layer whose dimensions are tied, and one with the same weights whose are not."""
    tied = GridLSTMND(3, tied_dimensions=tied_dimensions, dtype="float64", **options)
    plain = GridLSTMND(3, dtype="float64", **options)
    for layer in (tied, plain):
        layer.build(shape)
        if tied.execution == "wavefront":
            layer.plan = Plan("wavefront", OPERATIONS, "float64")  # XLA would take its time
    for mine, theirs in zip(plain.block_weights, tied.block_weights, strict=True):
        for own, other in zip(tf.nest.flatten(mine), tf.nest.flatten(theirs), strict=True):
            if own is not None:
                own.assign(other)
    plain.kernel.assign(tied.kernel)
    plain.bias.assign(tied.bias)
    return tied, plain


@pytest.mark.parametrize(
    "options",
    [
        {"execution": "reference"},
        {"execution": "wavefront"},
        {"execution": "wavefront", "priority": (1, 2)},
        {"execution": "wavefront", "layer_normalization": True, "tied": "all"},
        {"execution": "wavefront", "cells": "gru", "layers": 2},
        {"execution": "wavefront", "cells": ("lstm_peephole", "lstm_peephole", "tanh")},
        {"execution": "wavefront", "remat_steps": 2, "layers": 2},
    ],
    ids=str,
)
def test_a_shared_weight_has_the_sum_of_the_gradients(options):
    x = normal(2, 4, 3, 5)
    tied, plain = pair(x.shape, ((0, 1),), **options)
    assert tied.count_params() < plain.count_params()

    def run(layer):
        variables = [part.value for part in flatten_weights([layer.block_weights[0]])]
        others = [part.value for part in flatten_weights([layer.block_weights[1]])]
        return value_and_gradients(lambda: layer(x, training=True), [*variables, *others])

    (output,), gradients = run(tied)
    (expected,), separate = run(plain)
    assert error(output, expected) < 1e-12
    half = len(gradients) // 2
    sums = [a + b for a, b in zip(separate[:half], separate[half:], strict=True)]
    assert error(gradients[:half], sums) < 1e-10
    assert min(float(tf.reduce_max(tf.abs(one))) for one in separate) > 1e-6


@pytest.mark.parametrize("execution", ["reference", "wavefront"])
def test_second_derivatives_count_a_shared_weight_once_for_each_use(execution):
    """Also where Keras hands the layer one tensor for both dimensions, as `stateless_call` does."""
    x = normal(1, 2, 2, 2)
    tied, plain = pair(x.shape, ((0, 1),), execution=execution)

    def hessian_times(layer, kernels):
        values = [tf.convert_to_tensor(one) for one in layer.trainable_variables]
        indices = [
            at for at, one in enumerate(layer.trainable_variables) for two in kernels if one is two
        ]
        with tf.GradientTape() as outer:
            outer.watch(values)
            with tf.GradientTape() as inner:
                inner.watch(values)
                output, _ = layer.stateless_call(
                    values, [one.value for one in layer.non_trainable_variables], x, training=True
                )
                loss = tf.reduce_sum(output**2)
            slopes = inner.gradient(loss, [values[at] for at in indices])
            slope = tf.add_n([tf.reduce_sum(one) for one in slopes])
        return tf.add_n(outer.gradient(slope, [values[at] for at in indices]))

    expected = hessian_times(plain, [plain.block_weights[0].kernel, plain.block_weights[1].kernel])
    assert error(hessian_times(tied, [tied.block_weights[0].kernel]), expected) < 1e-10


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_decode_steps_of_tied_time_and_depth(precision):
    """Its stored weights are one copy, and its steps those of a layer with two equal copies."""
    options = {"tied": "all", "return_sequences": True}
    layer = GridLSTM(4, 2, tied_dimensions=((0, 1),), **options)
    plain = GridLSTM(4, 2, **options)
    x = normal(2, 5, 3).astype("float32")
    expected = layer(x)
    kernel, bias, *shared = layer.get_weights()
    plain.build(x.shape)
    plain.set_weights([kernel, bias, *shared, *shared])
    stored = layer.stored_weights("float32")
    assert stored[0].kernel is stored[1].kernel

    @tf.function(autograph=False)
    def outputs(layer, weights):
        weights = tf.nest.map_structure(
            lambda part: None if part is None else tf.convert_to_tensor(part), weights
        )
        decode = layer.decode_step(layer.pack(precision), weights)
        entering = layer.core_inputs(tf.constant(x))
        state = State(tf.zeros([2, 2, 4]), tf.zeros([2, 2, 4]))
        hiddens = []
        for at in range(5):
            inputs = CoreInputs(entering.hidden[:, at], entering.memory[:, at])
            hidden, state, *_ = decode(inputs, state)
            hiddens.append(hidden)
        return tf.stack(hiddens, axis=1)

    steps = outputs(layer, stored)
    np.testing.assert_array_equal(steps, outputs(plain, plain.stored_weights("float32")))
    assert error(steps, expected) < (1e-5 if precision == "float32" else 0.2)


def test_a_gru_that_is_tied_keeps_what_is_its_own():
    """Its kernel is split by the dimension, so that stored kernels differ."""
    layer = GridLSTM(4, cells="gru", tied_dimensions=((0, 1),))
    layer.build((None, None, 3))
    time, depth = layer.stored_weights("float32")
    assert np.any(time.kernel != depth.kernel)


def test_keras_saves_and_loads_it(tmp_path):
    options = {"tied_dimensions": ((0, -1),), "tied": "all"}
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            GridLSTM(4, 2, **options),
        ]
    )
    x = normal(8, 5, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))
    assert len(again.layers[0].weights) == 4 and again.layers[0].tied_dimensions == ((0, -1),)


@pytest.mark.parametrize(
    "options,said",
    [
        ({"tied_dimensions": (0, 1)}, r"tied_dimensions is \(0, 1\); it must have groups"),
        ({"tied_dimensions": ((0, -2),)}, "names one dimension of 2; a group needs two"),
        ({"tied_dimensions": ((0, 2),)}, "tied_dimensions names dimension 2"),
        ({"tied_dimensions": ((0, 1), (1, 0))}, "must not be in two groups"),
        ({"tied_dimensions": ((0, 1),), "cells": ("lstm", "gru")}, "ties the cells gru, lstm"),
        ({"tied_dimensions": ((0, 1),), "tied": "depth"}, "use tied='all' or tied='none'"),
    ],
)
def test_mistakes_are_named(options, said):
    with pytest.raises(InputError, match=said):
        GridLSTM(4, **options)
