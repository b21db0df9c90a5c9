"""Sentences to ids of words and back, within a graph."""

import tensorflow as tf

from .word_vocabulary import PADDING, UNKNOWN, UNKNOWN_WORD, WordVocabulary

_SPACES = r"[\s\x{0b}\x{1c}-\x{1f}\x{85}\p{Z}]+"
"""What `str.split` takes for white space."""


class WordTables(tf.Module):
    """A vocabulary in TensorFlow, for a model that is saved with it.

    >>> tables = WordTables(WordVocabulary(("we", "come")))
    >>> tables.ids(tf.constant(["we  come", "come in"])).numpy().tolist()
    [[4, 5], [5, 3]]
    >>> tables.texts(tf.constant([[5, 3, 0], [4, 0, 0]])).numpy().tolist()
    [b'come <unk>', b'we']

    Args:
      vocabulary: The vocabulary.
    """

    def __init__(self, vocabulary: WordVocabulary):
        super().__init__()
        words = tf.constant(vocabulary.words, tf.string)
        ids = tf.range(UNKNOWN + 1, vocabulary.size)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, ids), UNKNOWN
        )
        self._words = tf.concat([tf.fill([UNKNOWN + 1], UNKNOWN_WORD), words], axis=0)

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the words of sentences, as `str.split` does.

        Args:
          texts: Strings in UTF-8, `[batch]`.

        Returns:
          Strings, `[batch, (words)]`.
        """
        return tf.strings.split(tf.strings.regex_replace(texts, _SPACES, " "))

    def ids(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the ids of the words of sentences, as `WordVocabulary.ids` does.

        Args:
          texts: Strings in UTF-8, `[batch]`.

        Returns:
          The ids, `[batch, longest]`, int32, 0 after the last word.
        """
        words = self.words(texts)
        return words.with_flat_values(self._ids.lookup(words.flat_values)).to_tensor(PADDING)

    def texts(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the sentences of ids, words between spaces, without what is padding.

        Args:
          ids: The ids of words, `[batch, words]`, 0 for padding.

        Returns:
          Strings, `[batch]`.
        """
        words = tf.ragged.boolean_mask(tf.gather(self._words, ids), ids != PADDING)
        return tf.strings.reduce_join(words, axis=1, separator=" ")
