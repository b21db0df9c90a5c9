"""Checks of requests within the graph, with messages that name the invalid input.

A valid request pays for the conditions alone; messages are built only where a check fails.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Check(NamedTuple):
    """One condition on a request.

    Attributes:
      condition: Scalar boolean tensor, true for a valid request.
      message: Function that builds the error message, a scalar string tensor.
    """

    condition: tf.Tensor
    message: Callable[[], tf.Tensor]


def require(checks: list[Check]) -> tf.Operation:
    """Returns an operation that fails where a check fails, with the message of the first such.

    Raises:
      tf.errors.InvalidArgumentError: When the operation runs and a check fails.
    """
    conditions = tf.stack([check.condition for check in checks])

    def fail() -> tf.Tensor:
        messages = tf.stack([check.message() for check in checks])
        first = tf.argmin(tf.cast(conditions, tf.int32))
        with tf.control_dependencies([tf.debugging.Assert(False, [messages[first]])]):
            return tf.constant(False)

    return tf.cond(tf.reduce_all(conditions), lambda: tf.constant(True), fail).op


def check_values(values: tf.Tensor, valid: tf.Tensor, name: str, message: str) -> Check:
    """Returns the check that all values are valid; its message names the first that is not.

    Args:
      values: Values `[batch]` of any numeric dtype.
      valid: Boolean tensor `[batch]`, true where a value is valid.
      name: Name of the input, which begins the message.
      message: End of the message, behind the value.
    """

    def build_message() -> tf.Tensor:
        first = first_or_zero(tf.boolean_mask(values, tf.logical_not(valid)))
        shown = tf.strings.as_string(first, shortest=first.dtype.is_floating)
        return tf.strings.join([name, " ", shown, " ", message])

    return Check(tf.reduce_all(valid), build_message)


def check_row_count(name: str, values: tf.Tensor, rows: tf.Tensor) -> Check:
    """Returns the check that an input has one row for all prompts, or one for each.

    Args:
      name: Name of the input.
      values: Tensor `[1 or rows, ...]`.
      rows: Number of prompts, a scalar.
    """
    count = tf.shape(values)[0]

    def build_message() -> tf.Tensor:
        prompts, given = map(tf.strings.as_string, (rows, count))
        words = [name, " has ", given, " rows for ", prompts, " prompts; give as many, or"]
        return tf.strings.join([*words, " one for all"])

    return Check((count == 1) | (count == rows), build_message)


def index_checks(name: str, values: tf.Tensor, count: int) -> list[Check]:
    """Returns the checks that all values are equal, and -1 or an index below a count.

    Args:
      name: Name of the input.
      values: Integers `[batch]`.
      count: Number of indices.
    """
    in_range = (values >= -1) & (values < count)
    equal = values == first_or_zero(values)
    return [
        check_values(values, in_range, name, f"must be from 0 to {count - 1}, or -1 for all"),
        check_values(values, equal, name, "must be the same for all texts"),
    ]


def broadcast_rows(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns `[rows, ...]`: the values, of which a single row is repeated."""
    return tf.broadcast_to(values, tf.concat([[rows], tf.shape(values)[1:]], axis=0))


def first_or_zero(values: tf.Tensor) -> tf.Tensor:
    """Returns the first of some values `[count]`; 0 if there are none."""
    return tf.concat([values, tf.zeros([1], values.dtype)], axis=0)[0]
