"""Random grids, and how far two results are apart; for the tests of the model."""

from typing import NamedTuple

import tensorflow as tf
from hypothesis import strategies as st
from seeds import example, generator

from model.cells.registry import MEMORY_CELLS, PLAIN_CELLS, find_cell
from model.grid.equations import GridEquations
from model.grid.mogrifier import MogrifierRound
from model.grid.reference import DimensionWeights, Sides


class Grid(NamedTuple):
    """The arguments of `grid.grid_reference`."""

    sides: Sides
    weights: list[DimensionWeights]
    equations: GridEquations
    extents: tuple[int, ...]
    dropout: list[tf.Tensor | None] | None
    keep: tf.Tensor | None

    def sources(self):
        """All tensors to differentiate by."""
        return [part for part in tf.nest.flatten([self.sides, self.weights]) if part is not None]


def normal(*shape, dtype=tf.float64, scale=1.0):
    """Returns random numbers of the running test."""
    return tf.constant(generator().normal(size=shape, scale=scale), dtype)


def make_grid(
    extents,
    equations=None,
    shared=(),
    batch=2,
    units=3,
    dropout=(),
    keep=(),
    hidden_dtype=tf.float64,
    dtype=tf.float64,
):
    """Random arguments.

    Args:
      extents: of the grid.
      equations: of the blocks.
      shared: dimensions whose weights all layers share.
      batch: rows.
      units: width.
      dropout: dimensions with dropout factors.
      keep: for each dimension whether all its blocks share what is kept; () to keep all.
      hidden_dtype: the compute dtype.
      dtype: of memories and weights.
    """
    equations = equations or GridEquations()
    count, layers = len(extents), extents[-1]
    scale = (count * units) ** -0.5
    weights, hidden, memory = [], [], []
    for i in range(count):
        copies, width = 1 if i in shared else layers, equations.gates(i) * units
        gain = normal(copies, width, dtype=dtype) if equations.layer_normalization else None
        kernel = normal(copies, count * units, width, dtype=dtype, scale=scale)
        bias = normal(copies, width, dtype=dtype)
        shapes = equations.cell(i).parameter_shapes(units).values()
        parameters = tuple(normal(copies, *shape, dtype=dtype, scale=scale) for shape in shapes)
        shapes = (copies, (count - 1) * units, 2), (copies, 2, units)
        mogrifier = tuple(
            MogrifierRound(*(normal(*shape, dtype=dtype) for shape in shapes))
            for _ in range(equations.mogrifier_targets.count(i))
        )
        weights.append(DimensionWeights(kernel, bias, gain, parameters, mogrifier))
        others = (*extents[:i], *extents[i + 1 :], batch)
        hidden.append(normal(*others, units, dtype=hidden_dtype))
        memory.append(normal(*others, equations.memory_width(i, units), dtype=dtype))
    masks = None
    if dropout:
        masks = [
            normal(*extents, batch, units, dtype=hidden_dtype) if i in dropout else None
            for i in range(count)
        ]
    kept = None
    if keep:
        shape = [1 if all_alike else n for all_alike, n in zip(keep, extents, strict=True)]
        kept = tf.constant(generator().random([*shape, batch]) < 0.6)
    return Grid(Sides(tuple(hidden), tuple(memory)), weights, equations, extents, masks, kept)


@st.composite
def grids(draw, dimensions=(1, 2, 3)):
    """Any small grid with any options."""
    count = draw(st.sampled_from(dimensions))
    extents = tuple(draw(st.integers(1, 4)) for _ in range(count))
    kinds = st.one_of(st.just("lstm"), st.sampled_from([*MEMORY_CELLS, *PLAIN_CELLS]))
    order = draw(st.permutations(range(count)))
    cells, owners = [draw(kinds) for _ in range(count)], list(range(count))
    if count > 1 and draw(st.booleans()):
        first, second = sorted(draw(st.permutations(range(count)))[:2])
        cells[second] = cells[first]
        if find_cell(cells[first]).split_gate is None:
            owners[second] = first
    rounds = draw(st.integers(0, 4))
    equations = GridEquations(
        cells=tuple(cells),
        priority=tuple(order[: draw(st.integers(0, count))]),
        output_equation=draw(st.sampled_from(["o*tanh(m)", "tanh(o*m)"])),
        layer_normalization=draw(st.booleans()),
        owners=tuple(owners),
        mogrifier_rounds=0 if count == 1 or owners != sorted(set(owners)) else rounds,
    )
    some = st.sets(st.integers(0, count - 1))
    with example(draw(st.integers(0, 2**32 - 1))):
        return make_grid(
            extents,
            equations,
            shared=draw(some),
            batch=draw(st.integers(1, 3)),
            # Two values normalised are ±1 whatever they are: their gradient is but rounding.
            units=draw(st.integers(4 if equations.layer_normalization else 2, 5)),
            dropout=draw(some),
            keep=draw(st.one_of(st.just(()), st.tuples(*[st.booleans()] * count))),
        )


def value_and_gradients(function, sources):
    """What a function returns, and the gradients of a projection of it that all calls share."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = [tf.convert_to_tensor(output) for output in tf.nest.flatten(function())]
        loss = tf.add_n([tf.reduce_sum(_projected(output)) for output in outputs])
    zero = tf.UnconnectedGradients.ZERO
    return outputs, tape.gradient(loss, sources, unconnected_gradients=zero)


def _projected(output):
    weights = tf.cos(tf.range(tf.size(output), dtype=tf.float64))
    return tf.cast(output, tf.float64) * tf.reshape(weights, output.shape)


def error(actual, expected):
    """The largest difference in any tensor, relative to that tensor's largest element."""
    worst = 0.0
    for left, right in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        if tf.size(right):
            left, right = tf.cast(left, tf.float64), tf.cast(right, tf.float64)
            scale = float(tf.reduce_max(tf.abs(right))) or 1.0
            worst = max(worst, float(tf.reduce_max(tf.abs(left - right))) / scale)
    return worst


def norm_error(actual, expected):
    """The norm of the difference over the norm, the worst of all tensors."""
    worst = 0.0
    for left, right in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        if tf.size(right):
            left, right = tf.cast(left, tf.float64), tf.cast(right, tf.float64)
            worst = max(worst, float(tf.norm(left - right) / (tf.norm(right) + 1e-30)))
    return worst
