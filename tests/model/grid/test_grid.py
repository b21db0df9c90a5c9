"""The wavefront against the cell-by-cell definition, and that against the paper's equations."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from grids import error, grids, make_grid, norm_error, value_and_gradients
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from
from seeds import generator

from model.errors import InputError
from model.execution.compilation import Compilation
from model.grid.checkpointing import grid_checkpointed, square_root_segment
from model.grid.equations import GridEquations
from model.grid.reference import grid_reference
from model.grid.wavefront.residuals import residual_size
from model.grid.wavefront.wavefront import _Wavefront, grid_wavefront

# As trainings are planned; what Keras layers do may be vectorised.
OPERATIONS = Compilation(jit="none", vectorizes=False)
GATES = Compilation(jit="gates", vectorizes=False)
VECTORIZED = Compilation(jit="gates")
WHOLE = Compilation(jit="step")
AHEAD = Compilation(jit="step", prefetch=True)

relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def both(grid, function, *arguments, **options):
    """Values and gradients of the reference and of another execution."""
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)

    def run():
        return value_and_gradients(
            lambda: function(*grid[:4], *arguments, *grid[4:], **options), sources
        )

    compilation = options.get("compilation")
    if compilation is not None and compilation.jit != "none":
        run = tf.function(run, autograph=False, jit_compile=compilation.jits_step)
    return run(), expected


@relaxed
@given(grids(), sampled_from([OPERATIONS, OPERATIONS._replace(vectorizes=True)]))
def test_wavefront_equals_reference(grid, compilation):
    assert error(*both(grid, grid_wavefront, compilation=compilation)) < 1e-10


@pytest.mark.slow
@relaxed
@given(grids(), sampled_from([WHOLE, AHEAD]))
def test_padded_wavefront_equals_reference(grid, compilation):
    """The shapes that XLA needs, run operation by operation."""
    sources = grid.sources()
    expected = value_and_gradients(lambda: grid_reference(*grid), sources)
    actual = value_and_gradients(lambda: grid_wavefront(*grid, compilation=compilation), sources)
    assert error(actual, expected) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("compilation", [GATES, VECTORIZED, WHOLE, AHEAD])
@pytest.mark.parametrize(
    "extents,transforms,priority,shared,normalized",
    [
        ((7, 3), ("lstm", "lstm"), (1,), (), False),
        ((2, 5), ("lstm", "lstm"), (), (0, 1), True),
        ((4, 3, 2), ("lstm", "tanh", "lstm"), (1, 2), (0,), False),
    ],
)
def test_xla_agrees(compilation, extents, transforms, priority, shared, normalized):
    equations = GridEquations(transforms, priority, layer_normalization=normalized)
    grid = make_grid(extents, equations, shared, dropout=(0,), keep=[True] * len(extents))
    assert error(*both(grid, grid_wavefront, compilation=compilation)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(
    "hidden,memory,tolerance,compared",
    [
        (tf.float32, tf.float32, 1e-5, norm_error),
        (tf.bfloat16, tf.float32, 2e-2, norm_error),
    ],
)
@pytest.mark.parametrize("compilation", [GATES, VECTORIZED, WHOLE, AHEAD])
def test_low_precision_is_near_float64(hidden, memory, tolerance, compared, compilation):
    grid = make_grid((9, 3), shared=(0, 1), batch=4, units=32, hidden_dtype=hidden, dtype=memory)
    wide = tf.nest.map_structure(
        lambda part: part if part is None or part.dtype == tf.bool else tf.cast(part, tf.float64),
        grid._replace(equations=(), extents=()),
    )._replace(equations=grid.equations, extents=grid.extents)
    expected = value_and_gradients(lambda: grid_reference(*wide), wide.sources())
    run = tf.function(
        lambda: value_and_gradients(
            lambda: grid_wavefront(*grid, compilation=compilation), grid.sources()
        ),
        autograph=False,
        jit_compile=compilation.jits_step,
    )
    assert compared(run(), expected) < tolerance


@pytest.mark.slow
@relaxed
@given(grids(dimensions=(2,)))
def test_checkpointed_equals_reference(grid):
    piece = square_root_segment(grid.extents[0])
    assert error(*both(grid, grid_checkpointed, piece, compilation=OPERATIONS)) < 1e-10


@pytest.mark.parametrize("piece", [2, 4, 9])
def test_checkpointed_grids_of_three_dimensions_equal_reference(piece):
    equations = GridEquations(("lstm",) * 3, (2,), owners=(0, 0, 2))
    grid = make_grid((4, 3, 2), equations, shared=(0,), dropout=(0, 2), keep=(False, False, True))
    assert error(*both(grid, grid_checkpointed, piece, compilation=OPERATIONS)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("compilation,piece", [(GATES, 3), (VECTORIZED, 3), (WHOLE, 4), (AHEAD, 4)])
def test_checkpointed_equals_reference_in_xla(compilation, piece):
    grid = make_grid((8, 3), shared=(1,), dropout=(0, 1), keep=(False, True))
    assert error(*both(grid, grid_checkpointed, piece, compilation=compilation)) < 1e-10


def test_gradients_are_those_of_finite_differences():
    grid = make_grid((3, 2, 2), GridEquations(("lstm",) * 3, (2,), "tanh(o*m)", True), units=2)
    sources = grid.sources()
    _, gradients = value_and_gradients(lambda: grid_wavefront(*grid), sources)

    def loss(changed):
        sides, weights = tf.nest.pack_sequence_as([grid.sides, list(grid.weights)], changed)
        outputs = tf.nest.flatten(grid_wavefront(sides, weights, *grid[2:], training=False))
        return sum(
            float(
                tf.reduce_sum(o * tf.reshape(tf.cos(tf.range(tf.size(o), dtype=o.dtype)), o.shape))
            )
            for o in outputs
        )

    rng = generator()
    for which, source in enumerate(sources):
        direction = rng.normal(size=source.shape)
        ends = []
        for sign in (1, -1):
            changed = list(sources)
            changed[which] = source + sign * 1e-7 * direction
            ends.append(loss(changed))
        slope = (ends[0] - ends[1]) / 2e-7
        expected = float(tf.reduce_sum(gradients[which] * direction))
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_reference_is_the_papers_block():
    """Section 3.1 in NumPy: H, four gates per dimension, h' = tanh(o * m')."""
    grid = make_grid((2, 3), GridEquations(priority=(), output_equation="tanh(o*m)"), units=4)
    hidden = {("time", layer): grid.sides.hidden[0][layer].numpy() for layer in range(3)}
    memory = {("time", layer): grid.sides.memory[0][layer].numpy() for layer in range(3)}
    tops = []
    for step in range(2):
        h, m = grid.sides.hidden[1][step].numpy(), grid.sides.memory[1][step].numpy()
        for layer in range(3):
            together = np.concatenate([hidden["time", layer], h], axis=1)
            new = []
            for weights, old in zip(grid.weights, (memory["time", layer], m), strict=True):
                z = together @ weights.kernel[layer].numpy() + weights.bias[layer].numpy()
                i, f, o, g = np.split(z, 4, axis=1)
                cell = sigmoid(f) * old + sigmoid(i) * np.tanh(g)
                new.append((np.tanh(sigmoid(o) * cell), cell))
            (hidden["time", layer], memory["time", layer]), (h, m) = new
        tops.append(h)
    leaving = grid_reference(*grid)
    assert error(leaving.hidden[1], np.stack(tops)) < 1e-12
    assert error(leaving.memory[0], np.stack([memory["time", at] for at in range(3)])) < 1e-12


def test_the_mogrifier_is_that_of_the_paper():
    """Melis et al., equations 1 and 2 in NumPy: x is what depth carries, h what time carries."""
    grid = make_grid((1, 1), GridEquations(priority=(), mogrifier_rounds=5), units=4)
    time, depth = grid.weights
    h, x = (one[0].numpy() for one in grid.sides.hidden)
    for number in range(5):
        source, target = (h, depth) if number % 2 == 0 else (x, time)
        down, up = (kernel[0].numpy() for kernel in target.mogrifier[number // 2])
        factors = 2 * sigmoid(source @ down @ up)
        h, x = (h, factors * x) if number % 2 == 0 else (factors * h, x)
    plain = GridEquations(priority=())
    gated = grid._replace(sides=grid.sides._replace(hidden=(h[None], x[None])), equations=plain)
    leaving = grid_wavefront(*grid)
    assert error(leaving, grid_reference(*gated)) < 1e-12
    assert error(leaving, grid_reference(*grid._replace(equations=plain))) > 1e-3


@pytest.mark.slow
def test_priority_dimensions_see_what_was_computed_before():
    """Each order of priority has its own result, and each is the reference's."""
    grid = make_grid((2, 2, 2), GridEquations(("lstm",) * 3, ()))
    results = []
    for priority in itertools.permutations(range(3)):
        ordered = grid._replace(equations=GridEquations(("lstm",) * 3, priority))
        results.append(grid_wavefront(*ordered).hidden[2].numpy())
        assert error(results[-1], grid_reference(*ordered).hidden[2]) < 1e-10
    assert all(np.abs(a - b).max() > 1e-6 for a, b in itertools.combinations(results, 2))


@pytest.mark.slow
def test_sequences_of_any_length_and_batch_share_a_graph():
    grid = make_grid((6, 3), shared=(1,))
    layers, units = 3, 3

    state = [tf.TensorSpec([layers, None, units], tf.float64)] * 2
    bottom = [tf.TensorSpec([None, None, units], tf.float64)] * 2

    @tf.function(autograph=False, input_signature=[state, bottom])
    def run(state, bottom):
        sides = type(grid.sides)(*zip(state, bottom, strict=True))
        extents = (tf.shape(bottom[0])[0], layers)
        top = grid_wavefront(sides, grid.weights, grid.equations, extents).hidden[1]
        return top, tf.gradients(top, bottom[0])[0]

    for steps, batch in ((6, 2), (1, 5), (2, 1)):
        other = make_grid((steps, layers), batch=batch)._replace(weights=grid.weights)
        state, bottom = ([side[i] for side in other.sides] for i in range(2))
        with tf.GradientTape() as tape:
            tape.watch(bottom)
            sides = type(grid.sides)(*zip(state, bottom, strict=True))
            top = grid_reference(sides, *other[1:]).hidden[1]
        expected = top, tape.gradient(top, bottom[0])
        assert error(run(state, bottom), expected) < 1e-10
    assert run.experimental_get_tracing_count() == 1


def test_a_sequence_equals_its_pieces():
    grid = make_grid((9, 3), shared=(1,))
    whole = grid_wavefront(*grid)
    sides, tops = grid.sides, []
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        bottom = [values[1][part] for values in grid.sides]
        entering = type(sides)(*((side[0], one) for side, one in zip(sides, bottom, strict=True)))
        extents = (part.stop - part.start, 3)
        sides = grid_wavefront(entering, grid.weights, grid.equations, extents)
        tops.append(sides.hidden[1])
    assert error(tf.concat(tops, axis=0), whole.hidden[1]) < 1e-12
    assert error([sides.hidden[0], sides.memory[0]], [whole.hidden[0], whole.memory[0]]) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("steps,layers", [(7, 3), (2, 4)])
def test_the_residuals_are_as_many_as_the_formula_says(steps, layers, normalized):
    equations = GridEquations(layer_normalization=normalized)
    units, batch = 16, 2
    grid = make_grid(
        (steps, layers), equations, (0, 1), batch, units, hidden_dtype=tf.bfloat16, dtype=tf.float32
    )
    padded = (steps + layers - 1) * min(steps, layers)
    for compilation, blocks in ((GATES, steps * layers), (WHOLE, padded)):
        wavefront = _Wavefront(*grid[1:4], None, None, compilation)
        residuals = wavefront.forward(grid.sides, save_residuals=True)[1]
        found = {tf.bfloat16: 0, tf.float32: 0}
        for array in tf.nest.flatten(residuals):
            for at in range(steps + layers - 1):
                entry = array.read(at)
                found[entry.dtype] += int(tf.size(entry))
        computed, memories = residual_size(equations)
        scales = 8 * normalized  # one for each gate
        assert found[tf.bfloat16] == computed * units * batch * blocks
        assert found[tf.float32] == (memories * units + scales) * batch * blocks


def test_checkpointing_stores_the_square_root():
    kept = {}
    for steps in (16, 64, 256):
        piece = square_root_segment(steps)
        kept[steps] = piece * sum(residual_size(GridEquations())) + 2 * steps // piece
    assert kept[64] < 2.1 * kept[16]
    assert kept[256] < 2.1 * kept[64]


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda: GridEquations(("lstm", "grru")), "there is no cell 'grru'; did you mean gru?"),
        (lambda: GridEquations(priority=(2,)), "priority names dimension 2"),
        (lambda: GridEquations(priority=(1, 1)), "priority is (1, 1)"),
        (lambda: GridEquations(output_equation="tanh"), "output_equation is 'tanh'"),
        (lambda: GridEquations(()), "cells is empty"),
        (lambda: GridEquations(("lstm",), (), mogrifier_rounds=2), "takes two or more dimensions"),
        (lambda: GridEquations(owners=(0, 0), mogrifier_rounds=2), "with weights of their own"),
        (lambda: GridEquations(owners=(1, 0)), "owners is (1, 0)"),
        (lambda: GridEquations(("lstm", "gru"), owners=(0, 0)), "owners is (0, 0)"),
    ],
)
def test_equations_that_contradict_themselves(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert said in str(caught.value)


def test_impossible_checkpointing_is_refused():
    grid = make_grid((7, 2))
    with pytest.raises(InputError, match="remat_steps is 3 and the sequence 7"):
        grid_checkpointed(*grid[:4], 3, compilation=WHOLE)
    with pytest.raises(InputError, match="more than two dimensions"):
        grid = make_grid((7, 2, 2), GridEquations(("lstm",) * 3))
        grid_checkpointed(*grid[:4], 3, compilation=OPERATIONS)
    with pytest.raises(InputError, match="1-D"):
        grid_checkpointed(*make_grid((3,), GridEquations(("lstm",), (0,)))[:4], 1)
