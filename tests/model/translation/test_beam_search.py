"""Searches against all translations there are, and against a beam in plain Python."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.text.word_vocabulary import BEGIN, END
from model.translation.beam_search import beam_search, greedy_search
from model.translation.reencoder import Reencoder

VOCABULARY = 6
WORDS = range(3, VOCABULARY)
LONGEST = 3
SOURCES = np.array([[3, 5, 4], [4, 0, 0], [5, 3, 0]], np.int32)
"""Sentences of different lengths in one batch."""


@pytest.fixture
def model():
    made = Reencoder(VOCABULARY, VOCABULARY, 3, dtype="float64", execution="reference")
    made.set_weights([generator().normal(size=one.shape) for one in made.weights])
    return made


def next_words(model, source):
    """ln p of each next word after each beginning, by the whole grid at once."""
    words = np.array([*itertools.product(WORDS, repeat=LONGEST)])
    before = np.pad(words, [(0, 0), (1, 0)], constant_values=BEGIN)
    logits = model([np.tile(source[source > 0], [len(words), 1]), before]).numpy()
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return {
        tuple(row[:length]): after[length]
        for row, after in zip(words.tolist(), logs, strict=True)
        for length in range(LONGEST + 1)
    }


def log_p(after, words):
    """ln p of a beginning."""
    return float(sum(after[words[:place]][word] for place, word in enumerate(words)))


def score(after, words, power):
    return (log_p(after, words) + float(after[words][END])) / (len(words) + 1) ** power


def beam_in_python(after, width, power):
    """A beam of hypotheses, each of which is scored anew at every step."""
    beam, ended = [()], []
    for _ in range(LONGEST + 1):
        ended += [(score(after, words, power), words) for words in beam]
        longer = [(*words, word) for words in beam for word in WORDS if len(words) < LONGEST]
        beam = sorted(longer, key=lambda words: -log_p(after, words))[:width]
    return sorted(ended, reverse=True)[:width]


def listed(found):
    """The translations of each sentence as a list of scores and words."""
    return [
        [
            (float(one), tuple(int(word) for word in words if word))
            for one, words in zip(scores, ids, strict=True)
        ]
        for scores, ids in zip(found.scores.numpy(), found.ids.numpy(), strict=True)
    ]


def require_same(actual, expected):
    assert [words for _, words in actual] == [words for _, words in expected]
    np.testing.assert_allclose(
        [one for one, _ in actual], [one for one, _ in expected], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_a_wide_beam_finds_all_translations_in_order(model, power):
    """There are 1 + 3 + 9 + 27 = 40, at most 27 of which are of one length."""
    search = tf.function(lambda ids: beam_search(model, ids, 40, LONGEST, power))
    for source, found in zip(SOURCES, listed(search(tf.constant(SOURCES))), strict=True):
        after = next_words(model, source)
        expected = [(score(after, words, power), words) for words in after]
        require_same(found, sorted(expected, reverse=True))


@pytest.mark.parametrize("width,power", [(1, 0.0), (2, 1.0), (5, 0.5)])
def test_a_narrow_beam_is_that_of_plain_python(model, width, power):
    search = tf.function(lambda ids: beam_search(model, ids, width, LONGEST, power))
    for source, found in zip(SOURCES, listed(search(tf.constant(SOURCES))), strict=True):
        require_same(found, beam_in_python(next_words(model, source), width, power))


def test_a_greedy_search_takes_the_likeliest_word(model):
    found = listed(greedy_search(model, SOURCES, LONGEST))
    for source, ((total, words),) in zip(SOURCES, found, strict=True):
        after, expected = next_words(model, source), ()
        while len(expected) < LONGEST:
            best = max([END, *WORDS], key=lambda word: after[expected][word])
            if best == END:
                break
            expected = (*expected, best)
        assert words == expected
        assert total == pytest.approx(score(after, words, 0), abs=1e-5)


class Chain(NamedTuple):
    """A translator whose next word depends on the last one alone.

    Attributes:
      log_p: ln p of each word after each, `[vocabulary, vocabulary]`.
      steps: The steps that were computed.
    """

    log_p: np.ndarray
    steps: list

    def initial_state(self, source_ids):
        return {"source": tf.convert_to_tensor(source_ids)}

    def step(self, ids, state):
        self.steps.append(ids)
        return tf.gather(tf.constant(self.log_p, tf.float32), ids), state


def chain(probabilities):
    """A chain of the given probabilities, by the word before and the next word."""
    log_p = np.full([VOCABULARY, VOCABULARY], -50.0)
    for (before, word), p in probabilities.items():
        log_p[before, word] = np.log(p)
    return Chain(log_p, [])


def test_a_beam_finds_what_a_greedy_search_passes_over():
    """Word 3 is likelier than 4 at first, but only 4 is followed by a likely word."""
    model = chain(
        {(BEGIN, 3): 0.6, (BEGIN, 4): 0.4, (3, 5): 0.6, (3, END): 0.4, (4, 5): 1.0, (5, END): 1.0}
    )
    ids = np.array([[3]])
    assert listed(greedy_search(model, ids))[0][0][1] == (3, 5)
    ((total, words), _) = listed(beam_search(model, ids, 2))[0]
    assert words == (4, 5) and total == pytest.approx(np.log(0.4), abs=1e-4)


def test_the_search_ends_where_nothing_better_can_come():
    model = chain({(BEGIN, 3): 1.0, (3, 4): 0.1, (3, END): 0.9, (4, 4): 0.99, (4, END): 0.01})
    ((total, words),) = listed(beam_search(model, np.array([[3]]), 1, max_words=500))[0]
    assert words == (3,) and total == pytest.approx(np.log(0.9), abs=1e-4)
    assert len(model.steps) == 2


def test_what_never_ends_is_ended_at_the_limit():
    model = chain({(BEGIN, 3): 1.0, (3, 3): 1.0})
    for search in (greedy_search, beam_search):
        best = listed(search(model, np.array([[3]]), max_words=5))[0][0]
        assert best[0] == pytest.approx(-50, abs=1e-3)
    assert listed(greedy_search(model, np.array([[3]]), max_words=5))[0][0][1] == (3,) * 5


def test_the_words_of_other_special_ids():
    model = chain({(4, 5): 1.0, (5, END): 0.4, (5, 3): 0.6, (END, 3): 1.0})
    (best, *_) = listed(beam_search(model, np.array([[3]]), 3, max_words=4, begin=4, end=3))[0]
    assert best[1] == (5,) and best[0] == pytest.approx(np.log(0.6), abs=1e-4)


@pytest.mark.parametrize(
    "options,said",
    [
        ({"beam_width": 0}, "beam_width is 0"),
        ({"beam_width": 1_000_000}, "beam_width is 1000000"),
        ({"max_words": 0}, "max_words is 0"),
        ({"max_words": 1_000_000}, "max_words is 1000000"),
        ({"length_power": -0.5}, "length_power is -0.5"),
        ({"length_power": float("nan")}, "length_power is nan"),
        ({"begin": 0}, "begin is 0 and end 2"),
    ],
)
def test_mistakes_are_named(options, said):
    with pytest.raises(InputError, match=said):
        beam_search(chain({}), SOURCES, **options)
