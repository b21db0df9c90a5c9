"""The blocks of a hyperplane, computed at once, and their gradients."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ...cells.cell import Parameters
from ...cells.normalization import Normalized
from ...execution.compilation import Compilation, compiled
from ..equations import GridEquations
from ..mogrifier import group_by_dimension, rounds_in_order
from ..reference import (
    DimensionWeights,
    Sides,
    dimension_backward,
    dimension_forward,
    parameter_gradients,
)
from .mogrifier import Mogrifier, RoundGradients
from .products import LayerParameters, LayerVectors, Products
from .residuals import (
    BlockGradients,
    DimensionResiduals,
    GateGradients,
    Residuals,
    concat_rows,
)
from .schedule import Schedule


class Blocks:
    """Computes the blocks of a grid, a hyperplane at a time.

    Rows are `[rows, batch, units]`, in the order of the schedule.

    Args:
      schedule: The schedule of the grid.
      weights: The weights of each dimension.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension.
      dropout_masks: The dropout masks; see `reference.grid_reference`.
      keep: The mask of the steps; see `reference.grid_reference`.
      compilation: How the gates are compiled.
      dtype: The dtype of the products.
    """

    def __init__(
        self,
        schedule: Schedule,
        weights: Sequence[DimensionWeights],
        equations: GridEquations,
        extents: tuple[int | tf.Tensor, ...],
        dropout_masks: Sequence[tf.Tensor | None] | None,
        keep: tf.Tensor | None,
        compilation: Compilation,
        dtype: tf.DType,
    ):
        self._schedule = schedule
        self._equations = equations
        self._extents = extents
        self._dropout_masks = dropout_masks
        self._keep = keep
        self._dimension_forward, self._dimension_backward = (
            [compiled(function, compilation, equations, i) for i in range(len(extents))]
            for function in (dimension_forward, dimension_backward)
        )
        self._vectorizes = compilation.vectorizes
        self._weights = weights
        used = [weights[equations.owner(i)] for i in range(len(extents))]
        self._parameters = [LayerParameters(one.parameters, schedule) for one in used]
        jits_step = compilation.jits_step
        self._products = {
            i: Products(weights[i].kernel, dtype, schedule, jits_step)
            for i in sorted({equations.owner(i) for i in range(len(extents))})
        }
        self._biases = [LayerVectors(one.bias, schedule, jits_step) for one in used]
        self._gains = [
            None if one.gain is None else LayerVectors(one.gain, schedule, jits_step)
            for one in used
        ]
        targets = equations.mogrifier_targets
        rounds = rounds_in_order([one.mogrifier for one in weights], targets)
        self.ranks = [one.down.shape[2] for one in rounds]
        self._mogrifier = Mogrifier(rounds, targets, dtype, schedule, jits_step) if rounds else None

    def forward(self, hyperplane: tf.Tensor, rows: Sides) -> tuple[Sides, Residuals]:
        """Computes the vectors that leave the blocks of a hyperplane.

        Args:
          hyperplane: The index of the hyperplane.
          rows: The vectors that enter the blocks.

        Returns:
          The vectors that leave, and the residuals of the backward pass.
        """
        hidden, memory = list(self._drop(hyperplane, rows.hidden)), list(rows.memory)
        ungated: tuple[tf.Tensor, ...] = ()
        if self._mogrifier:
            ungated = tuple(hidden)
            hidden = list(self._mogrifier.forward(hyperplane, ungated))
        h_concats: list[tf.Tensor] = []
        residuals: dict[int, DimensionResiduals] = {}
        for group in self._equations.computation_order:
            h_concats.append(tf.concat(hidden, axis=-1))
            products: dict[int, tf.Tensor] = {}
            for i in group:
                owner = self._equations.owner(i)
                if owner not in products:
                    products[owner] = self._products[owner].forward(hyperplane, h_concats[-1])
                hidden[i], memory[i], activations, normalized = self._dimension_forward[i](
                    products[owner],
                    self._biases[i].lookup(hyperplane),
                    self._gain(hyperplane, i),
                    rows.memory[i],
                    self._parameters[i].lookup(hyperplane),
                )
                residuals[i] = DimensionResiduals(
                    activations=activations, memory=rows.memory[i], normalized=normalized
                )
        blocks = self._hold(hyperplane, Sides(tuple(hidden), tuple(memory)), rows)
        return blocks, Residuals(
            h_concat=tuple(h_concats),
            dimensions=tuple(residuals[i] for i in range(len(hidden))),
            ungated=ungated,
        )

    def backward(
        self,
        hyperplane: tf.Tensor,
        residuals: Sequence[DimensionResiduals],
        ungated: Sequence[tf.Tensor],
        d_blocks: Sides,
    ) -> tuple[Sides, BlockGradients]:
        """Computes the gradients of `forward`.

        Args:
          hyperplane: The index of the hyperplane.
          residuals: The residuals of each dimension.
          ungated: The hidden vectors before the rounds of the mogrifier; () without.
          d_blocks: The gradients of the vectors that left the blocks.

        Returns:
          The gradients of the vectors that entered, and what `residuals.gate_gradient_arrays`
          holds.
        """
        equations = self._equations
        d_blocks, d_held = self._hold_gradient(hyperplane, d_blocks)
        d_new_hidden, d_memory = list(d_blocks.hidden), list(d_blocks.memory)
        d_old_hidden: list[tf.Tensor | None] = [None] * len(d_new_hidden)
        d_gates: dict[int, GateGradients] = {}
        computed_before = [i for group in equations.computation_order for i in group]
        for group in reversed(equations.computation_order):
            computed_before = computed_before[: -len(group)]
            d_products: dict[int, tf.Tensor] = {}
            for i in group:
                gain = self._gain(hyperplane, i)
                parameters = self._parameters[i].lookup(hyperplane)
                upstream = d_new_hidden[i], d_memory[i]
                d_product, d_preactivations, d_memory[i] = self._dimension_backward[i](
                    *residuals[i], gain, *upstream, parameters
                )
                d_gates[i] = GateGradients(
                    sums=(d_product,) if gain is None else (d_product, d_preactivations),
                    upstream=upstream if parameters else (),
                )
                owner = equations.owner(i)
                shared = d_products.get(owner)
                d_products[owner] = d_product if shared is None else shared + d_product
            d_h_concat = None
            for owner, d_product in d_products.items():
                d_source = self._products[owner].backward(hyperplane, d_product)
                d_h_concat = d_source if d_h_concat is None else d_h_concat + d_source
            # H holds the new vectors of what was computed before this group, else the old ones.
            for i, d_h in enumerate(tf.split(d_h_concat, len(d_new_hidden), axis=-1)):
                if i in computed_before:
                    d_new_hidden[i] += d_h
                else:
                    d_old_hidden[i] = d_h if d_old_hidden[i] is None else d_old_hidden[i] + d_h
        d_rounds: tuple[RoundGradients, ...] = ()
        if self._mogrifier:
            d_old_hidden, d_rounds = self._mogrifier.backward(hyperplane, ungated, d_old_hidden)
        d_rows = Sides(tuple(self._drop(hyperplane, d_old_hidden)), tuple(d_memory))
        if d_held is not None:
            d_rows = Sides(*map(_add_present, d_rows, d_held))
        in_dimensions = tuple(d_gates[i] for i in range(len(d_new_hidden)))
        return d_rows, BlockGradients(gates=in_dimensions, mogrifier=d_rounds)

    def weight_gradients(
        self, residuals: Residuals, d_blocks: BlockGradients
    ) -> list[DimensionWeights]:
        """Computes the gradients of the weights, from arrays over all hyperplanes.

        Args:
          residuals: The residuals of `forward`.
          d_blocks: The gradients of `backward`.
        """
        gradients: dict[int, DimensionWeights] = {}
        for group, array in zip(self._equations.computation_order, residuals.h_concat, strict=True):
            h_concat = self._concat_rows(array)
            for owner in dict.fromkeys(map(self._equations.owner, group)):
                sharing = [i for i in group if self._equations.owner(i) == owner]
                new = self._group_gradients(owner, sharing, h_concat, residuals, d_blocks.gates)
                old = gradients.get(owner)
                gradients[owner] = new if old is None else _map_present(operator.add, old, new)
        all_gradients = [
            gradients[i] if i in gradients else _map_present(tf.zeros_like, one)
            for i, one in enumerate(self._weights)
        ]
        if not self._mogrifier:
            return all_gradients
        rows = tf.nest.map_structure(self._concat_rows, d_blocks.mogrifier)
        rounds = group_by_dimension(
            self._mogrifier.kernel_gradients(rows),
            self._equations.mogrifier_targets,
            len(self._weights),
        )
        return [one._replace(mogrifier=own) for one, own in zip(all_gradients, rounds, strict=True)]

    def _group_gradients(
        self,
        owner: int,
        sharing: Sequence[int],
        h_concat: tf.Tensor,
        residuals: Residuals,
        d_gates: tuple[GateGradients, ...],
    ) -> DimensionWeights:
        """Computes the gradients of the weights that some dimensions of a group share.

        Args:
          owner: The dimension that has the weights.
          sharing: The dimensions that use them and see the same H.
          h_concat: H, `[all rows, batch, dimensions * units]`.
          residuals: The residuals of `forward`.
          d_gates: The gradients of `backward`.
        """
        d_rows = {i: [self._concat_rows(array) for array in d_gates[i].sums] for i in sharing}
        d_products, d_sums = (
            functools.reduce(operator.add, [d_rows[i][at] for i in sharing]) for at in (0, -1)
        )
        gain, d_gain = self._gains[owner], None
        if gain is not None:
            scaled = []
            for i in sharing:
                normalized = residuals.dimensions[i].normalized
                assert isinstance(normalized, Normalized)
                scaled.append(d_rows[i][-1] * self._concat_rows(normalized.values))
            d_gain = gain.gradient(functools.reduce(operator.add, scaled))
        parameters = [self._parameter_gradients(i, residuals, d_gates[i]) for i in sharing]
        return DimensionWeights(
            kernel=self._products[owner].kernel_gradient(h_concat, d_products),
            bias=self._biases[owner].gradient(d_sums),
            gain=d_gain,
            parameters=tuple(
                functools.reduce(operator.add, parts) for parts in zip(*parameters, strict=True)
            ),
        )

    def _parameter_gradients(
        self, dimension: int, residuals: Residuals, d_gates: GateGradients
    ) -> Parameters:
        """Computes the gradients of the cell's own parameters of one dimension."""
        own = residuals.dimensions[dimension]
        arrays = (own.activations, own.memory, *d_gates.upstream) if d_gates.upstream else ()
        rows = [self._concat_rows(one) for one in arrays]
        of_layer = functools.partial(parameter_gradients, self._equations, dimension)
        return self._parameters[dimension].gradients(of_layer, *rows)

    def _concat_rows(self, array: tf.TensorArray) -> tf.Tensor:
        """Returns the rows of all hyperplanes, `[all rows, ...]`."""
        return concat_rows(array, self._schedule.rows, self._vectorizes)

    def _gain(self, hyperplane: tf.Tensor, dimension: int) -> tf.Tensor | None:
        gains = self._gains[dimension]
        return None if gains is None else gains.lookup(hyperplane)

    def _select_cells(self, values: tf.Tensor, hyperplane: tf.Tensor) -> tf.Tensor:
        """Returns the entries of a hyperplane's blocks, where an extent of 1 stands for all."""
        cells = self._schedule.rows.slice(self._schedule.cells, hyperplane)
        index, stride = tf.zeros_like(cells), 1
        extents = len(self._extents)
        sizes = zip(reversed(self._extents), reversed(values.shape[:extents]), strict=True)
        for extent, size in sizes:
            if size != 1:
                index += stride * (cells % extent)
                stride *= extent
            cells //= extent
        flat = tf.reshape(values, [-1, *tf.unstack(tf.shape(values))[extents:]])
        return tf.gather(flat, index)

    def _drop(self, hyperplane: tf.Tensor, hidden: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Applies the dropout masks to hidden vectors that enter blocks, or to their gradients."""
        if self._dropout_masks is None:
            return hidden
        return [
            part if mask is None else part * self._select_cells(mask, hyperplane)
            for part, mask in zip(hidden, self._dropout_masks, strict=True)
        ]

    def _hold(self, hyperplane: tf.Tensor, new: Sides, old: Sides) -> Sides:
        """Keeps the old vectors of masked blocks, along all dimensions but depth."""
        if self._keep is None:
            return new
        keep = self._select_cells(self._keep, hyperplane)[..., None]
        parts = []
        for new_vectors, old_vectors in zip(new, old, strict=True):
            held = [
                tf.where(keep, a, b)
                for a, b in zip(new_vectors[:-1], old_vectors[:-1], strict=True)
            ]
            parts.append((*held, new_vectors[-1]))
        return Sides(*parts)

    def _hold_gradient(self, hyperplane: tf.Tensor, d_blocks: Sides) -> tuple[Sides, Sides | None]:
        """Computes the gradients of `_hold`: of the new vectors, and of the old ones or None."""
        if self._keep is None:
            return d_blocks, None
        keep = self._select_cells(self._keep, hyperplane)[..., None]
        d_new, d_old = [], []
        for *d_held, d_depth in d_blocks:
            zeros = [tf.zeros_like(one) for one in d_held]
            pairs = list(zip(d_held, zeros, strict=True))
            d_new.append((*(tf.where(keep, one, zero) for one, zero in pairs), d_depth))
            d_old.append((*(tf.where(keep, zero, one) for one, zero in pairs), None))
        return Sides(*d_new), Sides(*d_old)


def _add_present(left: tuple, right: tuple) -> tuple:
    """Adds tensors of two tuples, where those of the right may be None."""
    return tuple(a if b is None else a + b for a, b in zip(left, right, strict=True))


def _map_present(function: Callable[..., tf.Tensor], *weights: DimensionWeights) -> Any:
    """Calls a function of each part of weights, but of a gain that there is not."""
    return tf.nest.map_structure(
        lambda *parts: None if parts[0] is None else function(*parts), *weights
    )
