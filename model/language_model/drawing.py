"""The drawing of characters: random numbers of a seed, and the character that each one selects."""

from collections.abc import Callable

import tensorflow as tf

COLDEST = 1e-30
"""The smallest temperature at which characters are drawn. Below it the likeliest is taken, which is
what would be drawn, as quotients of logits overflow and subnormal numbers may count as 0."""


def sampler(
    temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor, size: int
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function that draws characters by inverting the cumulative distribution.

    Characters are in the order of their ids; where only the likeliest may be drawn, these come
    first. Sorting takes longer than all else here, and is left out if no row asks for it.

    Args:
      temperature: The divisor of the logits, `[batch]`, float32; 0 takes the likeliest character.
      top_k: The number of likeliest characters that may be drawn, `[batch]`, int32; 0 for all.
      top_p: The cumulative probability of the candidates (nucleus sampling), `[batch]`, float32, in
        (0, 1]; 1 for all.
      size: The size of the vocabulary.

    Returns:
      A function of logits, `[batch, size]`, and random numbers in [0, 1), `[batch]`, that draws an
      id per row, `[batch]`, int32. It is to be called in a loop: what does not change is computed
      outside of it.
    """
    greedy = temperature < COLDEST
    divisor = tf.where(greedy, 1.0, temperature)[:, None]
    most = tf.where(greedy, 1, tf.where(top_k > 0, top_k, size))
    among_first = tf.range(size) < most[:, None]
    only_likeliest = (most < size) | (top_p < 1)
    sorts = tf.reduce_any(only_likeliest)

    def draw(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        scaled = logits / divisor

        def draw_sorted() -> tf.Tensor:
            ranked, order = tf.math.top_k(scaled, size)
            probabilities = tf.nn.softmax(ranked)
            likelier = tf.cumsum(probabilities, axis=-1, exclusive=True)
            kept = among_first & (likelier < top_p[:, None]) | (tf.range(size) == 0)
            rank = _invert(tf.where(kept, probabilities, 0.0), uniform)
            return tf.where(only_likeliest, tf.gather(order, rank, batch_dims=1), draw_by_id())

        def draw_by_id() -> tf.Tensor:
            return _invert(tf.nn.softmax(scaled), uniform)

        return tf.cond(sorts, draw_sorted, draw_by_id)

    return draw


def _invert(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the first index at which sums of `[batch, size]` exceed a share of their total."""
    cumulative = tf.cumsum(weights, axis=-1)
    total = cumulative[:, -1:]
    # A share may be rounded to the total.
    before = (cumulative <= uniform[:, None] * total) & (cumulative < total)
    return tf.reduce_sum(tf.cast(before, tf.int32), axis=-1)


def uniform_numbers(seed: tf.Tensor, drawn: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns the random numbers of each row from its `drawn`-th on, `[batch, count]`, in [0, 1).

    SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): the
    n-th number is a hash of the seed and n, so that it does not need those before it.
    """
    first = tf.cast(drawn, tf.int64)[:, None] + tf.range(tf.cast(count, tf.int64))
    counter = tf.cast(first, tf.uint64) * tf.constant(0x9E3779B97F4A7C15, tf.uint64)
    mixed = _mix(_mix(tf.bitcast(seed, tf.uint64))[:, None] + counter)
    return tf.cast(tf.bitwise.right_shift(mixed, _shift(40)), tf.float32) * 2.0**-24


def _mix(z: tf.Tensor) -> tf.Tensor:
    """Applies the finalizer of SplitMix64."""
    for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(bits)))
        z *= tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(31)))


def _shift(bits: int) -> tf.Tensor:
    return tf.constant(bits, tf.uint64)
