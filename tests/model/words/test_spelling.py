"""Spellings: ids of characters, unknown characters, and words that are cut."""

import numpy as np
import pytest

from model.errors import InputError
from model.words.spelling import BEGIN, END, SENTENCE_END, UNKNOWN, Spelling


def test_words_are_their_characters_between_beginning_and_end():
    spelling = Spelling.of(["été", "a"], max_length=4)
    assert spelling.characters == "\naté"
    assert spelling.size == 8
    assert spelling.ids("tax") == [BEGIN, 6, 5, UNKNOWN, END]
    assert spelling.ids("") == [BEGIN, END]
    assert spelling.ids(SENTENCE_END) == [BEGIN, 4, END]


@pytest.mark.parametrize("length,is_cut", [(3, False), (4, False), (5, True)])
def test_words_beyond_the_longest_are_cut(length, is_cut):
    spelling = Spelling("ab", max_length=4)
    word = "abbbb"[:length]
    assert spelling.is_cut(word) == is_cut
    assert spelling.ids(word) == spelling.ids(word[:4])
    assert spelling.ids(word)[-1] == END and len(spelling.ids(word)) <= spelling.width == 6


def test_a_table_has_a_row_per_word():
    table = Spelling("ab", max_length=3).table(["ab", "b", "aaaa"])
    np.testing.assert_array_equal(table, [[1, 4, 5, 2, 0], [1, 5, 2, 0, 0], [1, 4, 4, 4, 2]])
    assert table.dtype == np.int32


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="max_length is 0"):
        Spelling("a", max_length=0)
    with pytest.raises(InputError, match="'a' twice"):
        Spelling("aba")
