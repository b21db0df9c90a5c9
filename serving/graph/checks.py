"""Checks of requests within the graph, with messages that name the invalid input.

A valid request pays for the conditions alone; messages are built only where a check fails.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
    return _where_valid(checks, lambda: tf.constant(True), lambda: tf.constant(False)).op


def _where_valid(checks: list[Check], valid: Callable[[], Any], instead: Callable[[], Any]) -> Any:
    """Returns what a function returns, where all checks hold.

    Args:
      checks: The checks.
      valid: Function to call.
      instead: Function that returns something of the same dtypes, which is never seen.
    """
    conditions = tf.stack([check.condition for check in checks])

    def fail() -> Any:
        messages = tf.stack([check.message() for check in checks])
        first = tf.argmin(tf.cast(conditions, tf.int32))
        with tf.control_dependencies([tf.debugging.Assert(False, [messages[first]])]):
            return instead()

    return tf.cond(tf.reduce_all(conditions), valid, fail)


def checked_ranks(
    specs: Sequence[tf.TensorSpec], tensors: Sequence[tf.Tensor], row: str = "text"
) -> list[tf.Tensor]:
    """Returns the inputs of a signature, once it is known that they have the ranks of their specs.

    Servers do not compare shapes, so that without these checks the operations behind would fail,
    each with a message of its own.

    Args:
      specs: The named inputs of the signature, whose first dimension is the batch.
      tensors: What a request gave for them, of unknown rank.
      row: What a row of an input is for, in messages. Default "text".

    Raises:
      tf.errors.InvalidArgumentError: When the graph runs and an input has another number of
        dimensions.
    """
    checks = [_check_rank(spec, each, row) for spec, each in zip(specs, tensors, strict=True)]
    ranks = [spec.shape.rank for spec in specs]
    # A control dependency would let operations that follow fail before the check does.
    return _where_valid(
        checks,
        lambda: [_of_rank(each, rank) for each, rank in zip(tensors, ranks, strict=True)],
        lambda: [tf.zeros([0] * spec.shape.rank, spec.dtype) for spec in specs],
    )


def _of_rank(values: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns a tensor of unknown rank as one whose rank is known.

    Of `tf.ensure_shape` TensorFlow concludes that the tensor has this rank everywhere in the graph,
    where it is checked, too.
    """
    shape = tf.shape(values)
    return tf.reshape(values, [shape[axis] for axis in range(rank)])


def _check_rank(spec: tf.TensorSpec, values: tf.Tensor, row: str) -> Check:
    rank = tf.rank(values)

    def build_message() -> tf.Tensor:
        shape = tf.strings.reduce_join(tf.strings.as_string(tf.shape(values)), separator=", ")
        dimensions = ("no dimensions", "one dimension", "two dimensions")[spec.shape.rank]
        words = [spec.name, " has the shape [", shape, "]; give "]
        return tf.strings.join([*words, dimensions, f", with a row for each {row}"])

    return Check(rank == spec.shape.rank, build_message)


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


def check_row_count(name: str, values: tf.Tensor, rows: tf.Tensor, of: str = "prompts") -> Check:
    """Returns the check that an input has one row for all prompts, or one for each.

    Args:
      name: Name of the input.
      values: Tensor `[1 or rows, ...]`.
      rows: Number of prompts, a scalar.
      of: What the rows are of, in the message. Default "prompts".
    """
    count = tf.shape(values)[0]

    def build_message() -> tf.Tensor:
        prompts, given = map(tf.strings.as_string, (rows, count))
        words = [name, " has ", given, " rows for ", prompts, f" {of}; give as many, or"]
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


def sentence_checks(name: str, words: tf.Tensor, max_rows: int, max_words: int) -> list[Check]:
    """Returns the checks that there are no more sentences than allowed, and no more words in each.

    Args:
      name: Name of the input.
      words: Number of words of each sentence, `[batch]`, int32.
      max_rows: Largest number of sentences.
      max_words: Largest number of words of a sentence; each must have one.
    """
    count = tf.shape(words)[0]
    most = tf.concat([words, [0]], axis=0)

    def too_many() -> tf.Tensor:
        given = tf.strings.as_string(count)
        return tf.strings.join([name, " has ", given, f" rows; give at most {max_rows}"])

    def empty() -> tf.Tensor:
        at = tf.strings.as_string(tf.argmin(most))
        return tf.strings.join([name, "[", at, "] has no word; leave it out"])

    def too_long() -> tf.Tensor:
        at, given = (tf.strings.as_string(one) for one in (tf.argmax(most), tf.reduce_max(most)))
        allowed = f" words, of which {max_words} are allowed; cut it into sentences"
        return tf.strings.join([name, "[", at, "] has ", given, allowed])

    return [
        Check(count <= max_rows, too_many),
        Check(tf.reduce_all(words > 0), empty),
        Check(tf.reduce_all(words <= max_words), too_long),
    ]
