"""Nearest neighbours against cosines in NumPy."""

import numpy as np
from grids import error
from seeds import generator

from model.words.neighbours import nearest_neighbours


def test_neighbours_have_the_largest_cosines_whatever_the_lengths():
    vectors, queries = generator().normal(size=(30, 4)), generator().normal(size=(5, 4))
    vectors *= generator().uniform(0.1, 10, size=(30, 1))
    found = nearest_neighbours(vectors, queries, 7)
    for query, places, cosines in zip(queries, *found, strict=True):
        expected = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        order = np.argsort(-expected)[:7]
        np.testing.assert_array_equal(places, order)
        assert error(cosines, expected[order]) < 1e-12


def test_a_vector_of_zeros_is_near_to_none():
    vectors = np.array([[0.0, 0.0], [1.0, 1.0]])
    found = nearest_neighbours(vectors, vectors[:1], 2)
    np.testing.assert_array_equal(found.cosines, [[0.0, 0.0]])
