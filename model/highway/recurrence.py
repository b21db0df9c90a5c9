"""The recurrent highway network as a function of tensors, with a hand-written gradient."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ..core import State
from ..execution.compilation import GATES, Compilation
from ..grid.derivatives import with_gradient
from ..stacked.execution import execute
from .highway_loop import HighwayLoop


class HighwayWeights(NamedTuple):
    """The weights of a recurrent highway network.

    The columns of kernels and biases are those of the transform gate t, then of the candidate h.

    Attributes:
      kernel: The kernel of the inputs, `[features, 2 * units]`, which enter the first micro-layer
        alone; None where a packed kernel takes its place.
      recurrent_kernel: The kernels of the state, `[depth, units, 2 * units]`, one per micro-layer;
        None where packed kernels take their place.
      bias: The biases, `[depth, 2 * units]`.
    """

    kernel: tf.Tensor | None
    recurrent_kernel: tf.Tensor | None
    bias: tf.Tensor


def residual_size(depth: int) -> tuple[int, int]:
    """Returns how many numbers the forward pass saves, in multiples of `units`.

    They are, per step and batch row, the state that enters each micro-layer, t and h in the compute
    dtype, and none in the dtype of the state; see `grid.wavefront.residuals.residual_size`.

    >>> residual_size(depth=5)
    (15, 0)

    Args:
      depth: The number of micro-layers.
    """
    return 3 * depth, 0


def recurrent_highway(
    hidden: tf.Tensor,
    state: State,
    weights: HighwayWeights,
    dropout_masks: tf.Tensor | None = None,
    compilation: Compilation = GATES,
    remat_steps: int = 0,
    keep: tf.Tensor | None = None,
    training: bool = True,
) -> tuple[tf.Tensor, State]:
    """Computes a recurrent highway network over a sequence.

        s_0(t) = s_L(t - 1)
        t_l = sigmoid(x W_t [l = 1] + s_{l-1} R_t^l + b_t^l)
        h_l = tanh(x W_h [l = 1] + s_{l-1} R_h^l + b_h^l)
        s_l = t_l * h_l + (1 - t_l) * s_{l-1}

    Zilly, Srivastava, Koutnik, Schmidhuber, "Recurrent Highway Networks" (arXiv 1607.03474),
    section 4, with coupled gates. Products are computed in the dtype of `hidden`, all else in that
    of the state's memory. Both parts of the state are s: the hidden vectors enter products, and the
    memory, which no compute dtype rounds, is what is carried.

    Args:
      hidden: The inputs x, `[steps, batch, features]`; with `remat_steps` they are `units` wide.
      state: The state before the first step, `[1, batch, units]` each.
      weights: The weights.
      dropout_masks: Factors on the state where it enters products, the same in all steps and
        micro-layers (variational dropout), `[1, 1, batch, units]`; None for no dropout.
      compilation: How the net is compiled. Default: its gates alone.
      remat_steps: The length, in steps, of the segments whose residuals the backward pass computes
        again; 0 to store those of all steps.
      keep: The mask, `[steps, batch]`, boolean; a step where it is False leaves the state as it is,
        and what it puts out means nothing. None for no mask.
      training: Whether a gradient is likely to be taken; otherwise it runs the forward pass again.
        Default True.

    Returns:
      The states after the last micro-layer, `[steps, batch, units]`, and the final state.
    """
    return execute(
        _whole, hidden, state, weights, dropout_masks, compilation, remat_steps, keep, training
    )


def _whole(
    hidden: tf.Tensor,
    state: State,
    weights: HighwayWeights,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, State]:
    """Computes the net over the whole sequence; see `recurrent_highway`."""
    mask = None if dropout_masks is None else dropout_masks[0, 0]

    def run(save: bool, *arguments: tf.Tensor) -> tuple:
        inputs, first_hidden, first_memory, kernel, recurrent_kernel, bias = arguments
        loop = HighwayLoop(inputs, kernel, recurrent_kernel, bias, compilation, keep, mask)
        return loop, loop.forward(save, inputs, first_hidden, first_memory)

    def plain(*arguments: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return run(False, *arguments)[1][:3]

    def forward(*arguments: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        saved = run(training, *arguments)

        def backward(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # Without training all anew: a SavedModel keeps no tensors from between the operations.
            loop, results = saved if training else run(True, *arguments)
            return loop.backward(results[3], arguments[0], *upstream)

        return saved[1][:3], backward

    assert weights.kernel is not None and weights.recurrent_kernel is not None
    first = tf.cast(state.hidden[0], hidden.dtype), state.memory[0]
    outputs, *final = with_gradient(forward, plain, hidden, *first, *weights)
    return outputs, State(*(part[None] for part in final))
