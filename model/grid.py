"""The 2-D Grid LSTM block and the cell-by-cell evaluation of a grid of them.

This is the definition that everything faster is held against. It is also how text is sampled: one
column of the grid at a time.
"""

from typing import NamedTuple

import tensorflow as tf

from model.config import GridEquations
from model.lstm_transform import lstm_transform


class State(NamedTuple):
    """What a recurrent net carries along time, each `[layers, batch, units]`."""

    hidden: tf.Tensor
    memory: tf.Tensor


class GridWeights(NamedTuple):
    """The weights of a grid.

    A leading dimension of 1 in place of `layers` means that the layers share that LSTM.

    Attributes:
      time_kernel: `[layers | 1, 2 * units, 4 * units]`, applied to `[h_depth, h_time]`.
      time_bias: `[layers | 1, 4 * units]`.
      depth_kernel: `[layers | 1, 2 * units, 4 * units]`, applied to `[h_depth, h_time or h_time']`.
      depth_bias: `[layers | 1, 4 * units]`.
    """

    time_kernel: tf.Tensor
    time_bias: tf.Tensor
    depth_kernel: tf.Tensor
    depth_bias: tf.Tensor


class Block(NamedTuple):
    """The four vectors that leave a block, each `[batch, units]`."""

    time_hidden: tf.Tensor
    time_memory: tf.Tensor
    depth_hidden: tf.Tensor
    depth_memory: tf.Tensor


def grid_block(inputs: Block, weights: GridWeights, layer: int, equations: GridEquations) -> Block:
    """One block: `(h_i', m_i') = LSTM_i(H, m_i)` for i in time, depth.

    Kalchbrenner et al. (arXiv 1507.01526), section 3.1: H concatenates the hidden vectors of all
    dimensions. With depth priority the depth LSTM gets `[h_depth, h_time']`.

    Args:
      inputs: the vectors that enter, each `[batch, units]`.
      weights: the weights of the grid.
      layer: which layer's weights to use.
      equations: which form of the block to compute.
    """

    def transform(hidden, memory, kernel, bias):
        shared = kernel.shape[0] == 1
        preactivations = tf.matmul(hidden, kernel[0 if shared else layer])
        preactivations += bias[0 if shared else layer]
        return lstm_transform(preactivations, memory, equations.output_equation)

    hidden = tf.concat([inputs.depth_hidden, inputs.time_hidden], axis=-1)
    time = transform(hidden, inputs.time_memory, weights.time_kernel, weights.time_bias)
    if equations.depth_priority:
        hidden = tf.concat([inputs.depth_hidden, time.hidden], axis=-1)
    depth = transform(hidden, inputs.depth_memory, weights.depth_kernel, weights.depth_bias)
    return Block(time.hidden, time.memory, depth.hidden, depth.memory)


def grid_column(
    hidden: tf.Tensor,
    memory: tf.Tensor,
    state: State,
    weights: GridWeights,
    equations: GridEquations,
    dropout_masks: list[tf.Tensor] | None = None,
) -> tuple[tf.Tensor, State]:
    """All layers at one time step, from the bottom up.

    Args:
      hidden: `[batch, units]`, enters the bottom of the depth dimension.
      memory: `[batch, units]`, likewise.
      state: the column to the left.
      weights: the weights of the grid.
      equations: which form of the block to compute.
      dropout_masks: for each layer but the first the factors, `[batch, units]`, on the hidden
        vector that comes from the layer below; None for no dropout.

    Returns:
      The hidden vector at the top, `[batch, units]`, and the new state.
    """
    time_hidden, time_memory = [], []
    for layer in range(state.hidden.shape[0]):
        if layer and dropout_masks is not None:
            hidden *= dropout_masks[layer - 1]
        block = grid_block(
            Block(state.hidden[layer], state.memory[layer], hidden, memory),
            weights,
            layer,
            equations,
        )
        hidden, memory = block.depth_hidden, block.depth_memory
        time_hidden.append(block.time_hidden)
        time_memory.append(block.time_memory)
    return hidden, State(tf.stack(time_hidden), tf.stack(time_memory))


def grid_reference(
    hidden: tf.Tensor,
    memory: tf.Tensor,
    state: State,
    weights: GridWeights,
    equations: GridEquations,
    dropout_masks: tf.Tensor | None = None,
) -> tuple[tf.Tensor, State]:
    """The whole grid, column after column, differentiated by TensorFlow.

    Args:
      hidden: `[steps, batch, units]`, enters at the bottom; `steps` must be static.
      memory: `[steps, batch, units]`, likewise.
      state: the state before the first step.
      weights: the weights of the grid.
      equations: which form of the block to compute.
      dropout_masks: `[steps + layers - 1, layers - 1, batch, units]`, indexed by anti-diagonal as
        `grid_wavefront` has them: cell (t, l) is on diagonal t + l.

    Returns:
      The hidden vectors at the top, `[steps, batch, units]`, and the state after the last step.
    """
    layers = state.hidden.shape[0]
    outputs = []
    for step in range(hidden.shape[0]):
        masks = None
        if dropout_masks is not None:
            masks = [dropout_masks[step + layer, layer - 1] for layer in range(1, layers)]
        top, state = grid_column(hidden[step], memory[step], state, weights, equations, masks)
        outputs.append(top)
    return tf.stack(outputs), state
