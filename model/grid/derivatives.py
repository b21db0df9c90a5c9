"""Hand-written gradients, and where they give way to those that TensorFlow derives.

A hand-written gradient is fast and has two limits: it has no derivative of its own, and what a
forward pass has saved operation by operation (as in eager mode) cannot be read in a loop of a graph
that is built later, as `tf.GradientTape.jacobian` builds one. There the gradient of a *plain*
function, which computes the same in operations that TensorFlow differentiates, takes its place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Backward = Callable[..., Sequence[tf.Tensor]]
"""Maps the gradients of the outputs to those of the inputs."""


def with_gradient(
    forward: Callable[..., tuple[tuple[tf.Tensor, ...], Backward]],
    plain: Callable[..., tuple[tf.Tensor, ...]],
    *inputs: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Calls a function with a hand-written gradient.

    Args:
      forward: Maps the inputs to the outputs and the function that computes their gradients.
      plain: Maps the inputs to the same outputs, in operations that TensorFlow differentiates.
      *inputs: The inputs.

    Returns:
      The outputs, whose derivatives of any order are correct.
    """

    @tf.custom_gradient
    def differentiable(*inputs: tf.Tensor) -> Any:
        saved_eagerly = tf.executing_eagerly()
        # A tape that sees a loop has TensorFlow derive its gradient, in seconds, for nothing.
        outputs, backward = forward(*map(tf.stop_gradient, inputs))

        def gradient(*d_outputs: tf.Tensor) -> Sequence[tf.Tensor]:
            if saved_eagerly and not tf.executing_eagerly():
                return _plain_gradient(plain, inputs, d_outputs)
            return _with_second_derivative(backward, plain, inputs, d_outputs)

        return outputs, gradient

    return tuple(differentiable(*inputs))


def _with_second_derivative(
    backward: Backward,
    plain: Callable,
    inputs: Sequence[tf.Tensor],
    d_outputs: Sequence[tf.Tensor],
) -> Sequence[tf.Tensor]:
    """Computes a hand-written gradient, whose own derivatives are those of the plain function."""

    @tf.custom_gradient
    def differentiable(*arguments: tf.Tensor) -> Any:
        def second(*upstream: tf.Tensor) -> Sequence[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                inputs, d_outputs = arguments[:count], arguments[count:]
                first = _plain_gradient(plain, inputs, d_outputs)
            return tape.gradient(
                first, arguments, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        return tuple(backward(*map(tf.stop_gradient, arguments[count:]))), second

    count = len(inputs)
    return tuple(differentiable(*inputs, *d_outputs))


def _plain_gradient(
    plain: Callable, inputs: Sequence[tf.Tensor], d_outputs: Sequence[tf.Tensor]
) -> Sequence[tf.Tensor]:
    """Computes the gradients of the inputs as TensorFlow derives them."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = plain(*inputs)
    return tape.gradient(
        outputs, inputs, d_outputs, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
