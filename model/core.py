"""Recurrent cores: the net between the embedding and the output of a language model."""

from typing import NamedTuple

import tensorflow as tf


class State(NamedTuple):
    """What a recurrent net carries along time, each `[layers, batch, units]`."""

    hidden: tf.Tensor
    memory: tf.Tensor
