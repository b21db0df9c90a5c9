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

from .vocabulary import Symbols, name_of

PADDING = -1


class Alphabet(Symbols):
    """The characters a model knows, with what turns them into ids and ids into them."""

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        """Id of each byte value or code point; the last entry stands for all that are larger."""
        table = np.full(max(self.symbols, default=0) + 2, self.size, np.int32)
        table[list(self.symbols)] = np.arange(self.size)
        return table

    def codes(self, text: tf.Tensor) -> tf.Tensor:
        """Byte values or code points of strings `[batch]`: `[batch, longest]`, `PADDING` after."""
        if self.kind == "unicode":
            codes = tf_text.UnicodeCharTokenizer().tokenize(text)
            return codes.to_tensor(PADDING, shape=[None, None])
        lengths = tf.strings.length(text)
        longest = tf.maximum(1, tf.reduce_max(tf.concat([lengths, [0]], axis=0)))
        codes = tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=longest), tf.int32)
        return tf.where(tf.sequence_mask(lengths, longest), codes, PADDING)

    def encode_codes(self, codes: tf.Tensor) -> tf.Tensor:
        """Ids of byte values or code points; `size` where unknown; `PADDING` stays what it is."""
        positions = tf.clip_by_value(codes, 0, len(self._ids) - 1)
        return tf.where(codes < 0, PADDING, tf.gather(self._ids, positions))

    def encode(self, text: tf.Tensor) -> tf.Tensor:
        """Ids of strings `[batch]`: `[batch, longest]`, `PADDING` after the end of each."""
        return self.encode_codes(self.codes(text))

    def encode_one(self, text: tf.Tensor) -> tf.Tensor:
        """Ids of one string: `[characters]`."""
        if self.kind == "unicode":
            codes = tf_text.UnicodeCharTokenizer().tokenize(text)
        else:
            codes = tf.io.decode_raw(text, tf.uint8)
        return self.encode_codes(tf.cast(codes, tf.int32))

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Strings `[batch]` of ids `[batch, characters]`; `PADDING` adds nothing."""
        return tf.strings.reduce_join(self.characters(ids), axis=-1)

    def characters(self, ids: tf.Tensor) -> tf.Tensor:
        """Each id as a string of one character; `PADDING` as an empty one."""
        if self.kind == "unicode":
            characters = [chr(symbol).encode("utf-8", "surrogatepass") for symbol in self.symbols]
        else:
            characters = [bytes([symbol]) for symbol in self.symbols]
        table = tf.constant([*characters, b""])
        return tf.gather(table, tf.where(ids < 0, self.size, ids))

    def unknown(self, text: tf.Tensor) -> tf.Tensor:
        """Says, as a scalar string, which is the first character of texts that the alphabet lacks.

        Texts that have only known characters are not to be asked about.
        """
        codes = self.codes(text)
        unknown = tf.boolean_mask(codes, self.encode_codes(codes) == self.size)
        first = tf.concat([unknown, [0]], axis=0)[0]
        if self.kind == "unicode":
            name = tf.strings.join(
                ["'", tf.strings.unicode_encode([first], "UTF-8"), "' (code point ",
                 tf.strings.as_string(first), ")"]
            )  # fmt: skip
        else:
            codes = [name_of("bytes", value).split("\t")[0] for value in range(256)]
            name = tf.gather(tf.constant(codes), first)
        return tf.strings.join(
            ["the vocabulary lacks the character ", name, "; it has the ", str(self.size),
             " characters of assets/vocabulary.txt"]
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TransformedAlphabet(Alphabet):
    """An alphabet before whose ids text is transformed.

    Attributes:
      transform: what is done to texts `[batch]`, as the text of the training was.
    """

    transform: Callable[[tf.Tensor], tf.Tensor]

    def codes(self, text: tf.Tensor) -> tf.Tensor:
        """As of an `Alphabet`, of the transformed strings."""
        return super().codes(self.transform(text))
