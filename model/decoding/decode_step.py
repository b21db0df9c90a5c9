"""All layers of a net at one time step, one step after another: how text is sampled.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined. Of the vectors that can enter the bottom, which are as many
as there are characters, the products are kept in a table.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from ..cells.lstm import lstm_transform
from ..config import GridEquations
from ..core import State
from ..errors import InputError
from ..grid.reference import DimensionWeights, transform_dimension
from ..stacked.weights import StackedWeights
from .packed_kernels import (
    PackedKernel,
    Precision,
    QuantizedKernel,
    is_shared,
    pack,
    product_of_any,
    product_of_layer,
    products_of_all,
    quantized,
)

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
step before, and whether to return `gates`. Where there is a `Packed.table`, hidden is the number of
its row there, `[batch]`."""


class Packed(NamedTuple):
    """The kernels of a net, by the vectors that they are applied to.

    Attributes:
      old: kernels of the hidden vectors that enter a block, per dimension; of a stacked LSTM that
        of its own old vector and that of the layer below.
      new: of those that leave a grid's block, per dimension.
      scales: what sums of products are multiplied with, per dimension, `[layers | 1, width]`; empty
        unless the kernels are integers.
      table: the sums of products that vectors which may enter the bottom have there, a row each,
        `[vectors, width]`; none unless `pack` was given these.
    """

    old: tuple[list[PackedKernel], ...]
    new: tuple[list[PackedKernel], ...] = ()
    scales: tuple[tf.Tensor, ...] = ()
    table: tuple[tf.Tensor, ...] = ()


def pack_grid(
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    precision: Precision,
    entering: tf.Tensor | None = None,
) -> Packed:
    """Packs the kernels of a 2-D grid.

    Args:
      weights: of time and depth.
      equations: which the blocks compute.
      precision: of the products.
      entering: `[vectors, units]`, all that can enter the bottom, for a table of their products;
        which there is if it has no more numbers than the kernels.

    Raises:
      InputError: of integers for a grid whose hidden vectors are not within 1 of 0.
    """
    if precision == "int8" and not {"relu", "identity"}.isdisjoint(equations.transforms):
        raise InputError(
            f"transforms is {equations.transforms}; kernels of 8-bit integers need hidden vectors "
            f"within 1 of 0, as those of 'lstm' and 'tanh' are"
        )
    exact = [one.kernel for one in weights]
    kernels, scales = _rounded(exact, precision)
    units = kernels[TIME].shape[1] // 2
    columns = [slice(source * units, (source + 1) * units) for source in (TIME, DEPTH)]

    def of(source, new):
        users = _users(equations, source, new)
        return pack([kernels[i][:, columns[source]] for i in users], precision)

    old, new = (tuple(of(i, is_new) for i in (TIME, DEPTH)) for is_new in (False, True))
    first = {i: exact[i][0, columns[DEPTH]] for i in _users(equations, DEPTH, False)}
    return Packed(old, new, scales, _table(entering, first, scales, exact))


def _rounded(kernels, precision):
    """Kernels as `pack` wants them, and their scales if there are any."""
    if precision != "int8":
        return kernels, ()
    return zip(*map(quantized, kernels), strict=True)


def _table(entering, first, scales, kernels):
    """`Packed.table` from the first layer's kernels, by who uses the products."""
    width = sum(kernel.shape[1] for kernel in first.values())
    most = sum(kernel.shape.num_elements() for kernel in kernels)
    if entering is None or entering.shape[0] * width > most:
        return ()
    products = {i: entering @ tf.cast(kernel, entering.dtype) for i, kernel in first.items()}
    if scales:
        products = {i: tf.math.divide_no_nan(one, scales[i][0]) for i, one in products.items()}
    return (tf.concat(list(products.values()), axis=-1),)


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
        for is_new, sources in enumerate((packed.old, packed.new))
    )

    kept_once = all(
        isinstance(kernel, QuantizedKernel) and is_shared(kernel)
        for kernels in (*packed.old, *packed.new)
        for kernel in kernels
    )
    cut = tf.convert_to_tensor if kept_once else tf.unstack
    vectors = [[cut(part) for part in one[1:] if part is not None] for one in weights]
    scales = [cut(one) for one in packed.scales]

    def column(hidden, memory, state, gates=False):
        ahead = {i: cut(products) for i, products in old[TIME].of_all(state.hidden).items()}
        old_memories = cut(state.memory)

        def block(layer, below, memory):
            sums = {i: products[layer] for i, products in ahead.items()}
            _add(sums, below)
            hiddens, memories = [None, None], [old_memories[layer], memory]
            activations = [None, None]
            for stage in equations.stages:
                for i in stage:
                    bias, *gain = (_of_layer(part, layer) for part in vectors[i])
                    product = sums[i] * _of_layer(scales[i], layer) if scales else sums[i]
                    hiddens[i], memories[i], activations[i], _ = transform_dimension(
                        equations, i, product, bias, gain[0] if gain else None, memories[i]
                    )
                for i in stage:
                    _add(sums, new[i].of_layer(layer, hiddens[i]))
            leaving = hiddens[TIME], memories[TIME], tf.stack(activations)
            return hiddens[DEPTH], memories[DEPTH], leaving

        layers = state.hidden.shape[0]
        first = block(0, old[DEPTH].of_entering(hidden, packed.table), memory)

        def above(layer, hidden, memory):
            return block(layer, old[DEPTH].of_layer(layer, hidden), memory)

        over_layers = _looped if kept_once else _unrolled
        return over_layers(above, layers, *first, gates)

    return column


def _unrolled(block, layers, hidden, memory, leaving, gates):
    """Blocks one above the other, from the second on."""
    columns = [leaving]
    for layer in range(1, layers):
        hidden, memory, leaving = block(layer, hidden, memory)
        columns.append(leaving)
    return _step(hidden, map(tf.stack, zip(*columns, strict=True)), gates)


def _looped(block, layers, hidden, memory, leaving, gates):
    """The same, where every product that stands in the graph would keep a kernel of its own."""

    def written(arrays, layer, leaving):
        wanted = leaving[: len(arrays)]
        return [one.write(layer, part) for one, part in zip(arrays, wanted, strict=True)]

    def body(layer, hidden, memory, arrays):
        hidden, memory, leaving = block(layer, hidden, memory)
        return layer + 1, hidden, memory, written(arrays, layer, leaving)

    # What a loop writes is computed, wanted or not.
    leading = ((), (), (2,)) if gates else ((), ())
    arrays = [
        tf.TensorArray(memory.dtype, layers, element_shape=[*sizes, None, None])
        for sizes in leading
    ]
    _, hidden, _, arrays = tf.while_loop(
        lambda layer, *_: layer < layers,
        body,
        (1, hidden, memory, written(arrays, 0, leaving)),
    )
    return _step(hidden, (one.stack() for one in arrays), gates)


def _step(hidden, parts, gates):
    new_hidden, new_memory, *activations = parts
    return Step(hidden, State(new_hidden, new_memory), activations[0] if gates else None)


def pack_stacked(
    weights: StackedWeights, precision: Precision, entering: tf.Tensor | None = None
) -> Packed:
    """Packs the kernels of a stacked LSTM; arguments as those of `pack_grid`."""
    (kernel,), scales = _rounded([weights.kernel], precision)
    below, own = tf.split(kernel, 2, axis=1)
    first = {TIME: weights.kernel[0, : below.shape[1]]}
    return Packed(
        (pack([own], precision), pack([below], precision)),
        scales=scales,
        table=_table(entering, first, scales, [weights.kernel]),
    )


def stacked_steps(packed: Packed, weights: StackedWeights) -> Column:
    """The layers of a stacked LSTM, see `stacked.stacked_lstm`; dtypes as in `grid_steps`."""
    own, below = (_Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)
    biases = tf.unstack(weights.bias)
    scales = [tf.unstack(one) for one in packed.scales]

    def column(hidden, state, gates=False):
        ahead = tf.unstack(own.of_all(state.hidden)[TIME])
        old_memories = tf.unstack(state.memory)

        def block(layer, products):
            product = ahead[layer] + products[TIME]
            if scales:
                product *= scales[TIME][layer]
            hidden, memory, activations = lstm_transform(
                product, biases[layer], old_memories[layer]
            )
            return hidden, None, (hidden, memory, activations[None])

        def above(layer, hidden, _):
            return block(layer, below.of_layer(layer, hidden))

        first = block(0, below.of_entering(hidden, packed.table))
        return _unrolled(above, state.hidden.shape[0], *first, gates)

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

    def of_entering(self, hidden: tf.Tensor, table: tuple[tf.Tensor, ...]) -> dict[int, tf.Tensor]:
        """The products of what enters the bottom, see `Column`, with the first layer's kernels."""
        if table:
            return self._by_user([tf.gather(one, hidden) for one in table])
        return self._by_user([product_of_any(one, hidden) for one in self._kernels])

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
