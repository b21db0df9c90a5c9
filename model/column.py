"""All layers of a net at one time step, one step after another: how text is sampled.

What a layer makes of its own old hidden vector does not wait for the layers below. Those products
are computed for all layers at once, which reads a kernel that the layers share only once; and
products of the same vector are joined. What bounds a text alone is the reading of the kernels, so
these are laid out for products with few rows, once for many steps.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from model.config import GridEquations
from model.grid import DimensionWeights, State, transform_dimension
from model.transforms import lstm_transform, shape_of

TIME, DEPTH = 0, 1
BLOCK = 64  # columns


class Step(NamedTuple):
    """What a column returns.

    Attributes:
      hidden: the hidden vector at the top, `[batch, units]`.
      state: the new state.
      gates: `[layers, dimensions, batch, 4 * units]`, i, f, o and g; a stacked LSTM has only the
        dimension of time.
    """

    hidden: tf.Tensor
    state: State
    gates: tf.Tensor


Column = Callable[..., Step]
"""Takes what enters the bottom, `[batch, units]` (of a grid hidden and memory), and the state of
the step before."""


class StackedWeights(NamedTuple):
    """The weights of a stacked LSTM.

    Attributes:
      kernel: `[layers, 2 * units, 4 * units]`, applied to `[h_below, h_time]`.
      bias: `[layers, 4 * units]`.
    """

    kernel: tf.Tensor
    bias: tf.Tensor


class Packed(NamedTuple):
    """The kernels of a net in the layout of `_pack`, by the vectors that they are applied to.

    Attributes:
      old: kernels of the hidden vectors that enter a block, per dimension; of a stacked LSTM that
        of its own old vector and that of the layer below.
      new: of those that leave a grid's block, per dimension.
    """

    old: tuple[list[tf.Tensor], ...]
    new: tuple[list[tf.Tensor], ...] = ()


def pack_grid(
    weights: Sequence[DimensionWeights], equations: GridEquations, dtype: tf.DType | str
) -> Packed:
    """Packs the kernels of a 2-D grid for products in `dtype`."""
    units = weights[TIME].kernel.shape[1] // 2

    def of(source, new):
        columns = slice(source * units, (source + 1) * units)
        users = _users(equations, source, new)
        return _pack([weights[i].kernel[:, columns] for i in users], dtype)

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

    def column(hidden, memory, state):
        ahead = old[TIME].of_all(state.hidden)
        columns = []
        for layer in range(state.hidden.shape[0]):
            sums = {i: products[layer] for i, products in ahead.items()}
            _add(sums, old[DEPTH].of_layer(layer, hidden))
            hiddens, memories, gates = [None, None], [state.memory[layer], memory], [None, None]
            for stage in equations.stages:
                for i in stage:
                    bias, gain = (
                        None if part is None else _of_layer(part, layer) for part in weights[i][1:]
                    )
                    hiddens[i], memories[i], gates[i], _ = transform_dimension(
                        equations, i, sums[i], bias, gain, memories[i]
                    )
                for i in stage:
                    _add(sums, new[i].of_layer(layer, hiddens[i]))
            hidden, memory = hiddens[DEPTH], memories[DEPTH]
            columns.append((hiddens[TIME], memories[TIME], tf.stack(gates)))
        *state, gates = map(tf.stack, zip(*columns, strict=True))
        return Step(hidden, State(*state), gates)

    return column


def pack_stacked(weights: StackedWeights, dtype: tf.DType | str) -> Packed:
    """Packs the kernels of a stacked LSTM for products in `dtype`."""
    below, own = tf.split(weights.kernel, 2, axis=1)
    return Packed((_pack([own], dtype), _pack([below], dtype)))


def stacked_steps(packed: Packed, weights: StackedWeights) -> Column:
    """The layers of a stacked LSTM, see `stacked.stacked_lstm`; dtypes as in `grid_steps`."""
    own, below = (_Products(kernels, {TIME: weights.bias.shape[1]}) for kernels in packed.old)

    def column(hidden, state):
        ahead = own.of_all(state.hidden)
        columns = []
        for layer in range(state.hidden.shape[0]):
            sums = {TIME: ahead[TIME][layer]}
            _add(sums, below.of_layer(layer, hidden))
            hidden, memory, gates = lstm_transform(
                sums[TIME], weights.bias[layer], state.memory[layer]
            )
            columns.append((hidden, memory, gates[None]))
        *state, gates = map(tf.stack, zip(*columns, strict=True))
        return Step(hidden, State(*state), gates)

    return column


def stored_kernel(kernel: tf.Variable, dtype: str) -> tf.Variable:
    """A copy in a dtype, for a net that is no longer trained."""
    return tf.Variable(tf.cast(kernel, dtype), trainable=False, name="kernel")


def _pack(kernels, dtype):
    """Kernels `[layers | 1, units, width]` as `[layers | 1, blocks, units, width of a block]`.

    Those that can be are joined first. In bfloat16 oneDNN reads blocks of 64 columns, one after the
    other, up to 1.4 times as fast as the same columns side by side; in float32 it does not.
    """
    # Kernels that all layers share are not to be repeated for each.
    if len({kernel.shape[0] for kernel in kernels}) == 1 and len(kernels) > 1:
        kernels = [tf.concat(kernels, axis=-1)]
    return [_in_blocks(tf.cast(kernel, dtype)) for kernel in kernels]


def _in_blocks(kernel):
    if kernel.dtype != tf.bfloat16:
        return kernel[:, None]
    copies, units, width = kernel.shape
    kernel = tf.pad(kernel, [[0, 0], [0, 0], [0, -width % BLOCK]])
    blocks = tf.reshape(kernel, [copies, units, -1, BLOCK])
    return tf.transpose(blocks, [0, 2, 1, 3])


class _Products:
    """Products of the same vectors with packed kernels, by who uses them."""

    def __init__(self, kernels: list[tf.Tensor], widths: dict[int, int]):
        self._kernels = kernels
        self._widths = widths

    def of_all(self, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """The products of `[layers, batch, units]`, each layer with its own kernel."""
        return self._by_user(rows, _of_all)

    def of_layer(self, layer: int, rows: tf.Tensor) -> dict[int, tf.Tensor]:
        """The products of `[batch, units]` with the kernels of one layer."""
        return self._by_user(rows, lambda rows, one: _product(rows, _of_layer(one, layer)))

    def _by_user(self, rows, product):
        products = [
            tf.cast(product(tf.cast(rows, kernel.dtype), kernel), rows.dtype)
            for kernel in self._kernels
        ]
        widths = list(self._widths.values())
        if len(products) < len(widths):
            padding = products[0].shape[-1] - sum(widths)
            products = tf.split(products[0], [*widths, padding], axis=-1)[:-1]
        else:
            products = [one[..., :width] for one, width in zip(products, widths, strict=True)]
        return dict(zip(self._widths, products, strict=True))


def _of_all(rows, kernel):
    layers, batch, units = shape_of(rows)
    if kernel.shape[0] > 1:
        return _product(rows, kernel)
    return tf.reshape(_product(tf.reshape(rows, [-1, units]), kernel[0]), [layers, batch, -1])


def _product(rows, kernel):
    """`[..., batch, units]` with `[..., blocks, units, width]`: `[..., batch, blocks * width]`."""
    if kernel.shape[-3] == 1:
        return tf.matmul(rows, tf.squeeze(kernel, axis=-3))
    product = tf.matmul(rows[..., None, :, :], kernel)
    leading = list(range(len(product.shape) - 3))
    turned = tf.transpose(product, [*leading, *(len(leading) + at for at in (1, 0, 2))])
    return tf.reshape(turned, [*shape_of(rows)[:-1], kernel.shape[-3] * kernel.shape[-1]])


def _of_layer(weights, layer):
    return weights[0 if weights.shape[0] == 1 else layer]


def _add(sums, products):
    for user, product in products.items():
        sums[user] = sums[user] + product if user in sums else product
