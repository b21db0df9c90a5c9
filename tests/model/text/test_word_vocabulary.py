"""Vocabularies of words: the order of ids, unknown words, and files."""

import pytest

from model.errors import InputError
from model.text.word_vocabulary import END, UNKNOWN, WordVocabulary


def test_ids_are_by_frequency_and_rare_words_are_unknown():
    vocabulary = WordVocabulary.of(["b a b", "c  a b d", ""], least_count=2)
    assert vocabulary.words == ("b", "a") and vocabulary.size == 6
    assert vocabulary.ids(" a\tc b ") == [5, UNKNOWN, 4]
    assert vocabulary.text([4, UNKNOWN, 5, END, 4]) == "b <unk> a"
    assert vocabulary.text([0, 4]) == ""


def test_a_largest_size_leaves_out_the_rarest_words():
    sentences = ["b a b", "c a b d"]
    assert WordVocabulary.of(sentences, max_size=6).words == ("b", "a")
    assert WordVocabulary.of(sentences, max_size=99).words == ("b", "a", "c", "d")
    assert WordVocabulary.of(sentences, max_size=2).words == ()


def test_files_keep_the_order():
    vocabulary = WordVocabulary(("猫", "x", "A"))
    assert WordVocabulary.from_text(vocabulary.to_text()) == vocabulary


@pytest.mark.parametrize(
    "words,said",
    [(("a", "b", "a"), "'a' twice"), (("a b",), "'a b', which is not one word"), (("",), "''")],
)
def test_words_are_distinct_and_hold_no_space(words, said):
    with pytest.raises(InputError, match=said):
        WordVocabulary(words)
