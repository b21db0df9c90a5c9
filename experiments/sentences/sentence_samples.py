"""Homotopies between sentences, and ends of sentences, which a classifier tells from real ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from experiments.sentences import sentence_text
from model.sentences import decoding
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import PADDING
from model.text.word_vocabulary import END, WordVocabulary

HOMOTOPIES = 3
"""Number of pairs of sentences between which there is a line."""
POINTS = 6
"""Number of sentences on a line, the first and the last included."""
LEAST_WORDS = 5
"""Number of words from which on the last fifth of a sentence is a word or more."""


class Imputed(NamedTuple):
    """Sentences whose last fifth was removed, and written again.

    Attributes:
      beginnings: The first four fifths, as texts.
      ends: The words that were removed.
      imputed: The words that a net wrote in their place.
    """

    beginnings: list[str]
    ends: list[str]
    imputed: list[str]


def homotopies(net: SentenceModel, ids: np.ndarray, vocabulary: WordVocabulary) -> list[list[str]]:
    """Returns the likeliest sentences on lines between the vectors of the first sentences.

    Args:
      net: The net, with an encoder.
      ids: The sentences, `[sentences, longest]`, of which each two neighbours are joined.
      vocabulary: The vocabulary.

    Returns:
      Per pair the two sentences themselves around `POINTS` sentences.
    """
    pairs = ids[: 2 * HOMOTOPIES]
    pairs = pairs[: len(pairs) - len(pairs) % 2]
    first, second = (tf.constant(pairs[start::2]) for start in (0, 1))
    line = decoding.interpolate(net, first, second, POINTS)
    latent = tf.reshape(line, [-1, line.shape[-1]])
    count = latent.shape[0]
    written = decoding.decode(
        net,
        latent,
        END,
        tf.fill([count], ids.shape[1]),
        tf.zeros([count]),
        tf.zeros([count], tf.int64),
    )
    texts = sentence_text.texts_of(vocabulary, written.numpy())
    given = sentence_text.texts_of(vocabulary, pairs)
    return [
        [given[2 * at], *texts[at * POINTS : (at + 1) * POINTS], given[2 * at + 1]]
        for at in range(len(pairs) // 2)
    ]


def impute_last_fifth(net: SentenceModel, ids: np.ndarray, vocabulary: WordVocabulary) -> Imputed:
    """Removes the last fifth of the words of sentences, and has a net write it.

    Bowman et al. (arXiv 1511.06349), section 4.2, who remove it of sentences, too.

    Args:
      net: The net.
      ids: The sentences, `[sentences, longest]`; those of fewer than five words are left out.
      vocabulary: The vocabulary.
    """
    lengths = np.count_nonzero(ids != PADDING, axis=1) - 1  # without the end
    chosen = lengths >= LEAST_WORDS
    rows, lengths = ids[chosen], lengths[chosen]
    kept = lengths - lengths // 5
    places = np.arange(ids.shape[1])
    prefix = np.where(places < kept[:, None], rows, PADDING).astype(np.int32)
    # Twice as many words as there were leave room for others.
    most = tf.constant(2 * (lengths - kept) + 1, tf.int32)
    written = tf.function(
        lambda prefix, most: decoding.impute(net, prefix, END, most), autograph=False
    )(tf.constant(prefix), most)
    ends = np.where((places >= kept[:, None]) & (rows != PADDING), rows, PADDING)
    order = np.argsort(ends == PADDING, axis=1, kind="stable")
    ends = np.take_along_axis(ends, order, axis=1)
    return Imputed(
        *(sentence_text.texts_of(vocabulary, one) for one in (prefix, ends, written.numpy()))
    )


def adversarial_error(train: Imputed, test: Imputed) -> float:
    """Returns the share of sentences whose end a classifier takes for what it is not.

    Half of the sentences have their own end and half the imputed one, so that 50% say that the
    classifier cannot tell them apart. It is a logistic regression on the words and pairs of words
    of the end, the last word of the beginning included.

    Args:
      train: Sentences that the classifier is trained on.
      test: Sentences that it is tested on.
    """
    classifier = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", lowercase=False),
        LogisticRegression(max_iter=1000),
    )
    classifier.fit(*_labelled(train))
    texts, labels = _labelled(test)
    return float(np.mean(classifier.predict(texts) != labels))


def _labelled(sentences: Imputed) -> tuple[list[str], np.ndarray]:
    """Returns the real ends and the imputed ones, and which is which."""

    def ends(words: Sequence[str]) -> list[str]:
        return [
            f"{before.split()[-1]} {end} <end>"
            for before, end in zip(sentences.beginnings, words, strict=True)
        ]

    texts = ends(sentences.ends) + ends(sentences.imputed)
    return texts, np.repeat([0, 1], len(sentences.ends))
