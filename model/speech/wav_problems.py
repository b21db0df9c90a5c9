"""What is wrong with WAV files, a sentence for each file, in TensorFlow over a batch of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from .wav_headers import (
    BITS,
    BYTES_OF_A_SAMPLE,
    FIRST_CHUNK,
    FORMAT_SIZE,
    PCM,
    WavHeaders,
    WavLimits,
)

_AGAIN = "record or copy it again"
"""The remedy for a file that lost something."""


class _Problem(NamedTuple):
    """Something that can be wrong with a file.

    Attributes:
      is_there: Whether it is, boolean `[batch]`.
      words: Function that returns the parts of the sentence: strings, and numbers `[batch]`.
    """

    is_there: tf.Tensor
    words: Callable[[], Sequence[str | tf.Tensor]]


def _problems(headers: WavHeaders, limits: WavLimits) -> list[_Problem]:
    """Returns all that can be wrong with files; the first that is describes a file."""
    return [
        *_chunk_problems(headers, limits.remedy),
        *_format_problems(headers, limits),
        *_sample_problems(headers, limits),
    ]


def _chunk_problems(h: WavHeaders, convert: str) -> list[_Problem]:
    has_data = h.start >= 0
    ends_in_format = h.format_start + FORMAT_SIZE > h.length
    return [
        _Problem(h.length == 0, lambda: [f"is empty, 0 bytes; {_AGAIN}"]),
        _Problem(~h.is_riff, lambda: [f"is no WAV file: RIFF is not at byte 0; {convert}"]),
        _Problem(
            (h.length < FIRST_CHUNK) | ends_in_format | (~has_data & (h.end > h.length)),
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
