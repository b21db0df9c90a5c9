"""What the hand-written loops over time steps of recurrent nets share."""

from collections.abc import Callable

import tensorflow as tf

from ..shapes import shape_of

KernelLayouts = tuple[tuple[tf.Tensor, bool], tuple[tf.Tensor, bool]]
"""A kernel and whether to transpose it, for the product and for the gradient of the product."""


def kernel_layouts(kernel: tf.Tensor, jits_step: bool) -> KernelLayouts:
    """Lays a kernel out for its product and for the gradient of the product.

    `grid.wavefront.products.Products` gives the reason.

    Args:
      kernel: The kernel, `[rows, columns]`, in the compute dtype.
      jits_step: Whether the whole step is one XLA program.
    """
    if jits_step or kernel.dtype == tf.bfloat16:
        forward = (kernel, False) if jits_step else (tf.transpose(kernel), True)
        return forward, (kernel, True)
    return (kernel, False), (tf.transpose(kernel), False)


def step_array(
    steps: int | tf.Tensor, batch: int | tf.Tensor, width: int, dtype: tf.DType
) -> tf.TensorArray:
    """Returns an empty array of one entry `[batch, width]` per step.

    Args:
      steps: The number of steps.
      batch: The number of batch rows, a tensor where it is not known.
      width: The width of an entry.
      dtype: The dtype of an entry.
    """
    return tf.TensorArray(
        dtype,
        size=steps,
        element_shape=[batch if isinstance(batch, int) else None, width],
        clear_after_read=False,
    )


def tall_product(rows: tf.Tensor, kernel: tf.Tensor, transpose: bool = False) -> tf.Tensor:
    """Multiplies the rows of all steps, `[steps, batch, width]`, by a kernel in one product."""
    *leading, width = shape_of(rows)
    flat = tf.matmul(tf.reshape(rows, [-1, width]), kernel, transpose_b=transpose)
    return tf.reshape(flat, [*leading, flat.shape[-1]])


def loop_over(count: int | tf.Tensor, step: Callable, variables: tuple) -> tuple:
    """Calls `step(number, *variables)`, which returns its arguments for the next, `count` times."""
    return tf.while_loop(
        lambda number, *_: number < count,
        step,
        (tf.constant(0), *variables),
        maximum_iterations=count,
    )[1:]


def hold(keep: tf.Tensor, new: tuple, old: tuple) -> tuple:
    """Returns the old state where the mask `[batch]` of a step is False."""
    return tuple(tf.where(keep[:, None], a, b) for a, b in zip(new, old, strict=True))


def hold_gradient(keep: tf.Tensor, d_state: tuple) -> tuple[tuple, tuple]:
    """Splits the gradient of a state into those of the new and of the old state."""
    d_new = tuple(tf.where(keep[:, None], one, tf.zeros_like(one)) for one in d_state)
    d_old = tuple(tf.where(keep[:, None], tf.zeros_like(one), one) for one in d_state)
    return d_new, d_old
