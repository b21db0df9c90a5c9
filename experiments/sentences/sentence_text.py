"""Sentences as ids of words: lines of a corpus, of a data set, or generated."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.translation import translation_data
from experiments.words import word_text
from experiments.words.word_text import Parts, TextConfig, WordText
from model.errors import InputError
from model.text.vocabulary import PADDING
from model.text.word_vocabulary import END, WordVocabulary
from model.words.spelling import SENTENCE_END

Source = Literal["generated", "corpus", "tanaka-ja-en"]

STEP = 8
"""What the length of the sentences of a batch is a multiple of, their ends included: there is a
graph of TensorFlow's for each length."""


class SentenceConfig(NamedTuple):
    """Which sentences, and how many.

    Attributes:
      source: Where they come from: "generated" for sentences that need no text, "corpus" for the
        lines of one, "tanaka-ja-en" for the English side of that data set.
      words: Largest number of words to train on, ends of sentences included.
      least_count: Number of occurrences in the training part from which on a word is known.
      max_words: Largest number of words of a sentence; longer ones are left out.
      held_out: Largest number of sentences of the validation part, and of the test part.
    """

    source: Source
    words: int
    least_count: int
    max_words: int
    held_out: int


class Sentences(NamedTuple):
    """Sentences as ids of words, in three parts.

    Attributes:
      vocabulary: The vocabulary, of the training part.
      train: Ids of the sentences to train on, `[sentences, longest]`, int32, each ended by `END`,
        and `PADDING` after that.
      validation: Those that are followed during a training.
      test: Those to measure.
      left_out: Number of sentences of the training part that are too long, or empty.
    """

    vocabulary: WordVocabulary
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    left_out: int


@functools.lru_cache(maxsize=2)
def load(config: SentenceConfig, examples: str = "", folder: str | None = None) -> Sentences:
    """Returns the sentences.

    Args:
      config: Which, and how many.
      examples: Directory of the artifact of the corpus' examples; only used for a corpus.
      folder: Local copy of the data set; see `datasets.read`.

    Raises:
      InputError: If a part has no sentence that is short enough, or the vocabulary no more than one
        word.
    """
    if config.source == "tanaka-ja-en":
        options = TextConfig("corpus", config.words, config.least_count)
        return cut(word_text.encode(_english_side(config, folder), options), config)
    options = TextConfig(config.source, config.words, config.least_count)
    return cut(word_text.load(options, examples), config)


def _english_side(config: SentenceConfig, folder: str | None) -> Parts:
    """Returns the words of the English sentences of the data set."""
    corpus = translation_data.load("tanaka-ja-en", folder)
    train, dev, test = (list(_words(part.targets)) for part in corpus)
    return Parts(train[: config.words], dev, test)


def _words(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from sentence.split()
        yield SENTENCE_END


def cut(text: WordText, config: SentenceConfig) -> Sentences:
    """Returns the sentences of a text.

    Args:
      text: The text, whose sentences end with `END`; what follows the last one is left out.
      config: Which sentences, and how many.

    Raises:
      InputError: If a part has no sentence that is short enough.
    """
    parts, left_out = [], 0
    for name in Parts._fields:
        ids = text.known(getattr(text, name))
        sentences, longer = _split(ids, config.max_words)
        if not sentences:
            raise InputError(
                f"the {name} part of the text has no line of 1 to {config.max_words} words; give a "
                "text with a sentence per line by --corpus"
            )
        if name == "train":
            left_out = longer
        else:
            sentences = sentences[: config.held_out]
        parts.append(padded(sentences))
    train, validation, test = parts
    return Sentences(text.vocabulary, train, validation, test, left_out)


def _split(ids: np.ndarray, max_words: int) -> tuple[list[np.ndarray], int]:
    """Returns the sentences that are short enough, their ends included, and how many are not."""
    ends = np.flatnonzero(ids == END) + 1
    sentences = np.split(ids, ends)[:-1]
    kept = [one for one in sentences if 1 < len(one) <= max_words + 1]
    return kept, len(sentences) - len(kept)


def padded(sentences: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Returns sentences as one array, `PADDING` after each, whose width is a multiple of `STEP`.

    >>> padded([[5, 4, 2], [7, 2]])
    array([[ 5,  4,  2, -1, -1, -1, -1, -1],
           [ 7,  2, -1, -1, -1, -1, -1, -1]], dtype=int32)

    Args:
      sentences: Their ids.
    """
    longest = max(map(len, sentences))
    rows = np.full([len(sentences), width_of(longest)], PADDING, np.int32)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = sentence
    return rows


def width_of(lengths: Any) -> Any:
    """Returns the widths of batches in which sentences of some lengths lie.

    Args:
      lengths: The lengths, an integer or an array.
    """
    return -(-lengths // STEP) * STEP


def batches(
    ids: np.ndarray, batch_size: int, random: np.random.Generator | None = None
) -> Iterator[np.ndarray]:
    """Yields the places of sentences, those of batches of one width together.

    Args:
      ids: The sentences, `[sentences, longest]`.
      batch_size: Number of places of each batch. The last one of a width begins again with its
        first sentences, so that all have the same shape.
      random: Generator of the order. None (the default) for the order of the sentences.

    Yields:
      Places, `[batch_size]`; the sentences there are `ids[places, :width]` with the width that
      `width_of` returns for the longest of them.
    """
    widths = width_of(np.count_nonzero(ids != PADDING, axis=1))
    order = np.arange(len(ids)) if random is None else random.permutation(len(ids))
    groups = [
        np.resize(places, -(-len(places) // batch_size) * batch_size)
        for width in np.unique(widths)
        if len(places := order[widths[order] == width])
    ]
    found = [group for groups_ in groups for group in np.split(groups_, len(groups_) // batch_size)]
    for at in range(len(found)) if random is None else random.permutation(len(found)):
        yield found[at]


def trimmed(ids: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the sentences of a batch, `[batch_size, width]`.

    Args:
      ids: The sentences, `[sentences, longest]`.
      places: Places of the batch.
    """
    rows = ids[places]
    return rows[:, : width_of(int(np.count_nonzero(rows != PADDING, axis=1).max()))]


def texts_of(vocabulary: WordVocabulary, ids: np.ndarray) -> list[str]:
    """Returns sentences as texts, up to their ends.

    Args:
      vocabulary: The vocabulary.
      ids: The sentences, `[sentences, longest]`.
    """
    return [vocabulary.text(int(one) for one in row if one != PADDING) for row in ids]
