"""Assertions in the graph about what a request asks for, in words that name what is wrong."""

import tensorflow as tf

from model import sampling

MAX_ALTERNATIVES = 20


def for_rows(name, values, rows):
    """One row of values, or one for each prompt, as one for each."""
    given = tf.shape(values)[0]
    message = tf.strings.join(
        [name, " has ", tf.strings.as_string(given), " rows for ", tf.strings.as_string(rows),
         " prompts; give as many, or one for all"]
    )  # fmt: skip
    with tf.control_dependencies([tf.debugging.Assert((given == 1) | (given == rows), [message])]):
        return tf.broadcast_to(values, tf.concat([[rows], tf.shape(values)[1:]], axis=0))


def check_choices(given):
    """Assertions about what a request to `generate` asks for."""
    limit = sampling.MAX_LENGTH
    length, temperature, top_p = given["length"], given["temperature"], given["top_p"]
    k, alternatives = given["top_k"], given["alternatives"]
    warm = tf.math.is_finite(temperature) & (temperature >= 0)
    return [
        check(length, length >= 0, "length", "must not be negative"),
        check(length, length <= limit, "length", f"is over the limit of {limit} characters"),
        check(temperature, warm, "temperature", "must not be negative, and a number"),
        check(k, k >= 0, "top_k", "must not be negative"),
        check(top_p, (top_p > 0) & (top_p <= 1), "top_p", "must be above 0 and at most 1"),
        check(
            alternatives,
            (alternatives >= 0) & (alternatives <= MAX_ALTERNATIVES),
            "alternatives",
            f"must be from 0 to {MAX_ALTERNATIVES}",
        ),
    ]


def check(values, valid, name, problem):
    """An assertion that names the first value that is not valid."""
    invalid = tf.boolean_mask(values, tf.logical_not(valid))
    first = tf.concat([invalid, tf.zeros([1], values.dtype)], axis=0)[0]
    shown = tf.strings.as_string(first, shortest=first.dtype.is_floating)
    message = tf.strings.join([name, " ", shown, " ", problem])
    return tf.debugging.Assert(tf.size(invalid) == 0, [message])
