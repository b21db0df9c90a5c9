"""WAV files of 16-bit PCM: their headers, what is wrong with them, and their samples.

Everything is TensorFlow over a batch of files, so that training and a served graph read the same
files in the same way, and refuse the same ones in the same words. `tf.audio.decode_wav` reads one
file at a time, fails at chunks of an odd size, and its messages name neither the file, nor where it
is wrong, nor the remedy; of files that it reads the samples are equal.

A WAV file is a RIFF file: "RIFF", a size, "WAVE", and chunks of a name of 4 bytes, a size of 4
bytes and that many bytes, padded to an even number
(https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html). The chunk "fmt " says what
the samples of the chunk "data" are.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError

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

_FIRST_CHUNK = 12
_CHUNK_HEADER = 8
_FORMAT_SIZE = 16


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


class Samples(NamedTuple):
    """The samples of some recordings.

    Attributes:
      values: Samples in [-1, 1), float32 `[batch, longest]`; zeros after the end of a recording.
      lengths: Number of samples of each recording, int32 `[batch]`.
    """

    values: tf.Tensor
    lengths: tf.Tensor


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
    begin = (tf.constant(0), tf.fill(tf.shape(length), tf.constant(_FIRST_CHUNK, tf.int64)))
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


class _Problem(NamedTuple):
    """Something that can be wrong with a file.

    Attributes:
      is_there: Whether it is, boolean `[batch]`.
      words: Function that returns the parts of the sentence: strings, and numbers `[batch]`.
    """

    is_there: tf.Tensor
    words: Callable[[], Sequence[str | tf.Tensor]]


_AGAIN = "record or copy it again"
"""The remedy for a file that lost something."""


def _problems(headers: WavHeaders, limits: WavLimits) -> list[_Problem]:
    """Returns all that can be wrong with files; the first that is describes a file."""
    return [
        *_chunk_problems(headers, limits.remedy),
        *_format_problems(headers, limits),
        *_sample_problems(headers, limits),
    ]


def _chunk_problems(h: WavHeaders, convert: str) -> list[_Problem]:
    has_data = h.start >= 0
    ends_in_format = h.format_start + _FORMAT_SIZE > h.length
    return [
        _Problem(h.length == 0, lambda: [f"is empty, 0 bytes; {_AGAIN}"]),
        _Problem(~h.is_riff, lambda: [f"is no WAV file: RIFF is not at byte 0; {convert}"]),
        _Problem(
            (h.length < _FIRST_CHUNK) | ends_in_format | (~has_data & (h.end > h.length)),
            lambda: ["is truncated: it ends at byte ", h.length, f", before its samples; {_AGAIN}"],
        ),
        _Problem(~h.is_wave, lambda: [f"is no WAV file: WAVE is not at byte 8; {convert}"]),
        _Problem(
            ~has_data,
            lambda: ["has no chunk of samples from byte 12 to byte ", h.end, f"; {convert}"],
        ),
        _Problem(
            h.format_start < 0,
            lambda: ["has no format before its samples at byte ", h.start, f"; {convert}"],
        ),
    ]


def _format_problems(h: WavHeaders, limits: WavLimits) -> list[_Problem]:
    convert = limits.remedy
    return [
        _Problem(
            h.format != PCM,
            lambda: [
                *("has samples of format ", h.format, " (byte ", h.format_start),
                f"), not {PCM}, PCM; {convert}",
            ],
        ),
        _Problem(
            h.bits != BITS,
            lambda: [
                *("has samples of ", h.bits, " bits (byte ", h.format_start + 14),
                f"), not {BITS}; {convert}",
            ],
        ),
        _Problem(
            h.channels != 1,
            lambda: [
                *("has ", h.channels, " channels (byte ", h.format_start + 2),
                f"), not one; {convert}",
            ],
        ),
        _Problem(
            h.sample_rate != limits.sample_rate,
            lambda: [
                *("has ", h.sample_rate, " samples per second (byte ", h.format_start + 4),
                f"), not {limits.sample_rate}; {convert}",
            ],
        ),
    ]


def _sample_problems(h: WavHeaders, limits: WavLimits) -> list[_Problem]:
    seconds = tf.cast(h.size, tf.float32) / BYTES_OF_A_SAMPLE / limits.sample_rate
    samples = h.size // BYTES_OF_A_SAMPLE
    return [
        _Problem(
            h.start + h.size > h.length,
            lambda: [
                *("is truncated: it ends at byte ", h.length, ", its samples at byte "),
                *(h.start + h.size, f"; {_AGAIN}"),
            ],
        ),
        _Problem(
            h.size % BYTES_OF_A_SAMPLE != 0,
            lambda: [
                *("has ", h.size, " bytes of samples at byte ", h.start),
                f", which are {BYTES_OF_A_SAMPLE} each; {_AGAIN}",
            ],
        ),
        _Problem(
            samples < limits.min_samples,
            lambda: [
                *("has ", samples, " samples at byte ", h.start),
                f"; record at least {limits.min_samples}",
            ],
        ),
        _Problem(
            samples > limits.max_samples,
            lambda: [
                *("lasts ", seconds, " seconds (samples at byte ", h.start),
                f"), the limit is {limits.max_seconds:g}; cut it",
            ],
        ),
    ]


def are_valid(headers: WavHeaders, limits: WavLimits) -> tf.Tensor:
    """Returns which files are whole WAV files of 16-bit PCM within limits, boolean `[batch]`.

    Args:
      headers: Headers of the files.
      limits: What they must be.
    """
    wrong = [problem.is_there for problem in _problems(headers, limits)]
    return ~tf.reduce_any(tf.stack(wrong), axis=0)


def describe(headers: WavHeaders, limits: WavLimits) -> tf.Tensor:
    """Returns what is wrong with files, where, and the remedy; strings `[batch]`, empty if nothing.

    A sentence lacks its subject, the name of the file.

    Args:
      headers: Headers of the files.
      limits: What they must be.
    """
    problems = _problems(headers, limits)
    none = tf.fill(tf.shape(headers.length), "")
    sentences = [*(_sentence(none, problem.words()) for problem in problems), none]
    wrong = [problem.is_there for problem in problems]
    first = tf.argmax(tf.stack([*wrong, tf.ones_like(wrong[0])]), axis=0)
    return tf.gather(tf.stack(sentences, axis=1), first, axis=1, batch_dims=1)


def _sentence(none: tf.Tensor, words: Sequence[str | tf.Tensor]) -> tf.Tensor:
    parts = []
    for word in words:
        if isinstance(word, str):
            parts.append(none + word)
        else:
            digits = 1 if word.dtype.is_floating else -1
            parts.append(tf.strings.as_string(word, precision=digits))
    return tf.strings.join(parts)


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
