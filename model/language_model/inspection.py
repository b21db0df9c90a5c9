"""Inspection: the memories and gates of a net while it reads a text, for drawing.

Karpathy, Johnson, Fei-Fei, "Visualizing and Understanding Recurrent Networks" (arXiv 1506.02078),
sections 4.1 and 4.2.
"""

from typing import NamedTuple

import tensorflow as tf

from ..text.vocabulary import PADDING
from .forward import CharacterState, LanguageModel

SATURATED_LOW, SATURATED_HIGH = 0.1, 0.9


class Inspection(NamedTuple):
    """The memories and gates of the chosen layers and units, float32.

    A stacked LSTM has one dimension, a grid time and depth. Cells other than the LSTM have their
    activations in place of i, f, o and g: variants the gates that they have, in this order, a GRU
    z, r, n and U h + b, a highway LSTM its gate d after g. Those of a cell with fewer than the
    others are followed by zeros. Of a recurrent highway network the layers are its micro-layers,
    with t and h as gates and the state after each as memory.

    Attributes:
      memories: The memories of time after each character has entered,
        `[batch, characters, layers, units]`; 0 after the end of a text.
      gates: The gates i, f, o and g at each character,
        `[batch, characters, layers, dimensions, gates, units]`; 0 after the end of a text.
      saturation: The share of values of the first three gates below 0.1 and above 0.9, over
        characters and units, `[batch, layers, dimensions, 3, 2]`.
    """

    memories: tf.Tensor
    gates: tf.Tensor
    saturation: tf.Tensor


def inspect(
    model: LanguageModel, ids: tf.Tensor, layer: tf.Tensor | int = -1, unit: tf.Tensor | int = -1
) -> Inspection:
    """Reads texts and returns memories and gates.

    Args:
      model: The model, trained or frozen.
      ids: The characters, `[batch, longest]`, int32, `PADDING` after the end of each row.
      layer: The layer to return, a scalar, int32, counted from 0; -1 for all.
      unit: The unit to return, a scalar, int32, counted from 0; -1 for all.
    """
    batch, longest = tf.shape(ids)[0], tf.shape(ids)[1]
    decode = model.decode_step()
    _, first = decode(model.initial_state(batch), gates=True)
    assert first.gates is not None
    dimensions = first.gates.shape[1]
    layers, units = model.config.layers, model.config.units
    widest = first.gates.shape[-1] // units

    def select(values: tf.Tensor) -> tf.Tensor:
        """Selects the chosen layers and units from `[layers, ..., units]`."""
        rank = len(values.shape)
        begin = [tf.maximum(layer, 0), *[0] * (rank - 2), tf.maximum(unit, 0)]
        size = [tf.where(layer < 0, layers, 1), *[-1] * (rank - 2), tf.where(unit < 0, units, 1)]
        return tf.slice(values, begin, size)

    def by_gate(gates: tf.Tensor) -> tf.Tensor:
        return tf.reshape(gates, [layers, dimensions, batch, widest, units])

    def read(
        position: tf.Tensor,
        state: CharacterState,
        memories: tf.TensorArray,
        gates: tf.TensorArray,
    ) -> tuple:
        reading = state._replace(previous=tf.maximum(ids[:, position], 0))
        _, output = decode(reading, gates=True)
        inspected = output.state.memory if output.memories is None else output.memories
        return (
            position + 1,
            CharacterState.after(reading.previous, output),
            memories.write(position, select(inspected[..., :units])),
            gates.write(position, select(by_gate(output.gates))),
        )

    start = CharacterState.after(tf.zeros([batch], tf.int32), first)
    arrays = [
        tf.TensorArray(tf.float32, size=longest, element_shape=shape)
        for shape in ([None, None, None], [None, dimensions, None, widest, None])
    ]
    *_, memories, gates = tf.while_loop(
        lambda position, *_: position < longest,
        read,
        (0, start, *arrays),
    )
    known = tf.cast(ids != PADDING, tf.float32)
    memories = tf.transpose(memories.stack(), [2, 0, 1, 3]) * known[:, :, None, None]
    gates = tf.transpose(gates.stack(), [3, 0, 1, 2, 4, 5])
    weights = known[:, :, None, None, None, None]
    return Inspection(
        memories=memories,
        gates=gates * weights,
        saturation=_saturation(gates[..., :3, :], weights),
    )


def _saturation(gates: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the shares of values below and above the bounds, over characters and units."""
    count = tf.reduce_sum(weights, axis=[1, 5]) * tf.cast(tf.shape(gates)[-1], tf.float32)
    shares = []
    for saturated in (gates < SATURATED_LOW, gates > SATURATED_HIGH):
        total = tf.reduce_sum(tf.cast(saturated, tf.float32) * weights, axis=[1, 5])
        shares.append(tf.math.divide_no_nan(total, count))
    return tf.stack(shares, axis=-1)
