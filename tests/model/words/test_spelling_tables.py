"""Spellings in a graph against those in Python."""

import numpy as np
import tensorflow as tf

from model.words.spelling import Spelling
from model.words.spelling_tables import SpellingTables


def test_ids_are_those_of_the_spelling():
    """Of words with unknown characters, of several bytes, of the largest length, and cut."""
    spelling = Spelling.of(["naïve", "猫が", "\n"], max_length=5)
    tables = SpellingTables(spelling)
    words = ["naïve", "猫", "Naïvety", "", "\n", "vvvvv", "vvvvvv"]
    found = tf.function(tables.ids)(tf.constant(words))
    np.testing.assert_array_equal(found, spelling.table(words))
    assert found.dtype == tf.int32
    assert tables.ids(tf.zeros([0], tf.string)).shape == [0, spelling.width]
