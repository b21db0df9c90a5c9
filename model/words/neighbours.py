"""Nearest neighbours of words by the angle between their vectors."""

from typing import NamedTuple

import tensorflow as tf


class Neighbours(NamedTuple):
    """The nearest neighbours of vectors, the nearest one first.

    Attributes:
      places: The places of the neighbours, `[queries, count]`, int32.
      cosines: The cosines of the angles between each query and its neighbours,
        `[queries, count]`.
    """

    places: tf.Tensor
    cosines: tf.Tensor


def nearest_neighbours(vectors: tf.Tensor, queries: tf.Tensor, count: int) -> Neighbours:
    """Returns the vectors with the largest cosine to each query, v . q / (|v| |q|).

    A vector of zeros has the cosine 0 to any other.

    >>> vectors = tf.constant([[1.0, 0.0], [2.0, 2.0], [0.0, -3.0]])
    >>> nearest_neighbours(vectors, tf.constant([[3.0, 1.0]]), 2).places.numpy().tolist()
    [[0, 1]]

    Args:
      vectors: The vectors to choose from, `[vectors, width]`.
      queries: The vectors whose neighbours are returned, `[queries, width]`.
      count: The number of neighbours.
    """
    vectors, queries = (tf.math.l2_normalize(one, axis=-1) for one in (vectors, queries))
    found = tf.math.top_k(tf.matmul(queries, vectors, transpose_b=True), count)
    return Neighbours(places=found.indices, cosines=found.values)
