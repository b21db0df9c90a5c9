"""The state of a stream of speech as one vector, which `recognize_stream` returns and accepts.

    numbers         content
    2               fingerprint of the recognizer, 24 bits each
    1               number of samples left
    1               frames so far, modulo 2^24
    1               class of the last frame
    window - 1      samples left, then zeros
    layers * units  hidden vectors, and as many or more of memory, of each recurrent layer

All are float32. A vector without numbers stands for a stream of which nothing has been heard.
"""

import numpy as np
import tensorflow as tf

from model.core import State
from model.speech.recognizer import Recognizer
from model.speech.streaming import StreamRecognizer, StreamState
from serving.graph.state_vectors import EXACT, fingerprint_of, flatten_layers, unflatten_layers

_HEADER = 5


def state_size(recognizer: Recognizer, streaming: StreamRecognizer) -> int:
    """Returns the number of numbers in a state."""
    layers = sum(one.state_layers * (one.units + one.memory_width) for one in streaming.recurrent)
    return _HEADER + recognizer.spectrogram.window - 1 + layers


def recognizer_fingerprint(recognizer: Recognizer) -> np.ndarray:
    """Computes the fingerprint of a recognizer, by which it knows its own states.

    Args:
      recognizer: The recognizer, with the weights that it is served with.

    Returns:
      `[2]`, float32; different for other weights, labels or settings.
    """
    weights = (*recognizer.net.get_weights(), recognizer.mean, recognizer.scale)
    return fingerprint_of(f"{recognizer.labels}\n{recognizer.spectrogram}", weights)


def pack(state: StreamState, fingerprint: np.ndarray) -> tf.Tensor:
    """Packs the states of streams into vectors `[batch, state_size]`.

    Args:
      state: States of the streams.
      fingerprint: Fingerprint of the recognizer, `[2]`.
    """
    batch = tf.shape(state.count)[0]
    integers = (state.count, state.frames % EXACT, state.previous)
    numbers = [
        tf.broadcast_to(fingerprint, [batch, 2]),
        *(tf.cast(each, tf.float32)[:, None] for each in integers),
        state.left,
        *flatten_layers(tf.nest.flatten(state.layers), batch),
    ]
    return tf.concat(numbers, axis=1)


def unpack(vectors: tf.Tensor, recognizer: Recognizer, streaming: StreamRecognizer) -> StreamState:
    """Unpacks vectors `[batch, state_size]` into the states that `pack` was given.

    What a client made up is brought within bounds.

    Args:
      vectors: The vectors.
      recognizer: The recognizer.
      streaming: The same for streams.
    """
    room = recognizer.spectrogram.window - 1
    shapes = [
        (one.state_layers, width)
        for one in streaming.recurrent
        for width in (one.units, one.memory_width)
    ]
    sizes = [_HEADER, room, *(layers * width for layers, width in shapes)]
    header, left, *parts = tf.split(vectors, sizes, axis=1)
    whole = tf.cast(tf.clip_by_value(header, 0, EXACT), tf.int32)
    unpacked = unflatten_layers(parts, shapes)
    return StreamState(
        left=left,
        count=tf.minimum(whole[:, 2], room),
        frames=whole[:, 3],
        previous=tf.minimum(whole[:, 4], len(recognizer.labels)),
        layers=tuple(
            State(hidden=hidden, memory=memory)
            for hidden, memory in zip(unpacked[::2], unpacked[1::2], strict=True)
        ),
    )
