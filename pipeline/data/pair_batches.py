"""Batches of pairs of sentences as ids, those of one length together."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model.errors import InputError
from model.text.word_tables import WordTables
from model.text.word_vocabulary import END, WordVocabulary
from pipeline.data.pair_statistics import Lengths
from pipeline.data.records import read_records, shard_paths
from pipeline.data.sentence_pairs import SentencePair, pairs_of
from pipeline.data.windows import without_autotune

TARGET_STEP = 2
"""Targets of a batch are padded to a multiple of this length, so that few batches are small."""

SHUFFLED = 1 << 16
"""Number of pairs that are shuffled among each other."""


class Vocabularies(NamedTuple):
    """The vocabularies of both languages.

    Attributes:
      source: Vocabulary of the sentences.
      target: Vocabulary of the translations.
    """

    source: WordVocabulary
    target: WordVocabulary


def target_length(words: int) -> int:
    """Returns the length of a target of some words, with its end and the padding after it."""
    return -(-(words + 1) // TARGET_STEP) * TARGET_STEP


def steps_per_epoch(lengths: Lengths, batch_size: int, max_words: int) -> int:
    """Returns the number of batches of `grouped_by_length` in a pass over pairs.

    Args:
      lengths: Number of pairs by the numbers of words of both sides.
      batch_size: Largest number of pairs of a batch.
      max_words: Largest number of words of a side; longer pairs are left out.
    """
    groups: dict[tuple[int, int], int] = {}
    for (source, target), pairs in lengths.items():
        if max(source, target) <= max_words:
            key = source, target_length(target)
            groups[key] = groups.get(key, 0) + pairs
    return sum(-(-pairs // batch_size) for pairs in groups.values())


def grouped_by_length(pairs: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches pairs whose sources have one length and whose targets are padded to one.

    What does not fill a batch makes smaller ones at the end.

    Args:
      pairs: Source and target ids of each pair, `[source]` and `[target]`, 0 after the last word.
      batch_size: Largest number of pairs of a batch.

    Returns:
      A dataset of source ids `[batch, source]` and target ids `[batch, target]`, int32.
    """
    most = 1 << 20

    def key(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        longest = -(-tf.math.count_nonzero(target) // TARGET_STEP) * TARGET_STEP
        return tf.math.count_nonzero(source) * most + longest

    def batch(key: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        return window.padded_batch(batch_size, ([key // most], [key % most]))

    def trimmed(source: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return source[: tf.math.count_nonzero(source)], target[: tf.math.count_nonzero(target)]

    return pairs.map(trimmed).group_by_window(key, batch, window_size=batch_size)


class PairedSplit:
    """A split of pairs of sentences, in records of whole lines.

    Args:
      examples: Directory of the examples.
      split: Name of the split.
      vocabularies: Vocabularies of both languages.
      max_words: Largest number of words of a side; longer pairs are left out.
    """

    def __init__(self, examples: str, split: str, vocabularies: Vocabularies, max_words: int):
        self._paths = shard_paths(examples, split)
        self._name = split
        self._tables = tuple(map(WordTables, vocabularies))
        self._max_words = max_words

    def training_batches(self, batch_size: int, seed: int, epoch: int) -> tf.data.Dataset:
        """Returns the batches of one pass, in an order that the seeds and the pass decide.

        The seeds are this one and TensorFlow's global one.

        Args:
          batch_size: Largest number of pairs of a batch.
          seed: Seed of the training.
          epoch: Number of the pass, from 0.

        Returns:
          A dataset as of `grouped_by_length`.
        """
        generator = np.random.default_rng([seed, epoch])
        paths = [self._paths[place] for place in generator.permutation(len(self._paths))]
        pairs = self._pairs(paths).shuffle(
            SHUFFLED, seed=int(generator.integers(1 << 31)), reshuffle_each_iteration=False
        )
        return without_autotune(grouped_by_length(pairs, batch_size).prefetch(4))

    def evaluation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Returns all pairs once, as of `grouped_by_length`.

        Args:
          batch_size: Largest number of pairs of a batch.
        """
        return without_autotune(grouped_by_length(self._pairs(self._paths), batch_size).prefetch(4))

    def _pairs(self, paths: list[str]) -> tf.data.Dataset:
        """Returns a dataset of the ids of each pair, padded by zeros."""
        return tf.data.TFRecordDataset(paths).map(self._encode).unbatch().filter(self._is_usable)

    def _encode(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids of all pairs of a record, `[pairs, longest]` each."""
        features = {"text": tf.io.FixedLenFeature([], tf.string)}
        lines = tf.strings.split(tf.io.parse_single_example(record, features)["text"], "\n")
        lines = tf.boolean_mask(lines, tf.strings.length(lines) > 0)
        sides = tf.strings.split(lines, "\t").to_tensor("", shape=[None, 2])
        source, target = (table.ids(sides[:, side]) for side, table in enumerate(self._tables))
        ended = tf.pad(target, [[0, 0], [0, 1]])
        words = tf.math.count_nonzero(target, axis=1, keepdims=True, dtype=tf.int32)
        is_end = tf.range(tf.shape(ended)[1]) == words
        return source, tf.where(is_end & (words > 0), END, ended)

    def _is_usable(self, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Returns whether both sides of a pair have words, and not too many."""
        words = tf.math.count_nonzero(source), tf.math.count_nonzero(target) - 1
        return (tf.minimum(*words) > 0) & (tf.maximum(*words) <= self._max_words)

    def sentences(self, count: int) -> list[SentencePair]:
        """Returns the first pairs as text, words between single spaces.

        Args:
          count: Largest number of pairs.
        """
        return [pair for pair, _ in zip(self._texts(), range(count), strict=False)]

    def _texts(self) -> Iterator[SentencePair]:
        for path in self._paths:
            for record in read_records(path):
                for pair in pairs_of(record):
                    if min(pair.lengths) and max(pair.lengths) <= self._max_words:
                        yield SentencePair(*(" ".join(side.split()) for side in pair))


def require_pairs(lengths: Lengths, max_words: int, split: str) -> None:
    """Checks that a split has pairs of at most `max_words` words.

    Args:
      lengths: Number of pairs by the numbers of words of both sides.
      max_words: Largest number of words of a side.
      split: Name of the split, for the message.

    Raises:
      InputError: If it has none.
    """
    if not any(max(both) <= max_words for both in lengths):
        raise InputError(
            f"no pair of the {split} split has at most {max_words} words on both sides; raise "
            "--max_words, or cut the sentences"
        )
