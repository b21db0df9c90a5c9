"""The words that end within a window of characters, found without a loop over them.

A word is a run of characters between separators. It stands for itself by a hash of 24 bits of its
characters c_1, ..., c_n, so that nothing needs a list of words, and words that nobody has seen are
words like others:

    hash = sum_i (c_i + 1) R^(n + 1 - i)  modulo 2^24

R is odd, and so has an inverse: with prefix sums Q of (c + 1) R^(-step) over all steps, the hash of
the word between two steps is a power of R times the difference of two Q.
"""

from typing import NamedTuple

import tensorflow as tf

from ..shapes import shape_of

HASHES = 1 << 24
"""The number of hashes, all of which float32 holds exactly."""

HASH_FACTOR = 0x2C1B3C6D
"""The factor R of a hash: odd, and below 2^31."""

_INVERSE = pow(HASH_FACTOR, -1, 1 << 32)
_MIXER = 0x297A2D39


class WordsRead(NamedTuple):
    """The words that end within a window, of `words = (steps + 1) // 2` that can do so.

    Attributes:
      hashes: The hashes of the words in their order, `[words, batch]`, int32.
      is_word: Whether there are so many words, `[words, batch]`, boolean.
      ended: The number of words that have ended when each character has been read,
        `[steps, batch]`, int32.
      begun: The hash of the word that the window ends in, `[batch]`, int32; 0 outside of words.
      is_within: Whether the window ends in a word, `[batch]`, boolean.
    """

    hashes: tf.Tensor
    is_word: tf.Tensor
    ended: tf.Tensor
    begun: tf.Tensor
    is_within: tf.Tensor


def read_words(
    ids: tf.Tensor,
    is_separator: tf.Tensor,
    keep: tf.Tensor | None,
    begun: tf.Tensor,
    is_within: tf.Tensor,
) -> WordsRead:
    """Finds the words that end within a window.

    Args:
      ids: The characters, `[steps, batch]`, int32.
      is_separator: Whether each is a separator, `[steps, batch]`, boolean.
      keep: The mask, `[steps, batch]`, boolean, False after the end of a text; None for none.
      begun: `WordsRead.begun` of the window before; 0 for none.
      is_within: `WordsRead.is_within` of the window before; False for none.
    """
    steps, batch = shape_of(ids)
    words = (steps + 1) // 2  # a word takes a character, and a separator after it
    in_word = ~is_separator
    if keep is None:
        read = tf.broadcast_to(tf.range(1, steps + 1)[:, None], [steps, batch])
    else:
        in_word &= keep
        is_separator &= keep
        read = tf.cumsum(tf.cast(keep, tf.int32))
    powers, inverses = (_powers(factor, steps + 1) for factor in (HASH_FACTOR, _INVERSE))
    terms = tf.where(in_word, (ids + 1) * tf.gather(inverses, read), 0)
    sums = begun + tf.cumsum(terms)
    within = tf.concat([is_within[None], in_word], axis=0)
    ends = is_separator & within[:-1]
    ended = tf.cumsum(tf.cast(ends, tf.int32))

    at = tf.where(ends, tf.range(steps)[:, None], steps)
    at = tf.transpose(tf.sort(tf.transpose(at))[:, :words])
    is_word = at < steps
    at = tf.minimum(at, steps - 1)
    sums_at_ends = _choose(sums, at)
    before = tf.concat([tf.zeros([1, batch], tf.int32), sums_at_ends], axis=0)
    hashes = tf.gather(powers, _choose(read, at)) * (sums_at_ends - before[:-1])
    count = read[-1]
    return WordsRead(
        hashes=tf.bitwise.bitwise_and(hashes, HASHES - 1),
        is_word=is_word,
        ended=ended,
        begun=tf.bitwise.bitwise_and(
            tf.gather(powers, count) * (sums[-1] - _choose(before, ended[-1:])[0]), HASHES - 1
        ),
        is_within=_choose(within, count[None])[0],
    )


def bucket_of(hashes: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns the bucket of each hash, int32 in [0, 2^bits), of which at most 24 bits are asked."""
    mixed = tf.bitwise.bitwise_and(hashes * _signed(_MIXER), HASHES - 1)
    return tf.bitwise.right_shift(mixed, 24 - bits)


def _powers(factor: int, count: int | tf.Tensor) -> tf.Tensor:
    """Returns factor^0, factor^1, ... modulo 2^32, `[count]`, int32."""
    return tf.math.cumprod(tf.fill([count], tf.constant(_signed(factor))), exclusive=True)


def _signed(number: int) -> int:
    """Returns the number of 32 bits that is congruent modulo 2^32."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def _choose(values: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Returns the values `[any, batch]` at steps `[count, batch]` of the same texts."""
    return tf.transpose(tf.gather(tf.transpose(values), tf.transpose(at), batch_dims=1))
