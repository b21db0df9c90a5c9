"""What goes on inside a net while it reads a text, for drawing.

Karpathy, Johnson, Fei-Fei, "Visualizing and Understanding Recurrent Networks" (arXiv 1506.02078),
sections 4.1 and 4.2.
"""

from typing import NamedTuple

import tensorflow as tf

from ..text.code_points import PADDING
from .character_model import CharacterModel, CharacterState

SATURATED_LOW, SATURATED_HIGH = 0.1, 0.9


class Inspection(NamedTuple):
    """What a net has done; float32. A stacked LSTM has one dimension, a grid time and depth.

    Layers and units are those that were chosen.

    Attributes:
      memories: `[batch, characters, layers, units]`, of time, after each character has entered; 0
        after the end of a text.
      gates: `[batch, characters, layers, dimensions, 4, units]`, i, f, o and g, likewise.
      saturation: `[batch, layers, dimensions, 3, 2]`, of the gates i, f and o the share of values
        below 0.1 and above 0.9, over characters and units.
    """

    memories: tf.Tensor
    gates: tf.Tensor
    saturation: tf.Tensor


def inspect(
    model: CharacterModel, ids: tf.Tensor, layer: tf.Tensor | int = -1, unit: tf.Tensor | int = -1
) -> Inspection:
    """Reads texts and reports memories and gates.

    Args:
      model: the model.
      ids: `[batch, longest]`, int32, `PADDING` after the end of each row.
      layer: scalar, int32, counted from 0; -1 for all.
      unit: scalar, int32, counted from 0; -1 for all.
    """
    batch, longest = tf.shape(ids)[0], tf.shape(ids)[1]
    stepper = model.stepper()
    _, first = stepper(model.initial_state(batch), gates=True)
    dimensions = first.gates.shape[1]
    layers, units = model.config.layers, model.config.units

    def chosen(values):
        """Of `[layers, ..., units]` the layers and units that are asked for."""
        rank = len(values.shape)
        begin = [tf.maximum(layer, 0), *[0] * (rank - 2), tf.maximum(unit, 0)]
        size = [tf.where(layer < 0, layers, 1), *[-1] * (rank - 2), tf.where(unit < 0, units, 1)]
        return tf.slice(values, begin, size)

    def by_gate(gates):
        return tf.reshape(gates, [layers, dimensions, batch, 4, units])

    def read(position, state, memories, gates):
        reading = CharacterState(tf.maximum(ids[:, position], 0), *state)
        _, after = stepper(reading, gates=True)
        return (
            position + 1,
            after.state,
            memories.write(position, chosen(after.state.memory)),
            gates.write(position, chosen(by_gate(after.gates))),
        )

    arrays = [
        tf.TensorArray(tf.float32, size=longest, element_shape=shape)
        for shape in ([None, None, None], [None, dimensions, None, 4, None])
    ]
    *_, memories, gates = tf.while_loop(
        lambda position, *_: position < longest, read, (0, first.state, *arrays)
    )
    known = tf.cast(ids != PADDING, tf.float32)
    memories = tf.transpose(memories.stack(), [2, 0, 1, 3]) * known[:, :, None, None]
    gates = tf.transpose(gates.stack(), [3, 0, 1, 2, 4, 5])
    weights = known[:, :, None, None, None, None]
    return Inspection(memories, gates * weights, _saturation(gates[..., :3, :], weights))


def _saturation(gates, weights):
    count = tf.reduce_sum(weights, axis=[1, 5]) * tf.cast(tf.shape(gates)[-1], tf.float32)
    shares = [
        tf.math.divide_no_nan(
            tf.reduce_sum(tf.cast(beyond, tf.float32) * weights, axis=[1, 5]), count
        )
        for beyond in (gates < SATURATED_LOW, gates > SATURATED_HIGH)
    ]
    return tf.stack(shares, axis=-1)
