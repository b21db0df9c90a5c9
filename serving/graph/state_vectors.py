"""What the states of texts and of speech have in common as vectors that clients hold.

A vector begins with the fingerprint of its model, and ends with the hidden and memory vectors of
the recurrent layers. All its numbers are float32.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from serving.graph.checks import Check, broadcast_rows

EXACT = 2**24
"""Largest integer up to which float32 holds all."""


def fingerprint_of(description: str, weights: Iterable[np.ndarray]) -> np.ndarray:
    """Computes the fingerprint by which a model recognises its own states.

    Args:
      description: All that the model is besides its weights.
      weights: Weights of the model.

    Returns:
      `[2]`, float32, of 24 bits each; different for other descriptions or weights.
    """
    digest = hashlib.sha256(description.encode())
    for weight in weights:
        digest.update(np.asarray(weight).tobytes())
    bits = int.from_bytes(digest.digest()[:6], "big")
    return np.array(divmod(bits, EXACT), np.float32)


def flatten_layers(parts: Iterable[tf.Tensor], batch: tf.Tensor) -> list[tf.Tensor]:
    """Returns hidden or memory vectors `[layers, batch, width]` as `[batch, layers * width]`.

    Args:
      parts: Vectors of the layers.
      batch: Number of rows, a scalar.
    """
    return [
        tf.reshape(tf.transpose(part, [1, 0, 2]), [batch, part.shape[0] * part.shape[2]])
        for part in parts
    ]


def unflatten_layers(
    flat: Sequence[tf.Tensor], shapes: Sequence[tuple[int, int]]
) -> list[tf.Tensor]:
    """Returns what `flatten_layers` was given.

    Args:
      flat: Vectors `[batch, layers * width]`.
      shapes: Number of layers and width of each.
    """
    return [
        tf.transpose(tf.reshape(part, [-1, *shape]), [1, 0, 2])
        for part, shape in zip(flat, shapes, strict=True)
    ]


def vector_checks(vectors: tf.Tensor, size: int, fingerprint: np.ndarray, of: str) -> list[Check]:
    """Returns the checks that vectors are states of a size that begin with a fingerprint, or empty.

    Args:
      vectors: Vectors `[batch, any]`.
      size: Number of numbers of a state.
      fingerprint: Fingerprint of the model, `[2]`.
      of: What a state is of, in messages, such as "text".
    """
    width = tf.shape(vectors)[1]

    def wrong_size() -> tf.Tensor:
        return tf.strings.join(
            ["state has ", tf.strings.as_string(width), f" numbers; give the {size} of a state "
             f"that this model returned, or none for a new {of}"]
        )  # fmt: skip

    fingerprints = tf.pad(vectors, [[0, 0], [0, 2]])[:, :2]
    return [
        Check((width == 0) | (width == size), wrong_size),
        Check(
            (width == 0) | tf.reduce_all(fingerprints == fingerprint),
            lambda: tf.constant(
                "state is of another model version; start again with an empty state"
            ),
        ),
        Check(
            tf.reduce_all(tf.math.is_finite(vectors)),
            lambda: tf.constant(
                "state holds a number that is not finite; give it as the model returned it"
            ),
        ),
    ]


def full_vectors(
    vectors: tf.Tensor, rows: tf.Tensor, size: int, begin: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Returns vectors `[rows, size]` for vectors of a request that pass `vector_checks`.

    Args:
      vectors: Vectors `[1 or rows, size]`, or `[any, 0]` for initial states.
      rows: Number of rows, a scalar.
      size: Number of numbers of a state.
      begin: Function that returns the vectors of initial states.
    """
    return tf.cond(
        tf.shape(vectors)[1] == 0,
        begin,
        lambda: tf.reshape(broadcast_rows(vectors, rows), [-1, size]),
    )
