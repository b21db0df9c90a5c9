"""Pairs of sentences as lines, and what is no pair."""

from collections import Counter

import pytest

from model.errors import InputError
from pipeline.data.records import Record
from pipeline.data.sentence_pairs import PairCounts, SentencePair, count, pairs_of

TEXT = b"le chat\tthe  cat\r\n\nle\t\nle chien\tthe dog"


def test_every_line_is_a_pair():
    assert list(pairs_of(Record(TEXT, "fr-en", 0))) == [
        SentencePair("le chat", "the  cat"),
        SentencePair("", ""),
        SentencePair("le", ""),
        SentencePair("le chien", "the dog"),
    ]


def test_words_and_lengths_are_those_of_complete_pairs():
    counts = count(pairs_of(Record(TEXT, "fr-en", 0)))
    assert counts == PairCounts(
        (
            Counter({"le": 2, "chat": 1, "chien": 1}),
            Counter({"the": 2, "cat": 1, "dog": 1}),
        ),
        Counter({(2, 2): 2}),
        incomplete=2,
    )
    twice = PairCounts.sum([counts, counts])
    assert twice.pairs == 4 and twice.incomplete == 4 and twice.words[0]["le"] == 4


@pytest.mark.parametrize(
    "line,message",
    [
        (b"no tab\n", "fr-en, byte 107: a line has 0 tabs; give a sentence, a tab"),
        (b"a\tb\tc\n", "fr-en, byte 107: a line has 2 tabs"),
        (b"a\t\xff\n", r"fr-en, byte 109 is not UTF-8 \(invalid start byte\); convert the file"),
    ],
)
def test_what_is_no_pair_is_named_with_its_place(line, message):
    record = Record(b"a b\tcd\n" + line, "fr-en", 100)
    with pytest.raises(InputError, match=message):
        list(pairs_of(record))
