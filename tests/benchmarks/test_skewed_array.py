"""The skewed array of the benchmark computes what the project's schedule computes."""

import pytest
import tensorflow as tf
from grids import error

from benchmarks.skewed_array import make_step


@pytest.mark.slow
@pytest.mark.parametrize("jit", ["gates", "step"])
@pytest.mark.parametrize("steps,layers", [(7, 3), (2, 4)])
def test_both_schedules_agree(jit, steps, layers):
    size = layers, 8, 4, steps
    rows, skewed = (make_step(one, size, jit, tf.float32)() for one in ("rows", "skewed"))
    for actual, expected in zip(skewed, rows, strict=True):
        assert error(actual, expected) < 1e-5
