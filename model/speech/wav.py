"""WAV files of 16-bit PCM: their samples, and a refusal of all other files.

Everything is TensorFlow over a batch of files, so that training and a served graph read the same
files in the same way, and refuse the same ones in the same words. `tf.audio.decode_wav` reads one
file at a time, fails at chunks of an odd size, and its messages name neither the file, nor where it
is wrong, nor the remedy; of files that it reads the samples are equal.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from .wav_headers import BITS, BYTES_OF_A_SAMPLE, WavHeaders, WavLimits, wav_headers
from .wav_problems import describe


class Samples(NamedTuple):
    """The samples of some recordings.

    Attributes:
      values: Samples in [-1, 1), float32 `[batch, longest]`; zeros after the end of a recording.
      lengths: Number of samples of each recording, int32 `[batch]`.
    """

    values: tf.Tensor
    lengths: tf.Tensor


def wav_samples(files: tf.Tensor, headers: WavHeaders) -> Samples:
    """Returns the samples of valid files, x / 2^15 of each integer x.

    Args:
      files: Contents of the files, strings `[batch]`, of which `are_valid` is true.
      headers: Their headers.
    """
    contents = tf.strings.substr(files, headers.start, headers.size)
    longest = tf.reduce_max(tf.concat([headers.size, [BYTES_OF_A_SAMPLE]], axis=0))
    integers = tf.io.decode_raw(contents, tf.int16, fixed_length=tf.cast(longest, tf.int32))
    return Samples(
        values=tf.cast(integers, tf.float32) / 2 ** (BITS - 1),
        lengths=tf.cast(headers.size // BYTES_OF_A_SAMPLE, tf.int32),
    )


def decode_wavs(files: Mapping[str, bytes], limits: WavLimits) -> list[np.ndarray]:
    """Returns the samples of WAV files in memory, float32 `[samples]` in [-1, 1) each.

    >>> wav = tf.audio.encode_wav([[0.5], [-0.25]], sample_rate=8000).numpy()
    >>> decode_wavs({"a.wav": wav}, WavLimits(sample_rate=8000))
    [array([ 0.5 , -0.25], dtype=float32)]

    Args:
      files: Contents by name.
      limits: What the files must be.

    Raises:
      InputError: If a file is not; the message names it, the position in it and the remedy.
    """
    if not files:
        return []
    contents = tf.constant(list(files.values()), tf.string)
    headers = wav_headers(contents)
    for name, problem in zip(files, describe(headers, limits).numpy(), strict=True):
        if problem:
            raise InputError(f"{name} {problem.decode()}")
    samples = []
    for content, start, size in zip(
        files.values(), headers.start.numpy(), headers.size.numpy(), strict=True
    ):
        integers = np.frombuffer(content, "<i2", size // BYTES_OF_A_SAMPLE, offset=start)
        samples.append(integers.astype(np.float32) / 2 ** (BITS - 1))
    return samples


def read_wav(path: str, limits: WavLimits) -> np.ndarray:
    """Returns the samples of a WAV file, float32 `[samples]` in [-1, 1).

    Args:
      path: Path of the file.
      limits: What it must be.

    Raises:
      InputError: If it cannot be read, is larger than the longest recording, or as `decode_wavs`.
    """
    try:
        if problem := limits.size_problem(os.path.getsize(path)):
            raise InputError(f"{path} {problem}")
        with open(path, "rb") as file:
            content = file.read(limits.max_bytes)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name a WAV file of 16-bit PCM"
        ) from error
    return decode_wavs({path: content}, limits)[0]
