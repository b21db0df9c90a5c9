"""Nets that keep only what crosses the borders between pieces of a sequence.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174), along the first
dimension of a grid; the rest is computed again for the gradient.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..config import GridEquations
from ..errors import InputError
from ..execution.compilation import GATES, Compilation
from ..shapes import shape_of
from .reference import DimensionWeights, Sides
from .wavefront.wavefront import grid_inference, grid_wavefront


def square_root_piece(steps: int) -> int:
    """The length of pieces at which what is kept grows with the square root of the steps.

    T / s borders and the tape of s steps are least in sum near s = sqrt(T); a divisor of T is
    preferred where there is one between sqrt(T) and 2 sqrt(T).
    """
    least = math.isqrt(steps - 1) + 1
    return next((s for s in range(least, 2 * least) if steps % s == 0), least)


def grid_recomputed(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    piece: int,
    dropout: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    compilation: Compilation = GATES,
) -> Sides:
    """The same function as `wavefront.grid_wavefront` in less memory, for one more forward pass.

    For a 2-D grid of T steps the forward pass keeps T / piece borders of `2 * units` numbers per
    layer and batch row; the backward pass runs each piece again and holds the tape of `piece` steps
    at a time, see `tape.kept_numbers`.

    Args:
      piece: steps along the first dimension whose tape is held at once.

    Raises:
      InputError: for a 1-D grid; or if the piece does not divide the steps where shapes are static.
    """
    if len(extents) == 1:
        raise InputError("recompute needs a dimension besides depth; a 1-D grid has none")
    cut = Cut.of(extents[0], piece, compilation)
    parts = [tuple(part for part in one if part is not None) for one in weights]

    def run(index, border, sides, flat_weights, training):
        packed = [DimensionWeights(*one) for one in tf.nest.pack_sequence_as(parts, flat_weights)]
        entering = Sides(*((first, *rest) for first, rest in zip(border, sides, strict=True)))
        grid = grid_wavefront if training else grid_inference
        leaving = grid(
            entering,
            packed,
            equations,
            (cut.length(index), *extents[1:]),
            None if dropout is None else [cut.part_of_cells(mask, index) for mask in dropout],
            cut.part_of_cells(keep, index),
            compilation,
        )
        return [part[0] for part in leaving], [part[1:] for part in leaving]

    border = [part[0] for part in sides]
    rest = [part[1:] for part in sides]
    final, leaving = recomputed(run, cut, border, rest, tf.nest.flatten(parts))
    return Sides(*((first, *others) for first, others in zip(final, leaving, strict=True)))


def recomputed(
    run: Callable[..., tuple[Any, Any]], cut: "Cut", border: Any, sides: Any, weights: list
) -> tuple[Any, Any]:
    """Runs a net piece by piece, and each piece again for its gradient.

    Args:
      run: takes the index of a piece, the border before it, the piece of the sides, the weights and
        whether a gradient will be asked for; returns the border after it and what leaves its sides.
      cut: of the sequence.
      border: what enters the first piece; nested tensors.
      sides: what enters all along, `[steps, ...]` each; nested tensors.
      weights: tensors.

    Returns:
      The last border and what left all along, nested as they came.
    """

    @tf.custom_gradient
    def differentiable(border, sides, weights):
        final, leaving, borders = _forward(run, cut, border, sides, weights)

        def gradient(*upstream):
            border_gradient, sides_gradient = tf.nest.pack_sequence_as((final, leaving), upstream)
            found = _backward(run, cut, borders, sides, weights, border_gradient, sides_gradient)
            return tf.nest.flatten(found)

        return tf.nest.flatten((final, leaving)), gradient

    flat = differentiable(border, sides, weights)
    return tf.nest.pack_sequence_as((border, sides), flat)


class Cut(NamedTuple):
    """A sequence cut into pieces, the last of which may be shorter."""

    steps: int | tf.Tensor
    piece: int | tf.Tensor
    static: bool

    @classmethod
    def of(cls, steps: int | tf.Tensor, piece: int, compilation: Compilation) -> "Cut":
        """Pieces of at most `piece` steps.

        Raises:
          InputError: if the piece does not divide the steps where shapes must be static.
        """
        if compilation.whole and steps % piece:
            raise InputError(
                f"recompute is {piece} steps and the sequence {steps}; within an XLA program the "
                f"first must divide the second"
            )
        return cls(steps, min(piece, steps), compilation.whole)

    @property
    def count(self):
        return -(-self.steps // self.piece)

    def length(self, index):
        if self.static:
            return self.piece
        return tf.minimum(self.piece, self.steps - index * self.piece)

    def part(self, side, index):
        """A piece of `[steps, ...]`."""
        begin = [index * self.piece, *(0 for _ in side.shape[1:])]
        part = tf.slice(side, begin, [self.length(index), *(-1 for _ in side.shape[1:])])
        part.set_shape([self.piece if self.static else None, *side.shape[1:]])
        return part

    def part_of_cells(self, values, index):
        """A piece of what has an extent of 1 for what all steps share, or of None."""
        return values if values is None or values.shape[0] == 1 else self.part(values, index)

    def record(self, like):
        """An array of one entry `[piece, ...]` per piece."""
        shape = [self.piece if self.static else None, *like.shape[1:]]
        return tf.TensorArray(
            like.dtype, self.count, infer_shape=False, element_shape=shape, clear_after_read=False
        )

    def whole(self, record, like):
        """All entries of an array, one after the other."""
        return tf.reshape(record.stack() if self.static else record.concat(), shape_of(like))


def _forward(run, cut, border, sides, weights):
    """What leaves the grid, and the borders before each piece as arrays."""

    def step(index, border, leaving, borders):
        borders = tf.nest.map_structure(lambda a, b: a.write(index, b), borders, border)
        parts = tf.nest.map_structure(lambda side: cut.part(side, index), sides)
        border, out = run(index, border, parts, weights, training=False)
        leaving = tf.nest.map_structure(lambda a, b: a.write(index, b), leaving, out)
        return index + 1, border, leaving, borders

    borders = tf.nest.map_structure(
        lambda one: tf.TensorArray(
            one.dtype, cut.count, element_shape=one.shape, clear_after_read=False
        ),
        border,
    )
    leaving = tf.nest.map_structure(cut.record, sides)
    _, border, leaving, borders = tf.while_loop(
        lambda index, *_: index < cut.count,
        step,
        (tf.constant(0), border, leaving, borders),
        maximum_iterations=cut.count,
    )
    return border, tf.nest.map_structure(cut.whole, leaving, sides), borders


def _backward(run, cut, borders, sides, weights, border_gradient, leaving_gradient):
    """Gradients of the first border, of the sides and of the weights."""

    def step(count, border_gradient, records, sums):
        index = cut.count - 1 - count
        border = tf.nest.map_structure(lambda one: one.read(index), borders)
        parts = tf.nest.map_structure(lambda side: cut.part(side, index), sides)
        upstream = tf.nest.map_structure(lambda side: cut.part(side, index), leaving_gradient)
        sources = (border, parts, list(weights))
        with tf.GradientTape() as tape:
            tape.watch(tf.nest.flatten(sources))
            out = run(index, border, parts, weights, training=True)
        found = tape.gradient(
            tf.nest.flatten(out),
            tf.nest.flatten(sources),
            tf.nest.flatten((border_gradient, upstream)),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        border_gradient, entering, weights_now = tf.nest.pack_sequence_as(sources, found)
        records = tf.nest.map_structure(lambda a, b: a.write(index, b), records, entering)
        sums = [a + b for a, b in zip(sums, weights_now, strict=True)]
        return count + 1, border_gradient, records, sums

    records = tf.nest.map_structure(cut.record, sides)
    sums = [tf.zeros_like(one) for one in weights]
    _, border_gradient, records, sums = tf.while_loop(
        lambda count, *_: count < cut.count,
        step,
        (tf.constant(0), border_gradient, records, sums),
        maximum_iterations=cut.count,
    )
    return border_gradient, tf.nest.map_structure(cut.whole, records, sides), sums
