"""The executions of a grid wherever TensorFlow may put them: unknown sizes, vectorised maps."""

import functools

import pytest
import tensorflow as tf
from grids import error, grids, make_grid, value_and_gradients
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.strategies import booleans

from model.execution.compilation import OPERATIONS
from model.grid.checkpointing import grid_checkpointed
from model.grid.equations import GridEquations
from model.grid.layerwise import grid_layerwise, is_layerwise
from model.grid.reference import Sides, grid_reference
from model.grid.wavefront.wavefront import grid_wavefront

relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def wavefront(*arguments):
    return grid_wavefront(*arguments, compilation=OPERATIONS)


def inference(*arguments):
    return grid_wavefront(*arguments, compilation=OPERATIONS, training=False)


def checkpointed(sides, weights, equations, extents, *rest):
    return grid_checkpointed(sides, weights, equations, extents, 2, *rest, OPERATIONS)


def layerwise_inference(*arguments):
    return grid_layerwise(*arguments, training=False)


EXECUTIONS = [grid_reference, wavefront, inference, checkpointed, grid_layerwise]
EXECUTIONS += [layerwise_inference]


@relaxed
@given(grids(dimensions=(2,)), booleans())
def test_layerwise_equals_reference(grid, training):
    assume(is_layerwise(grid.equations))
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)
    actual = value_and_gradients(lambda: grid_layerwise(*grid, training), sources)
    assert error(actual, expected) < 1e-10


def test_layerwise_is_for_grids_whose_time_does_not_wait_for_depth():
    assert is_layerwise(GridEquations()) and is_layerwise(GridEquations(priority=()))
    assert is_layerwise(GridEquations(priority=(0, 1)))
    assert not is_layerwise(GridEquations(priority=(0,)))
    assert not is_layerwise(GridEquations(priority=(1, 0)))
    assert not is_layerwise(GridEquations(("lstm",) * 3, ()))


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("steps,batch", [(5, 2), (1, 3), (2, 1)])
def test_steps_and_batch_may_be_unknown(execution, steps, batch):
    grid = make_grid((steps, 3), batch=batch, keep=(False, True))
    sources = tf.nest.flatten(grid.sides)
    specs = [tf.TensorSpec([3, None, 3], one.dtype) for one in sources[::2]]
    specs = [part for one in specs for part in (one, tf.TensorSpec([None, None, 3], one.dtype))]

    @tf.function(autograph=False, input_signature=[specs, tf.TensorSpec([None, 1, None], tf.bool)])
    def run(flat, keep):
        sides = tf.nest.pack_sequence_as(grid.sides, flat)
        extents = (tf.shape(flat[1])[0], 3)
        leaving = execution(sides, grid.weights, grid.equations, extents, None, keep)
        top = tf.reduce_sum(leaving.hidden[1] ** 2)
        return tf.nest.flatten(leaving), tf.gradients(top, flat)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        leaving = grid_reference(*grid)
        top = tf.reduce_sum(leaving.hidden[1] ** 2)
    expected = tf.nest.flatten(leaving), tape.gradient(top, sources)
    assert error(run(sources, grid.keep), expected) < 1e-10


def test_the_reference_takes_grids_of_any_unknown_extents():
    grid = make_grid((3, 2, 2), GridEquations(("lstm",) * 3, (2,)), dropout=(0, 1, 2))

    @tf.function(autograph=False)
    def run(height, width):
        extents = (height, width, 2)
        return value_and_gradients(
            lambda: tf.nest.map_structure(
                lambda one, like: tf.ensure_shape(one, like.shape),
                grid_reference(*grid[:3], extents, grid.dropout),
                grid.sides,
            ),
            grid.sources(),
        )

    expected = value_and_gradients(lambda: grid_reference(*grid), grid.sources())
    assert error(run(tf.constant(3), tf.constant(2)), expected) < 1e-10


def tops(execution, grid, bottom):
    """The output of a grid from what enters depth, `[steps, batch, units]`."""
    *before, _ = grid.sides.hidden
    sides = Sides(hidden=(*before, bottom), memory=grid.sides.memory)
    return execution(sides, *grid[1:]).hidden[-1]


def hessian_times(execution, grid, bottom, vector):
    """The product of the Hessian of a sum over the output with a vector, by nested tapes."""
    with tf.GradientTape() as outer:
        outer.watch(bottom)
        with tf.GradientTape() as inner:
            inner.watch(bottom)
            total = tf.reduce_sum(tops(execution, grid, bottom) ** 2)
        slope = tf.reduce_sum(inner.gradient(total, bottom) * vector)
    return outer.gradient(slope, bottom)


def jacobian(execution, grid, bottom, **options):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(bottom)
        top = tops(execution, grid, bottom)
    return tape.jacobian(top, bottom, **options)


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("graph", [False, True])
def test_second_derivatives_are_the_references(execution, graph):
    grid = make_grid((3, 2), keep=(False, True))
    arguments = grid.sides.hidden[-1], tf.ones_like(grid.sides.hidden[-1])
    expected = hessian_times(grid_reference, grid, *arguments)
    run = functools.partial(hessian_times, execution, grid)
    run = tf.function(run, autograph=False) if graph else run
    assert error(run(*arguments), expected) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("graph", [False, True])
def test_jacobians_are_the_references(execution, graph):
    grid = make_grid((3, 2), batch=1, units=2, keep=(False, True))
    bottom = grid.sides.hidden[-1]
    expected = jacobian(grid_reference, grid, bottom, experimental_use_pfor=False)
    run = functools.partial(jacobian, execution, grid)
    run = tf.function(run, autograph=False) if graph else run
    assert error(run(bottom), expected) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("execution", [*EXECUTIONS[:1], wavefront, inference])
def test_jacobians_of_three_dimensions(execution):
    grid = make_grid((2, 2, 2), GridEquations(("lstm",) * 3, (2,)), batch=1, units=2)

    bottom = grid.sides.hidden[-1]
    expected = jacobian(grid_reference, grid, bottom, experimental_use_pfor=False)
    run = tf.function(functools.partial(jacobian, execution, grid), autograph=False)
    assert error(run(bottom), expected) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_vectorized_maps_and_maps(execution):
    """What enters many grids at once, and the gradient of each."""
    grid = make_grid((3, 2), batch=1)
    many = tf.stack([grid.sides.hidden[-1] * scale for scale in (0.5, 1.0, 2.0)])

    def one(bottom):
        with tf.GradientTape() as tape:
            tape.watch(bottom)
            top = tops(execution, grid, bottom)
        return top, tape.gradient(top, bottom)

    expected = tf.map_fn(one, many, fn_output_signature=(many.dtype, many.dtype))
    assert error(tf.vectorized_map(one, many), expected) < 1e-10
    mapped = tf.function(lambda: tf.map_fn(one, many, fn_output_signature=(many.dtype,) * 2))
    assert error(mapped(), expected) < 1e-10
