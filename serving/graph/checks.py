"""Assertions in the graph about what a request asks for, in words that name what is wrong.

A request that is right pays for the conditions alone; the words are put together where one fails.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from serving.limits import MAX_ALTERNATIVES, MAX_LENGTH


class Check(NamedTuple):
    """One thing that is to hold.

    Attributes:
      holds: scalar boolean.
      problem: makes the message where it does not.
    """

    holds: tf.Tensor
    problem: Callable[[], tf.Tensor]


def require(checks: list[Check]) -> tf.Operation:
    """An operation that fails where a check does not hold, with the message of the first such.

    Raises:
      tf.errors.InvalidArgumentError: when it runs.
    """
    holds = tf.stack([check.holds for check in checks])

    def refuse():
        problems = tf.stack([check.problem() for check in checks])
        first = tf.argmin(tf.cast(holds, tf.int32))
        with tf.control_dependencies([tf.debugging.Assert(False, [problems[first]])]):
            return tf.constant(False)

    return tf.cond(tf.reduce_all(holds), lambda: tf.constant(True), refuse).op


def one_or_all(name: str, values: tf.Tensor, rows: tf.Tensor) -> Check:
    """Whether there is one row of values, or one for each prompt."""
    given = tf.shape(values)[0]

    def problem():
        of_prompts, of_values = map(tf.strings.as_string, (rows, given))
        words = [name, " has ", of_values, " rows for ", of_prompts, " prompts; give as many, or"]
        return tf.strings.join([*words, " one for all"])

    return Check((given == 1) | (given == rows), problem)


def for_rows(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """One row of values as one for each; or what are as many already."""
    return tf.broadcast_to(values, tf.concat([[rows], tf.shape(values)[1:]], axis=0))


def first_of(values: tf.Tensor) -> tf.Tensor:
    """The first of values; 0 if there are none."""
    return tf.concat([values, tf.zeros([1], values.dtype)], axis=0)[0]


def is_one_of(name: str, values: tf.Tensor, count: int) -> list[Check]:
    """Whether values are all the same, and -1 or an index below `count`."""
    possible = (values >= -1) & (values < count)
    return [
        all_hold(values, possible, name, f"must be from 0 to {count - 1}, or -1 for all"),
        all_hold(values, values == first_of(values), name, "must be the same for all texts"),
    ]


def choices_are_possible(given: dict[str, tf.Tensor]) -> list[Check]:
    """What the numbers of a request to `generate` are to be."""
    length, temperature, top_p = given["length"], given["temperature"], given["top_p"]
    k, alternatives = given["top_k"], given["alternatives"]
    warm = tf.math.is_finite(temperature) & (temperature >= 0)
    among = (alternatives >= 0) & (alternatives <= MAX_ALTERNATIVES)
    return [
        all_hold(length, length >= 0, "length", "must not be negative"),
        all_hold(
            length, length <= MAX_LENGTH, "length", f"is over the limit of {MAX_LENGTH} characters"
        ),
        all_hold(temperature, warm, "temperature", "must not be negative, and a number"),
        all_hold(k, k >= 0, "top_k", "must not be negative"),
        all_hold(top_p, (top_p > 0) & (top_p <= 1), "top_p", "must be above 0 and at most 1"),
        all_hold(alternatives, among, "alternatives", f"must be from 0 to {MAX_ALTERNATIVES}"),
    ]


def all_hold(values: tf.Tensor, valid: tf.Tensor, name: str, words: str) -> Check:
    """Whether all values are valid; the message names the first that is not."""

    def problem():
        invalid = tf.boolean_mask(values, tf.logical_not(valid))
        first = first_of(invalid)
        shown = tf.strings.as_string(first, shortest=first.dtype.is_floating)
        return tf.strings.join([name, " ", shown, " ", words])

    return Check(tf.reduce_all(valid), problem)
