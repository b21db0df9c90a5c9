"""The stacked LSTM, or another stacked recurrent net, with a hand-written gradient.

A 2-D grid whose depth dimension is a plain identity is this net. Its layers are run one after the
other over the whole sequence, because then the input half of every product is a single tall one.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from ..cells.cell import Cell
from ..cells.lstm import LSTM
from ..core import State
from ..execution.compilation import GATES, Compilation
from ..grid.derivatives import with_gradient
from .execution import execute
from .layer_loop import LayerLoop
from .weights import StackedWeights


def residual_size(cell: Cell = LSTM) -> tuple[int, int]:
    """Returns how many numbers the forward pass saves, in multiples of `units`.

    They are, per layer, step and batch row, h' and the activations in the compute dtype, and m in
    the dtype of the memory; see `grid.wavefront.residuals.residual_size`.

    >>> residual_size()
    (5, 1)

    Args:
      cell: The cell of the layers. Default: the LSTM.
    """
    return 1 + cell.gates, cell.memory_size + cell.takes_memory_below


def stacked_lstm(
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None = None,
    compilation: Compilation = GATES,
    remat_steps: int = 0,
    keep: tf.Tensor | None = None,
    training: bool = True,
    cell: Cell = LSTM,
    is_residual: bool = False,
) -> tuple[tf.Tensor, State]:
    """Computes a stacked recurrent net over a sequence.

        z = [h_below, h_time] W + b, then the cell, per layer and step

    Products are computed in the dtype of `hidden`, all else in that of the state's memory.
    `residual_size` says what the forward pass saves.

    Args:
      hidden: The inputs, `[steps, batch, units]`.
      state: The state before the first step.
      weights: The weights.
      dropout_masks: Factors on what each layer but the first receives from the layer below,
        `[steps, layers - 1, batch, units]`; None for no dropout.
      compilation: How the net is compiled. Default: its gates alone.
      remat_steps: The length, in steps, of the segments whose residuals the backward pass computes
        again; 0 to store those of all steps.
      keep: The mask, `[steps, batch]`, boolean; a step where it is False leaves the state as it is,
        and what it puts out means nothing. None for no mask.
      training: Whether a gradient is likely to be taken; otherwise it runs the forward pass again.
        Default True.
      cell: The cell of all layers. Default: the LSTM.
      is_residual: Whether each layer but the first adds what it receives to its outputs. Default
        False.

    Returns:
      The outputs of the last layer, `[steps, batch, units]`, and the final state.
    """
    layers = functools.partial(_layers, cell, is_residual)
    return execute(
        layers, hidden, state, weights, dropout_masks, compilation, remat_steps, keep, training
    )


def _layers(
    cell: Cell,
    is_residual: bool,
    hidden: tf.Tensor,
    state: State,
    weights: StackedWeights,
    dropout_masks: tf.Tensor | None,
    compilation: Compilation,
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, State]:
    """Computes layer after layer over the whole sequence; see `stacked_lstm`."""
    hiddens, memories = [], []
    below = [tf.zeros_like(hidden, state.memory.dtype)] if cell.takes_memory_below else []
    # The gradient of an index is as large as all layers, that of unstacking is a stack.
    layers = zip(*map(tf.unstack, (*state, *tf.nest.flatten(weights))), strict=True)
    for layer, (first_hidden, first_memory, *layer_weights) in enumerate(layers):
        if layer and dropout_masks is not None:
            hidden *= dropout_masks[:, layer - 1]
        entering = hidden, tf.cast(first_hidden, hidden.dtype), first_memory, *below
        outputs, final_hidden, final_memory, *below = _layer(
            cell, entering, layer_weights, compilation, keep, training
        )
        hidden = outputs + hidden if layer and is_residual else outputs
        hiddens.append(final_hidden)
        memories.append(final_memory)
    return hidden, State(hidden=tf.stack(hiddens), memory=tf.stack(memories))


def _layer(
    cell: Cell,
    entering: tuple[tf.Tensor, ...],
    weights: list[tf.Tensor],
    compilation: Compilation,
    keep: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, ...]:
    """Computes one layer over all steps.

    What enters are the inputs, `[steps, batch, units]`, the initial hidden and memory, and for a
    cell that takes them the memories of the layer below. The weights are the kernel, the bias and
    the cell's own parameters, of this layer alone. See `LayerLoop.forward` for what is returned.
    """
    count = len(entering)

    def run(save: bool, *arguments: tf.Tensor) -> tuple:
        inputs, hidden, memory, *below = arguments[:count]
        kernel, bias, *parameters = arguments[count:]
        layer = LayerLoop(cell, inputs, kernel, tuple(parameters), compilation, keep)
        return layer, *layer.forward(save, inputs, hidden, memory, bias, tuple(below))

    def plain(*arguments: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return run(False, *arguments)[1]

    def forward(*arguments: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
        inputs, first = arguments[:2]
        saved = run(training, *arguments)

        def backward(
            d_outputs: tf.Tensor,
            d_hidden: tf.Tensor,
            d_memory: tf.Tensor,
            *d_memories: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            # Without training all anew: a SavedModel keeps no tensors from between the operations.
            layer, (outputs, *_), residuals = saved if training else run(True, *arguments)
            if residuals.old_hidden is None:
                old_hidden = tf.concat([first[None], outputs[:-1]], axis=0)
            else:
                old_hidden = residuals.old_hidden.stack()
            return layer.backward(
                residuals, inputs, old_hidden, d_outputs, d_hidden, d_memory, d_memories
            )

        return saved[1], backward

    return with_gradient(forward, plain, *entering, *weights)
