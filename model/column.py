"""All layers of a net at one time step, one step after another: how text is sampled.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.config import GridEquations
from model.grid import DimensionWeights, State, transform_dimension
from model.packed_kernels import (
    PackedKernel,
    Precision,
    QuantizedKernel,
    is_shared,
    pack,
    product_of_layer,
    products_of_all,
)
from model.transforms import lstm_transform

TIME, DEPTH = 0, 1


class Step(NamedTuple):
    """What a column returns.

    Attributes:
      hidden: the hidden vector at the top, `[batch, units]`.
      state: the new state.
      gates: `[layers, dimensions, batch, 4 * units]`, i, f, o and g; a stacked LSTM has only the
        dimension of time. None where they were not asked for.
    """

    hidden: tf.Tensor
    state: State
    gates: tf.Tensor | None = None


Column = Callable[..., Step]
"""Takes what enters the bottom, `[batch, units]` (of a grid hidden and memory), the state of the
step before, and whether to return `gates`."""


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM.

    Attributes:
      kernel: `[layers, 2 * units, 4 * units]`, applied to `[h_below, h_time]`.
      bias: `[layers, 4 * units]`.
    """

    kernel: tf.Tensor
    bias: tf.Tensor


class Packed(NamedTuple):
    """The kernels of a net, by the vectors that they are applied to.

    Attributes:
      old: kernels of the hidden vectors that enter a block, per dimension; of a stacked LSTM that
        of its own old vector and that of the layer below.
      new: of those that leave a grid's block, per dimension.
    """

    old: tuple[list[PackedKernel], ...]
    new: tuple[list[PackedKernel], ...] = ()


def pack_grid(
    weights: Sequence[DimensionWeights], equations: GridEquations, precision: Precision
) -> Packed:
    """Packs the kernels of a 2-D grid."""
    units = weights[TIME].kernel.shape[1] // 2

    def of(source, new):
        columns = slice(source * units, (source + 1) * units)
        users = _users(equations, source, new)
        return pack([weights[i].kernel[:, columns] for i in users], precision)

    return Packed(*(tuple(of(i, new) for i in (TIME, DEPTH)) for new in (False, True)))


def _users(equations, source, new):
    """The dimensions whose products take the old, or the new, hidden vector of a dimension."""
    stage_of = {i: stage for stage, members in enumerate(equations.stages) for i in members}
    return [i for i in (TIME, DEPTH) if (stage_of[i] > stage_of[source]) == new]


def grid_steps(
    packed: Packed, weights: Sequence[DimensionWeights], equations: GridEquations
) -> Column:
    """The blocks of a 2-D grid, see `grid.grid_block`; all but products in the memory's dtype."""
    widths = [one.bias.shape[1] for one in weights]
    old, new = (
        [
            _Products(kernels, {i: widths[i] for i in _users(equations, source, is_new)})
            for source, kernels in enumerate(sources)
        ]
        for is_new, sources in enumerate(packed)
    )

    kept_once = all(
        isinstance(kernel, QuantizedKernel) and is_shared(kernel)
        for kernels in (*packed.old, *packed.new)
        for kernel in kernels
    )
    cut = tf.convert_to_tensor if kept_once else tf.unstack
    vectors = [[cut(part) for part in one[1:] if part is not None] for one in weights]

    def column(hidden, memory, state, gates=False):
        ahead = {i: cut(products) for i, products in old[TIME].of_all(state.hidden).items()}
        old_memories = cut(state.memory)

        def block(layer, hidden, memory):
            sums = {i: products[layer] for i, products in ahead.items()}
            _add(sums, old[DEPTH].of_layer(layer, hidden))
            hiddens, memories = [None, None], [old_memories[layer], memory]
            activations = [None, None]
            for stage in equations.stages:
                for i in stage:
                    bias, *gain = (_of_layer(part, layer) for part in vectors[i])
                    hiddens[i], memories[i], activations[i], _ = transform_dimension(
                        equations, i, sums[i], bias, gain[0] if gain else None, memories[i]
                    )
                for i in stage:
                    _add(sums, new[i].of_layer(layer, hiddens[i]))
            leaving = hiddens[TIME], memories[TIME], tf.stack(activations)
            return hiddens[DEPTH], memories[DEPTH], leaving

        over_layers = _looped if kept_once else _unrolled
        return over_layers(block, state.hidden.shape[0], hidden, memory, gates)

    return column


def _unrolled(block, layers, hidden, memory, gates):
    """Blocks one above the other."""
    columns = []
    for layer in range(layers):
        hidden, memory, leaving = block(layer, hidden, memory)
        columns.append(leaving)
    return _step(hidden, map(tf.stack, zip(*columns, strict=True)), gates)


def _looped(block, layers, hidden, memory, gates):
    """The same, where every product that stands in the graph would keep a kernel of its own."""

    def body(layer, hidden, memory, arrays):
        hidden, memory, leaving = block(layer, hidden, memory)
        written = leaving[: len(arrays)]
        arrays = [one.write(layer, part) for one, part in zip(arrays, written, strict=True)]
        return layer + 1, hidden, memory, arrays

    # What a loop writes is computed, wanted or not.
    leading = ((), (), (2,)) if gates else ((), ())
    arrays = [
        tf.TensorArray(memory.dtype, layers, element_shape=[*sizes, None, None])
        for sizes in leading
    ]
    _, hidden, _, arrays = tf.while_loop(
        lambda layer, *_: layer < layers, body, (0, hidden, memory, arrays)
    )
    return _step(hidden, (one.stack() for one in arrays), gates)


def _step(hidden, parts, gates):
    new_hidden, new_memory, *activations = parts
    return Step(hidden, State(new_hidden, new_memory), activations[0] if gates else None)


def pack_stacked(weights: StackedWeights, precision: Precision) -> Packed:
    """Packs the kernels of a stacked LSTM."""
    below, own = tf.split(weights.kernel, 2, axis=1)
    return Packed((pack([own], precision), pack([below], precision)))


def stacked_steps(packed: Packed, weights: StackedWeights) -> Column:
    """The layers of a stacked LSTM, see `stacked.stacked_lstm`; dtypes as in `grid_steps`."""
    own, below = (_Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)
    biases = tf.unstack(weights.bias)

    def column(hidden, state, gates=False):
        ahead = tf.unstack(own.of_all(state.hidden)[TIME])
        old_memories = tf.unstack(state.memory)

        def block(layer, hidden, _):
            sums = {TIME: ahead[layer]}
            _add(sums, below.of_layer(layer, hidden))
            hidden, memory, activations = lstm_transform(
                sums[TIME], biases[layer], old_memories[layer]
            )
            return hidden, None, (hidden, memory, activations[None])

        return _unrolled(block, state.hidden.shape[0], hidden, None, gates)

    return column


def stored_kernel(kernel: tf.Variable, dtype: str) -> tf.Variable:
    """A copy in a dtype, for a net that is no longer trained."""
    return tf.Variable(tf.cast(kernel, dtype), trainable=False, name="kernel")


class _Products:
    """Products of the same vectors with packed kernels, by who uses them."""

    def __init__(self, kernels: list[PackedKernel], widths: dict[int, int]):
        self._kernels = kernels
        self._widths = widths

    def of_all(self, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """The products of `[layers, batch, units]`, each layer with its own kernel."""
        return self._by_user([products_of_all(kernel, rows) for kernel in self._kernels])

    def of_layer(self, layer: int, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """The products of `[batch, units]` with the kernels of one layer."""
        return self._by_user([product_of_layer(one, layer, rows) for one in self._kernels])

    def _by_user(self, products):
        widths = list(self._widths.values())
        if len(products) < len(widths):
            padding = products[0].shape[-1] - sum(widths)
            products = tf.split(products[0], [*widths, padding], axis=-1)[:-1]
        return {
            user: product if product.shape[-1] == width else product[..., :width]
            for (user, width), product in zip(self._widths.items(), products, strict=True)
        }


def _of_layer(parts, layer):
    shared = (len(parts) if isinstance(parts, list) else parts.shape[0]) == 1
    return parts[0 if shared else layer]


def _add(sums, products):
    for user, product in products.items():
        sums[user] = sums[user] + product if user in sums else product
