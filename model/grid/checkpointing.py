"""Gradient checkpointing along a sequence: segments whose residuals are computed again.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174), along the first
dimension of a grid. The forward pass stores only the states at the boundaries between segments; the
backward pass runs each segment again (rematerialisation).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ..errors import InputError
from ..execution.compilation import GATES, Compilation
from ..shapes import shape_of
from .derivatives import with_gradient
from .equations import GridEquations
from .reference import (
    DimensionWeights,
    Sides,
    flatten_weights,
    grid_reference,
    pack_weights,
)
from .wavefront.residuals import stack_run
from .wavefront.wavefront import grid_wavefront


def square_root_segment(steps: int) -> int:
    """Returns the segment length at which memory grows with the square root of the steps.

    T / s boundaries and the residuals of s steps are least in sum near s = sqrt(T); a divisor of T
    is preferred where there is one between sqrt(T) and 2 sqrt(T).

    >>> square_root_segment(1000)
    40

    Args:
      steps: The number of time steps T of the sequence.
    """
    least = math.isqrt(steps - 1) + 1
    return next((s for s in range(least, 2 * least) if steps % s == 0), least)


def grid_checkpointed(
    sides: Sides,
    weights: Sequence[DimensionWeights],
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    remat_steps: int,
    dropout_masks: Sequence[tf.Tensor | None] | None = None,
    keep: tf.Tensor | None = None,
    compilation: Compilation = GATES,
) -> Sides:
    """Computes `wavefront.grid_wavefront` in less memory, for one more forward pass.

    For a 2-D grid of T steps the forward pass stores T / remat_steps boundaries of `2 * units`
    numbers per layer and batch row; the backward pass holds the residuals of `remat_steps` steps at
    a time, see `residuals.residual_size`.

    Args:
      sides: The vectors that enter, per dimension `[*other extents, batch, units]`.
      weights: The weights of each dimension.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension; the last is the number of layers.
      remat_steps: The length of a segment, in steps along the first dimension.
      dropout_masks: The dropout masks; see `grid_wavefront`.
      keep: The mask of the steps; see `grid_wavefront`.
      compilation: How the grid is compiled.

    Returns:
      The vectors that leave, of the same shapes as `sides`.

    Raises:
      InputError: For a 1-D grid; or if the segment does not divide the steps where shapes are
        static.
    """
    if len(extents) == 1:
        raise InputError("remat_steps needs a dimension besides depth; a 1-D grid has none")
    # The schedule of more dimensions needs segments whose length is known.
    is_static = compilation.jits_step or len(extents) > 2
    segments = Segments.create(extents[0], remat_steps, is_static)

    def packed(
        boundary: list, sides: list, flat_weights: list
    ) -> tuple[Sides, list[DimensionWeights]]:
        entering = Sides(*((first, *rest) for first, rest in zip(boundary, sides, strict=True)))
        return entering, pack_weights(weights, flat_weights)

    def run(
        index: tf.Tensor, boundary: list, sides: list, flat_weights: list, training: bool
    ) -> tuple[list, list]:
        masks = dropout_masks and [segments.cell_slice(mask, index) for mask in dropout_masks]
        leaving = grid_wavefront(
            *packed(boundary, sides, flat_weights),
            equations,
            (segments.length(index), *extents[1:]),
            masks,
            segments.cell_slice(keep, index),
            compilation,
            training,
        )
        return [part[0] for part in leaving], [part[1:] for part in leaving]

    def plain(boundary: list, sides: list, flat_weights: list) -> tuple[list, list]:
        entering, own = packed(boundary, sides, flat_weights)
        leaving = grid_reference(entering, own, equations, extents, dropout_masks, keep)
        return [part[0] for part in leaving], [part[1:] for part in leaving]

    boundary = [part[0] for part in sides]
    rest = [part[1:] for part in sides]
    flat = flatten_weights(weights)
    final, leaving = checkpointed(run, plain, segments, boundary, rest, flat)
    return Sides(*((first, *others) for first, others in zip(final, leaving, strict=True)))


def checkpointed(
    run: Callable[..., tuple[Any, Any]],
    plain: Callable[..., tuple[Any, Any]],
    segments: "Segments",
    boundary: Any,
    sides: Any,
    weights: list[tf.Tensor],
) -> tuple[Any, Any]:
    """Runs a net segment by segment, and each segment again for its gradient.

    Args:
      run: Maps the index of a segment, the boundary before it, the segment's part of the sides, the
        weights and whether a gradient will be taken (`training`) to the boundary after the segment
        and the vectors that leave its sides.
      plain: Maps the first boundary, the sides and the weights to the same for the whole sequence,
        in operations that TensorFlow differentiates; see `derivatives.with_gradient`.
      segments: The segments of the sequence.
      boundary: The vectors that enter the first segment; nested tensors.
      sides: The vectors that enter at every step, `[steps, ...]` each; nested tensors.
      weights: The weights.

    Returns:
      The last boundary and the vectors that left at every step, nested as they came.
    """

    structure = boundary, sides, weights

    def forward(*inputs: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        boundary, sides, weights = tf.nest.pack_sequence_as(structure, inputs)
        final, leaving, boundaries = _forward(run, segments, boundary, sides, weights)

        def backward(*upstream: tf.Tensor) -> list[tf.Tensor]:
            d_boundary, d_leaving = tf.nest.pack_sequence_as((final, leaving), upstream)
            gradients = _backward(run, segments, boundaries, sides, weights, d_boundary, d_leaving)
            return tf.nest.flatten(gradients)

        return tuple(tf.nest.flatten((final, leaving))), backward

    def plain_forward(*inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.nest.flatten(plain(*tf.nest.pack_sequence_as(structure, inputs))))

    flat = with_gradient(forward, plain_forward, *tf.nest.flatten(structure))
    return tf.nest.pack_sequence_as((boundary, sides), flat)


@dataclasses.dataclass(frozen=True)
class Segments:
    """The segments of a sequence, the last of which may be shorter.

    Attributes:
      steps: The number of time steps of the sequence.
      segment: The number of time steps of a segment.
      static: Whether shapes are static, so that all segments have the same length.
    """

    steps: int | tf.Tensor
    segment: int | tf.Tensor
    static: bool

    @classmethod
    def create(cls, steps: int | tf.Tensor, segment: int, static: bool) -> "Segments":
        """Returns segments of at most `segment` steps.

        Args:
          steps: The number of time steps of the sequence.
          segment: The number of time steps of a segment.
          static: Whether shapes must be static.

        Raises:
          InputError: If the segment does not divide the steps where shapes must be static.
        """
        if isinstance(steps, int):
            segment = min(segment, steps)
        where = "within an XLA program, and in a grid of more than two dimensions"
        if static and not isinstance(steps, int):
            raise InputError(
                f"remat_steps is {segment}, and the length of the sequence is unknown, which must "
                f"be known {where}; give the input a size, or leave remat_steps out"
            )
        if static and steps % segment:
            raise InputError(
                f"remat_steps is {segment} and the sequence {steps} steps long; {where} the first "
                "must divide the second"
            )
        return cls(steps=steps, segment=segment, static=static)

    @property
    def count(self) -> int | tf.Tensor:
        """The number of segments."""
        return -(-self.steps // self.segment)

    def length(self, index: tf.Tensor) -> int | tf.Tensor:
        """Returns the number of steps of a segment."""
        if self.static:
            return self.segment
        return tf.minimum(self.segment, self.steps - index * self.segment)

    def slice(self, side: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Returns the part of a side `[steps, ...]` that belongs to a segment."""
        begin = [index * self.segment, *(0 for _ in side.shape[1:])]
        part = tf.slice(side, begin, [self.length(index), *(-1 for _ in side.shape[1:])])
        part.set_shape([self.segment if self.static else None, *side.shape[1:]])
        return part

    def cell_slice(self, values: tf.Tensor | None, index: tf.Tensor) -> tf.Tensor | None:
        """Returns the part of values whose first extent is 1 where all steps share them."""
        return values if values is None or values.shape[0] == 1 else self.slice(values, index)

    def array(self, like: tf.Tensor) -> tf.TensorArray:
        """Returns an empty array of one entry `[segment, ...]` per segment."""
        shape = [self.segment if self.static else None, *like.shape[1:]]
        return tf.TensorArray(
            like.dtype, self.count, infer_shape=False, element_shape=shape, clear_after_read=False
        )

    def concat(self, array: tf.TensorArray, like: tf.Tensor) -> tf.Tensor:
        """Concatenates the entries of an array to the shape of `like`."""
        if self.static:
            return tf.reshape(array.stack(), shape_of(like))
        if tf.executing_eagerly():
            return tf.reshape(array.concat(), shape_of(like))
        # Not `array.concat`; `wavefront.residuals.concat_rows` gives the reason.
        whole = stack_run(array, 0, tf.maximum(self.count - 1, 1))
        whole = whole[: (self.count - 1) * self.segment]
        return tf.reshape(tf.concat([whole, array.read(self.count - 1)], 0), shape_of(like))


def _write(arrays: Any, index: tf.Tensor, entries: Any) -> Any:
    return tf.nest.map_structure(lambda array, one: array.write(index, one), arrays, entries)


def _forward(
    run: Callable, segments: Segments, boundary: Any, sides: Any, weights: list
) -> tuple[Any, Any, Any]:
    """Computes the last boundary, the leaving vectors, and the boundaries before each segment."""

    def step(index: tf.Tensor, boundary: Any, leaving: Any, boundaries: Any) -> tuple:
        boundaries = _write(boundaries, index, boundary)
        parts = tf.nest.map_structure(lambda side: segments.slice(side, index), sides)
        boundary, out = run(index, boundary, parts, weights, training=False)
        return index + 1, boundary, _write(leaving, index, out), boundaries

    boundaries = tf.nest.map_structure(
        lambda one: tf.TensorArray(
            one.dtype, segments.count, element_shape=one.shape, clear_after_read=False
        ),
        boundary,
    )
    leaving = tf.nest.map_structure(segments.array, sides)
    _, boundary, leaving, boundaries = tf.while_loop(
        lambda index, *_: index < segments.count,
        step,
        (tf.constant(0), boundary, leaving, boundaries),
        maximum_iterations=segments.count,
    )
    return boundary, tf.nest.map_structure(segments.concat, leaving, sides), boundaries


def _backward(
    run: Callable,
    segments: Segments,
    boundaries: Any,
    sides: Any,
    weights: list,
    d_boundary: Any,
    d_leaving: Any,
) -> tuple[Any, Any, list]:
    """Computes the gradients of the first boundary, of the sides and of the weights."""

    def step(count: tf.Tensor, d_boundary: Any, d_sides: Any, d_weights: list) -> tuple:
        index = segments.count - 1 - count
        boundary = tf.nest.map_structure(lambda array: array.read(index), boundaries)
        parts = tf.nest.map_structure(lambda side: segments.slice(side, index), sides)
        d_parts = tf.nest.map_structure(lambda side: segments.slice(side, index), d_leaving)
        sources = (boundary, parts, list(weights))
        with tf.GradientTape() as tape:
            tape.watch(tf.nest.flatten(sources))
            out = run(index, boundary, parts, weights, training=True)
        flat = tape.gradient(
            tf.nest.flatten(out),
            tf.nest.flatten(sources),
            tf.nest.flatten((d_boundary, d_parts)),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        d_boundary, d_entering, d_now = tf.nest.pack_sequence_as(sources, flat)
        d_sides = _write(d_sides, index, d_entering)
        d_weights = [a + b for a, b in zip(d_weights, d_now, strict=True)]
        return count + 1, d_boundary, d_sides, d_weights

    d_sides = tf.nest.map_structure(segments.array, sides)
    d_weights = [tf.zeros_like(one) for one in weights]
    _, d_boundary, d_sides, d_weights = tf.while_loop(
        lambda count, *_: count < segments.count,
        step,
        (tf.constant(0), d_boundary, d_sides, d_weights),
        maximum_iterations=segments.count,
    )
    return d_boundary, tf.nest.map_structure(segments.concat, d_sides, sides), d_weights
