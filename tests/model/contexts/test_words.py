"""The words of a window, against Python that reads character after character."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_contexts import bucket
from seeds import generator

from model.contexts.words import bucket_of, read_words

SEPARATORS = (0, 1)


def words_of(text):
    """The words that end in a text, in order, and the number that have ended at each character."""
    words, word, ended = [], [], []
    for character in text:
        if character not in SEPARATORS:
            word.append(character)
        elif word:
            words.append(word)
            word = []
        ended.append(len(words))
    return words, ended


def read(ids, keep=None, begun=None, is_within=None):
    batch = ids.shape[1]
    return read_words(
        tf.constant(ids),
        tf.constant(np.isin(ids, SEPARATORS)),
        None if keep is None else tf.constant(keep),
        tf.zeros([batch], tf.int32) if begun is None else begun,
        tf.zeros([batch], tf.bool) if is_within is None else is_within,
    )


@pytest.mark.parametrize("steps", [1, 2, 30, 31])
def test_words_are_found_in_their_order(steps):
    ids = generator().integers(0, 5, (steps, 40)).astype(np.int32)
    words = read(ids)
    buckets = bucket_of(words.hashes, 12).numpy()
    for row, text in enumerate(ids.T):
        expected, ended = words_of(text)
        found = buckets[words.is_word.numpy()[:, row], row]
        assert found.tolist() == [bucket(word, 12) for word in expected]
        assert words.ended[:, row].numpy().tolist() == ended


def test_words_that_lie_in_several_windows_are_the_same_words():
    ids = generator().integers(0, 6, (60, 8)).astype(np.int32)
    lengths = generator().integers(0, 20, (4, 8))
    whole = [words_of(np.concatenate([ids[:20, r], ids[20:, r]]))[0] for r in range(8)]
    state, found = (None, None), [[] for _ in range(8)]
    # Windows of 20 in which each row reads another number of characters, until all is read.
    at = np.zeros(8, int)
    while (at < 60).any():
        count = np.minimum(lengths[generator().integers(4)] + 1, 60 - at)
        window = np.stack(
            [np.resize(ids[a : a + 20, r], 20) for r, a in enumerate(np.minimum(at, 59))]
        )
        words = read(window.T.astype(np.int32), np.arange(20)[:, None] < count, *state)
        state = words.begun, words.is_within
        for row in range(8):
            found[row] += (
                bucket_of(words.hashes, 12).numpy()[words.is_word.numpy()[:, row], row].tolist()
            )
        at += count
    assert found == [[bucket(word, 12) for word in row] for row in whole]


def test_words_of_a_text_have_different_hashes():
    ids = np.array([[2, 3, 0, 3, 2, 0, 2, 0, 2, 2, 0, 2, 2, 2, 0]], np.int32).T
    words = read(ids)
    hashes = words.hashes.numpy()[words.is_word.numpy()]
    assert len(set(hashes.tolist())) == len(hashes) == 5
