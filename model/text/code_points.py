"""Characters and their ids: the one place where text becomes numbers and numbers become text.

Everything is TensorFlow, so that the same code runs in the input pipeline of the training and
inside the SavedModel.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from .vocabulary import Vocabulary, character_name

PADDING = -1


class TextVocabulary(Vocabulary):
    """The characters a model knows, with what turns them into ids and ids into them."""

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        """Id of each byte value or code point; the last entry stands for all that are larger."""
        table = np.full(max(self.code_points, default=0) + 2, self.size, np.int32)
        table[list(self.code_points)] = np.arange(self.size)
        return table

    def to_code_points(self, text: tf.Tensor) -> tf.Tensor:
        """Byte values or code points of strings `[batch]`: `[batch, longest]`, `PADDING` after."""
        if self.unit == "unicode":
            codes = tf_text.UnicodeCharTokenizer().tokenize(text)
            return codes.to_tensor(PADDING, shape=[None, None])
        lengths = tf.strings.length(text)
        longest = tf.maximum(1, tf.reduce_max(tf.concat([lengths, [0]], axis=0)))
        codes = tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=longest), tf.int32)
        return tf.where(tf.sequence_mask(lengths, longest), codes, PADDING)

    def encode_code_points(self, codes: tf.Tensor) -> tf.Tensor:
        """Ids of byte values or code points; `size` where unknown; `PADDING` stays what it is."""
        positions = tf.clip_by_value(codes, 0, len(self._ids) - 1)
        return tf.where(codes < 0, PADDING, tf.gather(self._ids, positions))

    def encode(self, text: tf.Tensor) -> tf.Tensor:
        """Ids of strings `[batch]`: `[batch, longest]`, `PADDING` after the end of each."""
        return self.encode_code_points(self.to_code_points(text))

    def encode_scalar(self, text: tf.Tensor) -> tf.Tensor:
        """Ids of one string: `[characters]`."""
        if self.unit == "unicode":
            codes = tf_text.UnicodeCharTokenizer().tokenize(text)
        else:
            codes = tf.io.decode_raw(text, tf.uint8)
        return self.encode_code_points(tf.cast(codes, tf.int32))

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Strings `[batch]` of ids `[batch, characters]`; `PADDING` adds nothing."""
        return tf.strings.reduce_join(self.decode_each(ids), axis=-1)

    def decode_each(self, ids: tf.Tensor) -> tf.Tensor:
        """Each id as a string of one character; `PADDING` as an empty one."""
        if self.unit == "unicode":
            characters = [
                chr(code_point).encode("utf-8", "surrogatepass") for code_point in self.code_points
            ]
        else:
            characters = [bytes([code_point]) for code_point in self.code_points]
        table = tf.constant([*characters, b""])
        return tf.gather(table, tf.where(ids < 0, self.size, ids))

    def unknown_character(self, text: tf.Tensor) -> tf.Tensor:
        """Names the first character of the texts `[batch]` that the vocabulary lacks, in a message.

        The result, a scalar string, means nothing where the vocabulary has all characters.
        """
        codes = self.to_code_points(text)
        unknown = tf.boolean_mask(codes, self.encode_code_points(codes) == self.size)
        first = tf.concat([unknown, [0]], axis=0)[0]
        if self.unit == "unicode":
            name = tf.strings.join(
                ["'", tf.strings.unicode_encode([first], "UTF-8"), "' (code point ",
                 tf.strings.as_string(first), ")"]
            )  # fmt: skip
        else:
            codes = [character_name("bytes", value).split("\t")[0] for value in range(256)]
            name = tf.gather(tf.constant(codes), first)
        return tf.strings.join(
            ["the vocabulary lacks the character ", name, "; it has the ", str(self.size),
             " characters of assets/vocabulary.txt"]
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NormalizedTextVocabulary(TextVocabulary):
    """An vocabulary before whose ids text is transformed.

    Attributes:
      transform: what is done to texts `[batch]`, as the text of the training was.
    """

    transform: Callable[[tf.Tensor], tf.Tensor]

    def to_code_points(self, text: tf.Tensor) -> tf.Tensor:
        """As of a `TextVocabulary`, of the transformed strings."""
        return super().to_code_points(self.transform(text))
