"""Words to ids of characters, within a graph."""

import tensorflow as tf

from .spelling import BEGIN, END, PADDING, UNKNOWN, Spelling


class SpellingTables(tf.Module):
    """A spelling in TensorFlow, for a model that is saved with it.

    >>> tables = SpellingTables(Spelling.of(["to", "be"], max_length=3))
    >>> tables.ids(tf.constant(["to", "better"])).numpy().tolist()
    [[1, 8, 7, 2, 0], [1, 5, 6, 8, 2]]

    Args:
      spelling: The spelling.
    """

    def __init__(self, spelling: Spelling):
        super().__init__()
        self._spelling = spelling
        characters = tf.constant(list(spelling.characters), tf.string)
        ids = tf.range(UNKNOWN + 1, spelling.size)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(characters, ids), UNKNOWN
        )

    def ids(self, words: tf.Tensor) -> tf.Tensor:
        """Returns the ids of words, as `Spelling.table` does.

        Args:
          words: Strings in UTF-8, `[words]`.

        Returns:
          The ids, `[words, width]`, int32, 0 after the end of each word.
        """
        characters = tf.strings.unicode_split(words, "UTF-8")[:, : self._spelling.max_length]
        known = characters.with_flat_values(self._ids.lookup(characters.flat_values))
        begin, end = (tf.fill([tf.shape(words)[0], 1], one) for one in (BEGIN, END))
        spelled = tf.concat([begin, known, end], axis=1)
        return spelled.to_tensor(PADDING, shape=[None, self._spelling.width])
