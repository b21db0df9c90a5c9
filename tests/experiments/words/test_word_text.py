"""Texts as words: ids of known and unknown words, streams, the generated text, and bad input."""

import itertools

import numpy as np
import pytest
from seeds import generator

from experiments.words import word_text
from experiments.words.word_text import Parts, TextConfig
from model.errors import InputError
from model.text.word_vocabulary import END, UNKNOWN
from model.words.spelling import SENTENCE_END

CONFIG = TextConfig("corpus", words=100, least_count=2, max_length=4)
PARTS = Parts(
    train=["b", "a", "b", "rare", "a", "b", SENTENCE_END, "<unk>"],
    validation=["a", "longer"],
    test=["new", "rare", "b", SENTENCE_END, "longer"],
)


def test_known_words_come_first_and_every_word_has_an_id_of_its_own():
    text = word_text.encode(PARTS, CONFIG)
    assert text.vocabulary.words == ("b", "a") and text.vocabulary.size == 6
    assert text.words[:6] == ["", "", SENTENCE_END, "<unk>", "b", "a"]
    assert sorted(text.words[6:]) == ["<unk>", "longer", "new", "rare"]
    for part, words in zip((text.train, text.validation, text.test), PARTS, strict=True):
        assert [text.words[one] for one in part] == words
    assert text.train[6] == END
    known = text.known(text.test)
    assert known.tolist() == [UNKNOWN, UNKNOWN, 4, END, UNKNOWN]


def test_counts_and_characters_are_those_of_the_training_part():
    text = word_text.encode(PARTS, CONFIG)
    counts = dict(zip(text.words[2:], text.counts[2:].tolist(), strict=True))
    assert counts["b"] == 3 and counts["rare"] == 1 and counts["new"] == counts["longer"] == 0
    assert set(text.spelling.characters) == set("barerare\n<unk>")
    table = text.table()
    assert table.shape == (len(text.words), 6)
    for word in ("b", "rare", "longer"):
        ids = text.spelling.ids(word)
        np.testing.assert_array_equal(table[text.words.index(word)][: len(ids)], ids)


def test_the_vocabulary_is_no_larger_than_its_limit():
    text = word_text.encode(PARTS, CONFIG._replace(least_count=1, max_size=7))
    assert text.vocabulary.size == 7
    assert text.known(text.train).max() < 7


def test_streams_follow_one_another_and_begin_after_the_word_before():
    ids = np.arange(10, 10 + 47, dtype=np.int32)
    streams = word_text.streams_of(ids, count=3, window=5)
    np.testing.assert_array_equal(streams.targets.ravel(), ids[:45])
    np.testing.assert_array_equal(streams.inputs.ravel(), [END, *ids[:44]])
    windows = list(streams.windows(5))
    assert [one.targets.shape for one in windows] == [(3, 5)] * 3
    joined = np.concatenate([one.targets for one in windows], axis=1)
    np.testing.assert_array_equal(joined, streams.targets)


@pytest.mark.parametrize("length,is_enough", [(14, False), (15, True)])
def test_a_part_without_a_window_is_refused(length, is_enough):
    words = ["a", "b"] * 20
    parts = Parts(words, words[:length], words)
    text = word_text.encode(parts, CONFIG)
    if is_enough:
        word_text.require_windows(text, 3, 5)
        return
    with pytest.raises(InputError, match=r"the validation part .* 14 words, .* needs 15; give"):
        word_text.require_windows(text, 3, 5)


@pytest.mark.parametrize(
    "train,said",
    [
        ([], "the text has no words; give one with letters"),
        ([SENTENCE_END] * 3, "the text has no words"),
        (
            ["a", "a", "b", SENTENCE_END],
            r"the vocabulary has 1 word\(s\) of at least 2 occurrences",
        ),
        (["a", "b"], r"the vocabulary has 0 word\(s\)"),
    ],
)
def test_texts_of_no_or_one_word_are_refused_in_one_line(train, said):
    with pytest.raises(InputError, match=said) as caught:
        word_text.encode(Parts(train, [], []), CONFIG)
    assert "\n" not in str(caught.value)


def test_the_generated_text_has_unseen_words_whose_ending_tells_what_they_are():
    text = word_text.load(TextConfig("generated", words=4_000, least_count=2))
    again = word_text.load.__wrapped__(TextConfig("generated", words=4_000, least_count=2))
    np.testing.assert_array_equal(text.test, again.test)
    assert len(text.train) == 4_000 and len(text.test) == 400
    unseen = {text.words[one] for one in text.test if text.counts[one] == 0}
    assert len(unseen) >= 5
    # After a past tense comes an object, an adverb or the end; so after an unseen one, too.
    words = [text.words[one] for one in text.train]
    after = {b for a, b in itertools.pairwise(words) if a.endswith("ed")}
    assert all(one == "the" or one.endswith("ly") for one in after)


def test_words_of_programs_and_of_other_scripts():
    text = generator().choice(["déjà_vu x2", "déjà_vu  x2"])
    assert list(word_text.words_of(f"{text}\n \n猫。")) == [
        *("déjà_vu", "x2", SENTENCE_END, "猫", "。", SENTENCE_END)
    ]
