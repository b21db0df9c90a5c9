"""The loop over the layers of a decode step, from the bottom up."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..core import DecodeOutput, State

BlockOutput = tuple[tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, ...]]
"""The hidden and memory vectors along depth, and what leaves the block for the next step."""


def unroll_layers(
    block: Callable, layers: int, hidden: tf.Tensor, memory: Any, leaving: tuple, gates: bool
) -> DecodeOutput:
    """Computes the blocks one above the other, from the second on."""
    columns = [leaving]
    for layer in range(1, layers):
        hidden, memory, leaving = block(layer, hidden, memory)
        columns.append(leaving)
    return _output(hidden, [tf.stack(part) for part in zip(*columns, strict=True)], gates)


def loop_layers(
    block: Callable, layers: int, hidden: tf.Tensor, memory: tf.Tensor, leaving: tuple, gates: bool
) -> DecodeOutput:
    """Computes the same in a loop: every product in the graph would keep a copy of its kernel."""

    def write(arrays: list, layer: Any, leaving: tuple) -> list:
        wanted = leaving[: len(arrays)]
        return [array.write(layer, part) for array, part in zip(arrays, wanted, strict=True)]

    def body(layer: tf.Tensor, hidden: tf.Tensor, memory: tf.Tensor, arrays: list) -> tuple:
        hidden, memory, leaving = block(layer, hidden, memory)
        return layer + 1, hidden, memory, write(arrays, layer, leaving)

    # What a loop writes is computed, wanted or not.
    leading = ((), (), (2,)) if gates else ((), ())
    arrays = [
        tf.TensorArray(memory.dtype, layers, element_shape=[*sizes, None, None])
        for sizes in leading
    ]
    _, hidden, _, arrays = tf.while_loop(
        lambda layer, *_: layer < layers,
        body,
        (1, hidden, memory, write(arrays, 0, leaving)),
    )
    return _output(hidden, [array.stack() for array in arrays], gates)


def _output(hidden: tf.Tensor, parts: list[tf.Tensor], gates: bool) -> DecodeOutput:
    new_hidden, new_memory, *activations = parts
    return DecodeOutput(
        hidden=hidden,
        state=State(hidden=new_hidden, memory=new_memory),
        gates=activations[0] if gates else None,
    )
