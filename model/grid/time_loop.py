"""The loops over the time steps of one layer of a 2-D grid, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ..cells.cell import Parameters
from ..cells.normalization import Normalized
from ..execution.time_steps import hold, hold_gradient
from ..shapes import shape_of
from .equations import GridEquations
from .reference import (
    DimensionWeights,
    dimension_backward,
    dimension_forward,
    parameter_gradients,
)


class Vectors(NamedTuple):
    """The vectors of one dimension.

    Attributes:
      hidden: The hidden vectors, `[..., batch, units]`.
      memory: The memory vectors, `[..., batch, units]`; of width 0 for a cell without one.
    """

    hidden: tf.Tensor
    memory: tf.Tensor


class Saved(NamedTuple):
    """What the forward pass saves of each step, `[steps, ...]`.

    Attributes:
      hidden: The hidden vectors that entered, dropped by the mask.
      activations: The residual of the cell.
      memory: The memory vectors that entered.
      normalized: The residual of the layer normalisation; () without.
    """

    hidden: tf.Tensor
    activations: tf.Tensor
    memory: tf.Tensor
    normalized: Normalized | tuple[()]


class TimeLoop:
    """The two loops over the steps of one layer.

    Args:
      equations: The equations of the blocks.
      mask: The dropout mask, `[steps | 1, batch, units]`; None for no dropout.
      keep: The mask of the steps, `[steps | 1, batch]`; None for no mask.
    """

    def __init__(self, equations: GridEquations, mask: tf.Tensor | None, keep: tf.Tensor | None):
        self._equations = equations
        self._mask = mask
        self._keep = keep
        self._has_priority = len(equations.computation_order) > 1

    def _dropped(self, hidden: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Applies the dropout mask of a step."""
        return hidden if self._mask is None else hidden * _at(self._mask, step)

    def forward(
        self, projected: tf.Tensor, first: Vectors, weights: DimensionWeights, save: bool
    ) -> tuple[tuple[tf.Tensor, ...], Saved | None]:
        """Computes the blocks of time.

        Args:
          projected: The part of the products that comes from below, `[steps, batch, width]`.
          first: The vectors that enter the first step, `[batch, units]`.
          weights: The kernel of what time carries, `[units, gates * units]`, and all others.
          save: Whether to save what the backward pass needs.

        Returns:
          The hidden vectors that depth sees, `[steps, batch, units]`, hidden and memory after the
          last step; and what was saved, or None.
        """
        steps = shape_of(projected)[0]
        normalizes = self._equations.layer_normalization
        # Without normalisation in between, the bias joins the tall product.
        bias = weights.bias
        if not normalizes:
            projected = tf.cast(projected, bias.dtype) + bias
        entering = _array_of(projected)

        def step(at: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, arrays: Any) -> tuple:
            entered = self._dropped(hidden, at)
            product, added = tf.matmul(entered, weights.kernel), entering.read(at)
            arguments = (product + added, bias) if normalizes else (product, added)
            new = dimension_forward(
                self._equations, 0, *arguments, weights.gain, memory, weights.parameters
            )
            seen = new.hidden if self._has_priority else entered
            entries = seen, Saved(entered, new.activations, memory, new.normalized)
            arrays = tuple(
                tf.nest.map_structure(lambda array, one: array.write(at, one), *pair)
                for pair in zip(arrays, entries, strict=False)
            )
            state = new.hidden, new.memory
            if self._keep is not None:
                state = hold(_at(self._keep, at), state, (hidden, memory))
            return at + 1, *state, arrays

        arrays: tuple = (_array(steps, first.hidden),)
        if save:
            arrays += (self._saved_arrays(steps, projected, first),)
        _, hidden, memory, arrays = _loop(steps, step, (*first, arrays))
        seen, *saved = tf.nest.map_structure(lambda array: array.stack(), arrays)
        return (seen, hidden, memory), (saved[0] if saved else None)

    def _saved_arrays(self, steps: Any, projected: tf.Tensor, first: Vectors) -> Saved:
        """Returns empty arrays for what is saved of each step."""
        batch, width = projected.shape[1:]
        normalized: Normalized | tuple[()] = ()
        if self._equations.layer_normalization:
            normalized = Normalized(
                values=_array(steps, first.hidden, [batch, width]),
                scale=_array(steps, first.memory, [batch, self._equations.gates(0)]),
            )
        return Saved(
            hidden=_array(steps, first.hidden),
            activations=_array(steps, first.hidden, [batch, width]),
            memory=_array(steps, first.memory),
            normalized=normalized,
        )

    def backward(
        self,
        saved: Saved,
        weights: DimensionWeights,
        d_seen: tf.Tensor,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
    ) -> Sequence[tf.Tensor]:
        """Computes the gradients of the inputs of `forward`, flat.

        Args:
          saved: What the forward pass saved.
          weights: The weights of time.
          d_seen: The gradient of what depth sees, `[steps, batch, units]`.
          d_hidden: The gradient of the hidden vectors after the last step.
          d_memory: The gradient of the memory vectors after the last step.
        """
        steps = shape_of(d_seen)[0]
        read = tf.nest.map_structure(_array_of, (saved[1:], d_seen))
        kernel = tf.transpose(weights.kernel)

        def step(count: tf.Tensor, d_hidden: tf.Tensor, d_memory: tf.Tensor, arrays: list) -> tuple:
            at = steps - 1 - count
            residuals, d_output = tf.nest.map_structure(lambda one: one.read(at), read)
            d_held = None
            if self._keep is not None:
                d_new, d_held = hold_gradient(_at(self._keep, at), (d_hidden, d_memory))
                d_hidden, d_memory = d_new
            if self._has_priority:
                d_hidden += d_output
            activations, memory, normalized = residuals
            upstream = (d_hidden, d_memory) if weights.parameters else ()
            d_product, d_sum, d_memory = dimension_backward(
                self._equations,
                0,
                activations,
                memory,
                normalized,
                weights.gain,
                d_hidden,
                d_memory,
                weights.parameters,
            )
            d_entered = tf.matmul(d_product, kernel)
            d_hidden = self._dropped(d_entered if self._has_priority else d_entered + d_output, at)
            if d_held is not None:
                d_hidden, d_memory = d_hidden + d_held[0], d_memory + d_held[1]
            sums = (d_product,) if weights.gain is None else (d_product, d_sum)
            arrays = tf.nest.map_structure(
                lambda array, one: array.write(at, one), arrays, (sums, upstream)
            )
            return count + 1, d_hidden, d_memory, arrays

        sums = [saved.activations] * (1 if weights.gain is None else 2)
        upstream = [saved.hidden, saved.memory] if weights.parameters else []
        arrays = tuple(
            tuple(_array(steps, one, one.shape[1:]) for one in part) for part in (sums, upstream)
        )
        _, d_hidden, d_memory, arrays = _loop(steps, step, (d_hidden, d_memory, arrays))
        d_sums, d_new = tf.nest.map_structure(lambda array: array.stack(), arrays)
        d_weights = self._weight_gradients(saved, weights, *d_sums)
        d_parameters: Parameters = ()
        if weights.parameters:
            d_new_hidden, d_new_memory = d_new
            d_parameters = parameter_gradients(
                self._equations,
                0,
                saved.activations,
                saved.memory,
                d_new_hidden,
                d_new_memory,
                weights.parameters,
            )
        return d_sums[0], d_hidden, d_memory, *d_weights, *d_parameters

    def _weight_gradients(
        self,
        saved: Saved,
        weights: DimensionWeights,
        d_product: tf.Tensor,
        d_sum: tf.Tensor | None = None,
    ) -> list[tf.Tensor]:
        """Computes the gradients of kernel, bias and gain, over all steps at once."""
        rows, d_rows = (tf.reshape(one, [-1, one.shape[-1]]) for one in (saved.hidden, d_product))
        d_kernel = tf.matmul(rows, d_rows, transpose_a=True)
        d_sum = tf.cast(d_product if d_sum is None else d_sum, weights.bias.dtype)
        gradients = [d_kernel, tf.reduce_sum(d_sum, axis=[0, 1])]
        if weights.gain is not None:
            assert isinstance(saved.normalized, Normalized)
            d_gain = d_sum * tf.cast(saved.normalized.values, d_sum.dtype)
            gradients.append(tf.reduce_sum(d_gain, axis=[0, 1]))
        return gradients


def _at(values: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Returns the entry of a step, where one stands for all if there is but one."""
    return values[0 if values.shape[0] == 1 else step]


def _array(steps: Any, like: tf.Tensor, shape: Any = None) -> tf.TensorArray:
    """Returns an empty array of one entry per step, of the dtype and shape of a tensor."""
    return tf.TensorArray(like.dtype, steps, element_shape=like.shape if shape is None else shape)


def _array_of(values: tf.Tensor) -> tf.TensorArray:
    """Returns an array of the entries of a tensor `[steps, ...]`, to read them in a loop."""
    array = tf.TensorArray(
        values.dtype,
        shape_of(values)[0],
        element_shape=values.shape[1:],
        clear_after_read=False,
    )
    return array.unstack(values)


def _loop(steps: Any, step: Callable, variables: tuple) -> tuple:
    """Runs a step `steps` times; the first variable is their count."""

    def body(*variables: Any) -> Any:
        results = step(*variables)
        for new, old in zip(results[:3], variables[:3], strict=True):
            new.set_shape(old.shape)
        return results

    return tf.while_loop(
        lambda count, *_: count < steps,
        body,
        (tf.constant(0), *variables),
        maximum_iterations=steps,
    )
