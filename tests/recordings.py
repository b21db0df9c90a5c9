"""Recordings for the tests of speech."""

import numpy as np
import tensorflow as tf
from seeds import generator


def tones(count, rate=8_000, every=800):
    """Samples of tones.

    Args:
      count: number of samples.
      rate: samples per second.
      every: samples of each tone.
    """
    pitch = np.repeat(generator().uniform(50, 3_000, -(-count // every)), every)[:count]
    return np.float32(0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / rate))


def wav_of(samples, rate=8_000):
    """The content of a WAV file of samples, `[samples]` or `[samples, channels]`."""
    return tf.audio.encode_wav(np.float32(samples).reshape(len(samples), -1), rate).numpy()
