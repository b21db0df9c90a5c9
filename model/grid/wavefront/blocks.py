"""All blocks of a hyperplane at once, and their derivative."""

from collections.abc import Sequence

import tensorflow as tf

from ...config import GridEquations
from ...execution.compilation import Compilation, compiled
from ..reference import (
    DimensionWeights,
    Sides,
    transform_dimension,
    transform_dimension_gradient,
)
from .products import LayerVectors, Products
from .residuals import Kept, Tape, rows_of
from .schedule import Schedule


class Blocks:
    """The blocks of one grid; see `grid.grid_reference` for the arguments.

    Rows are `[rows, batch, units]`, as the schedule orders them.
    """

    def __init__(
        self,
        schedule: Schedule,
        weights: Sequence[DimensionWeights],
        equations: GridEquations,
        extents: tuple[int | tf.Tensor, ...],
        dropout: Sequence[tf.Tensor | None] | None,
        keep: tf.Tensor | None,
        compilation: Compilation,
        dtype: tf.DType,
    ):
        """Prepares the weights for products in `dtype`."""
        self._schedule = schedule
        self._equations = equations
        self._extents = extents
        self._dropout = dropout
        self._keep = keep
        self._transforms, self._transform_gradients = (
            [compiled(function, compilation, equations, i) for i in range(len(extents))]
            for function in (transform_dimension, transform_dimension_gradient)
        )
        xla = compilation.whole
        self._products = [Products(one.kernel, dtype, schedule, xla) for one in weights]
        self._biases = [LayerVectors(one.bias, schedule, xla) for one in weights]
        self._gains = [
            None if one.gain is None else LayerVectors(one.gain, schedule, xla) for one in weights
        ]

    def forward(self, d: tf.Tensor, rows: Sides) -> tuple[Sides, Tape]:
        """What leaves the blocks of hyperplane d, and what to keep, from what enters them."""
        hidden, memory = list(self._drop(d, rows.hidden)), list(rows.memory)
        together, kept = [], [None] * len(hidden)
        for stage in self._equations.stages:
            together.append(tf.concat(hidden, axis=-1))
            for i in stage:
                product = self._products[i].forward(d, together[-1])
                hidden[i], memory[i], activations, normalized = self._transforms[i](
                    product,
                    self._biases[i].of(d, product),
                    self._gain(d, i, product),
                    rows.memory[i],
                )
                kept[i] = Kept(activations, rows.memory[i], normalized)
        blocks = Sides(tuple(hidden), tuple(memory))
        return self._hold(d, blocks, rows), Tape(tuple(together), tuple(kept))

    def backward(self, d: tf.Tensor, kept: Sequence[Kept], blocks: Sides) -> tuple[Sides, tuple]:
        """The derivative of `forward`, from what each dimension has kept.

        Returns:
          Gradients of what entered, and per dimension what `tape.gate_records` holds.
        """
        equations = self._equations
        blocks, passed = self._hold_gradient(d, blocks)
        new_hidden, old_memory = list(blocks.hidden), list(blocks.memory)
        old_hidden = [None] * len(new_hidden)
        found = [None] * len(new_hidden)
        done = [i for stage in equations.stages for i in stage]
        for stage in reversed(equations.stages):
            done = done[: -len(stage)]
            together = None
            for i in stage:
                gain = self._gain(d, i, kept[i].activations)
                product, before_bias, old_memory[i] = self._transform_gradients[i](
                    *kept[i], gain, new_hidden[i], old_memory[i]
                )
                found[i] = (product,) if gain is None else (product, before_bias)
                seen = self._products[i].backward(d, product)
                together = seen if together is None else together + seen
            for i, seen in enumerate(tf.split(together, len(new_hidden), axis=-1)):
                if i in done:
                    new_hidden[i] += seen
                else:
                    old_hidden[i] = seen if old_hidden[i] is None else old_hidden[i] + seen
        hidden = self._drop(d, old_hidden)
        rows = Sides(tuple(hidden), tuple(old_memory))
        if passed is not None:
            rows = Sides(
                *(
                    tuple(a if b is None else a + b for a, b in zip(*pair, strict=True))
                    for pair in zip(rows, passed, strict=True)
                )
            )
        return rows, tuple(found)

    def weights_gradient(self, tape: Tape, gates: tuple) -> list[DimensionWeights]:
        """The gradients of the weights from arrays over all hyperplanes.

        Args:
          tape: of `forward`.
          gates: of `backward`.
        """
        rows = self._schedule.rows
        together = {}
        for stage, record in zip(self._equations.stages, tape.together, strict=True):
            together.update(dict.fromkeys(stage, rows_of(record, rows)))
        gradients = []
        for i, gain in enumerate(self._gains):
            found = [rows_of(record, rows) for record in gates[i]]
            parts = [
                self._products[i].kernel_gradient(together[i], found[0]),
                self._biases[i].gradient(found[-1]),
            ]
            if gain is not None:
                normalized = rows_of(tape.kept[i].normalized.values, rows)
                parts.append(gain.gradient(found[-1] * normalized))
            gradients.append(DimensionWeights(*parts))
        return gradients

    def _gain(self, d, dimension, rows):
        gains = self._gains[dimension]
        return None if gains is None else gains.of(d, rows)

    def _of_cells(self, values, d):
        """The entries of a hyperplane's blocks, where an extent of 1 stands for all."""
        cells = self._schedule.rows.of(self._schedule.cells, d)
        index, stride = tf.zeros_like(cells), 1
        for extent, size in zip(
            reversed(self._extents), reversed(values.shape[: len(self._extents)]), strict=True
        ):
            if size != 1:
                index += stride * (cells % extent)
                stride *= extent
            cells //= extent
        return tf.gather(
            tf.reshape(values, [-1, *tf.unstack(tf.shape(values))[len(self._extents) :]]), index
        )

    def _drop(self, d, hidden):
        """Hidden vectors that enter blocks, or their gradients, with dropout."""
        if self._dropout is None:
            return hidden
        return [
            part if mask is None else part * self._of_cells(mask, d)
            for part, mask in zip(hidden, self._dropout, strict=True)
        ]

    def _hold(self, d, new, old):
        """What leaves the blocks that are to pass on what enters them, as it entered."""
        if self._keep is None:
            return new
        kept = self._of_cells(self._keep, d)[..., None]
        return Sides(
            *(
                (
                    *(tf.where(kept, a, b) for a, b in zip(news[:-1], olds[:-1], strict=True)),
                    news[-1],
                )
                for news, olds in zip(new, old, strict=True)
            )
        )

    def _hold_gradient(self, d, blocks):
        """The derivative of `_hold`: gradients of the new vectors, and of the old or None."""
        if self._keep is None:
            return blocks, None
        kept = self._of_cells(self._keep, d)[..., None]
        zeros = [[tf.zeros_like(one) for one in part[:-1]] for part in blocks]
        new, passed = (
            Sides(
                *(
                    (
                        *(
                            tf.where(chosen, one, zero)
                            for one, zero in zip(part[:-1], none, strict=True)
                        ),
                        last,
                    )
                    for part, none, last in zip(blocks, zeros, lasts, strict=True)
                )
            )
            for chosen, lasts in (
                (kept, [part[-1] for part in blocks]),
                (~kept, [None, None]),
            )
        )
        return new, passed
