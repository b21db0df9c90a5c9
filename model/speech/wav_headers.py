"""The headers of WAV files, read over a batch of files in TensorFlow.

A WAV file is a RIFF file: "RIFF", a size, "WAVE", and chunks of a name of 4 bytes, a size of 4
bytes and that many bytes, padded to an even number
(https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html). The chunk "fmt " says what
the samples of the chunk "data" are.
"""

from typing import NamedTuple

import tensorflow as tf

PCM = 1
"""Format of uncompressed integers, in the chunk "fmt "."""

BITS = 16
"""Bits of a sample."""

BYTES_OF_A_SAMPLE = BITS // 8
"""Bytes of a sample."""

MAX_CHUNKS = 64
"""Largest number of chunks up to the samples."""

MAX_HEADER = 1 << 16
"""Bytes that a file may have besides its samples: its header and other chunks."""

FIRST_CHUNK = 12
"""Position of the first chunk, in bytes."""

FORMAT_SIZE = 16
"""Size of the chunk "fmt " of PCM, in bytes."""

_CHUNK_HEADER = 8


class WavLimits(NamedTuple):
    """What recordings must be.

    Attributes:
      sample_rate: Number of samples per second.
      min_samples: Smallest number of samples; a frame of the spectrogram. Default 1.
      max_seconds: Largest duration, in seconds. Default 30.
    """

    sample_rate: int
    min_samples: int = 1
    max_seconds: float = 30.0

    @property
    def max_samples(self) -> int:
        """Largest number of samples."""
        return int(self.max_seconds * self.sample_rate)

    @property
    def max_bytes(self) -> int:
        """Largest size of a file."""
        return MAX_HEADER + self.max_samples * BYTES_OF_A_SAMPLE

    def size_problem(self, size: int) -> str:
        """Returns what is wrong with a file of this size, without its subject; empty if nothing.

        Args:
          size: Size of the file, in bytes.
        """
        if size <= self.max_bytes:
            return ""
        return (
            f"has {size:,} bytes, a recording of {self.max_seconds:g} seconds {self.max_bytes:,} "
            f"at most; cut it, or {self.remedy}"
        )

    @property
    def remedy(self) -> str:
        """How to make such a recording of another."""
        return (
            f"convert it, as by `ffmpeg -i in -ac 1 -ar {self.sample_rate} -c:a pcm_s16le out.wav`"
        )


class WavHeaders(NamedTuple):
    """What the headers of some files say; integers are int64 `[batch]`.

    Attributes:
      length: Length of the file, in bytes.
      is_riff: Whether the file begins with "RIFF", boolean.
      is_wave: Whether "WAVE" follows in byte 8, boolean.
      format_start: Position of the content of the chunk "fmt ", in bytes; -1 if there is none
        before the samples.
      format: Format of the samples, 1 for PCM.
      channels: Number of channels.
      sample_rate: Number of samples per second.
      bits: Bits of a sample.
      start: Position of the first sample, in bytes; -1 if the walk over the chunks found none.
      size: Size of the samples, in bytes, as the file declares it; -1 likewise.
      end: Position at which the walk over the chunks ended.
    """

    length: tf.Tensor
    is_riff: tf.Tensor
    is_wave: tf.Tensor
    format_start: tf.Tensor
    format: tf.Tensor
    channels: tf.Tensor
    sample_rate: tf.Tensor
    bits: tf.Tensor
    start: tf.Tensor
    size: tf.Tensor
    end: tf.Tensor


def wav_headers(files: tf.Tensor) -> WavHeaders:
    """Reads the headers of WAV files; of what is no WAV file as far as it goes.

    Args:
      files: Contents of the files, strings `[batch]`.
    """
    length = tf.cast(tf.strings.length(files), tf.int64)

    def step(
        number: tf.Tensor, at: tf.Tensor, format_start: tf.Tensor, start: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        name = _bytes(files, at, 4)
        declared = _integer(files, at + 4, 4)
        content = at + _CHUNK_HEADER
        is_whole = (start < 0) & (content <= length)
        is_data = is_whole & (name == b"data")
        is_format = is_whole & (name == b"fmt ") & (format_start < 0)
        # A chunk of an odd size is followed by a byte that does not count.
        following = content + declared + declared % 2
        return (
            number + 1,
            tf.where(is_whole & ~is_data, following, at),
            tf.where(is_format, content, format_start),
            tf.where(is_data, content, start),
            tf.where(is_data, declared, size),
        )

    def is_unfinished(number: tf.Tensor, at: tf.Tensor, *found: tf.Tensor) -> tf.Tensor:
        _, start, _ = found
        has_next = (start < 0) & (at + _CHUNK_HEADER <= length)
        return (number < MAX_CHUNKS) & tf.reduce_any(has_next)

    none = tf.fill(tf.shape(length), tf.constant(-1, tf.int64))
    begin = (tf.constant(0), tf.fill(tf.shape(length), tf.constant(FIRST_CHUNK, tf.int64)))
    _, end, format_start, start, size = tf.while_loop(
        is_unfinished, step, (*begin, none, none, none)
    )
    has_format = format_start >= 0

    def field(offset: int, size: int) -> tf.Tensor:
        return tf.where(has_format, _integer(files, format_start + offset, size), none)

    return WavHeaders(
        length=length,
        is_riff=_bytes(files, tf.zeros_like(length), 4) == b"RIFF",
        is_wave=_bytes(files, tf.zeros_like(length) + 8, 4) == b"WAVE",
        format_start=format_start,
        format=field(0, 2),
        channels=field(2, 2),
        sample_rate=field(4, 4),
        bits=field(14, 2),
        start=start,
        size=size,
        end=end,
    )


def _bytes(files: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Returns bytes of each file, `[batch]`; fewer where the file ends before."""
    size = tf.cast(tf.strings.length(files), tf.int64)
    at = tf.clip_by_value(at, 0, size)
    return tf.strings.substr(files, at, tf.fill(tf.shape(at), tf.constant(count, tf.int64)))


def _integer(files: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Returns an unsigned little-endian integer of each file, int64 `[batch]`."""
    return tf.io.decode_raw(_bytes(files, at, count), tf.int64, fixed_length=8)[:, 0]
