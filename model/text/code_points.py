"""Text to ids and ids to text, in TensorFlow.

The same code runs in the input pipeline of the training and inside the SavedModel.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import tensorflow as tf

from ..errors import InputError
from .vocabulary import PADDING, Vocabulary, character_name


class TextVocabulary(Vocabulary):
    """A vocabulary that encodes texts as ids and decodes ids as texts.

    >>> vocabulary = TextVocabulary.of("bytes", b"abc")
    >>> vocabulary.encode(tf.constant(["cab", "b"])).numpy().tolist()
    [[2, 0, 1], [1, -1, -1]]
    """

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        """The id of each byte value or code point; the last entry stands for all larger ones."""
        table = np.full(max(self.code_points, default=0) + 2, self.size, np.int32)
        table[list(self.code_points)] = np.arange(self.size)
        return table

    def to_code_points(self, text: tf.Tensor) -> tf.Tensor:
        """Returns the byte values or code points of strings.

        Args:
          text: The strings, `[batch]`.

        Returns:
          `[batch, longest]`, int32, `PADDING` after the end of each; `longest` is at least 1.
        """
        if self.unit == "unicode":
            codes = _tensorflow_text().UnicodeCharTokenizer().tokenize(text)
            codes = codes.to_tensor(PADDING, shape=[None, None])
            # At least one column, as below: products and stacks of no steps have no shape.
            missing = tf.cast(tf.shape(codes)[1] == 0, tf.int32)
            return tf.pad(codes, [[0, 0], [0, missing]], constant_values=PADDING)
        lengths = tf.strings.length(text)
        longest = tf.maximum(1, tf.reduce_max(tf.concat([lengths, [0]], axis=0)))
        codes = tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=longest), tf.int32)
        return tf.where(tf.sequence_mask(lengths, longest), codes, PADDING)

    def encode_code_points(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the ids of byte values or code points; `size` where unknown; `PADDING` stays."""
        positions = tf.clip_by_value(codes, 0, len(self._ids) - 1)
        return tf.where(codes < 0, PADDING, tf.gather(self._ids, positions))

    def encode(self, text: tf.Tensor) -> tf.Tensor:
        """Encodes strings `[batch]` as ids `[batch, longest]`, `PADDING` after the end of each."""
        return self.encode_code_points(self.to_code_points(text))

    def encode_scalar(self, text: tf.Tensor) -> tf.Tensor:
        """Encodes one string as ids `[characters]`."""
        if self.unit == "unicode":
            codes = _tensorflow_text().UnicodeCharTokenizer().tokenize(text)
        else:
            codes = tf.io.decode_raw(text, tf.uint8)
        return self.encode_code_points(tf.cast(codes, tf.int32))

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Decodes ids `[batch, characters]` as strings `[batch]`; `PADDING` adds nothing."""
        return tf.strings.reduce_join(self.decode_each(ids), axis=-1)

    def decode_each(self, ids: tf.Tensor) -> tf.Tensor:
        """Decodes each id as a string of one character; `PADDING` as an empty one."""
        if self.unit == "unicode":
            characters = [chr(one).encode("utf-8", "surrogatepass") for one in self.code_points]
        else:
            characters = [bytes([one]) for one in self.code_points]
        table = tf.constant([*characters, b""])
        return tf.gather(table, tf.where(ids < 0, self.size, ids))

    def unknown_character(self, text: tf.Tensor) -> tf.Tensor:
        """Names the first character of texts that the vocabulary lacks, in a message.

        Args:
          text: The strings, `[batch]`, at least one of which has an unknown character.

        Returns:
          The message, a scalar string.
        """
        codes = self.to_code_points(text)
        unknown = tf.boolean_mask(codes, self.encode_code_points(codes) == self.size)
        first = tf.concat([unknown, [0]], axis=0)[0]
        if self.unit == "unicode":
            name = tf.strings.join(
                [tf.strings.unicode_encode([first], "UTF-8"), " (U+", _hexadecimal(first), ")"]
            )
        else:
            codes = [character_name("bytes", value).split("\t")[0] for value in range(256)]
            name = tf.gather(tf.constant(codes), first)
        before, after = self.unknown_message("\0").split("\0")
        return tf.strings.join([before, name, after])


@dataclasses.dataclass(frozen=True)
class NormalizedTextVocabulary(TextVocabulary):
    """A vocabulary of normalised text: texts are normalised before they are encoded.

    Attributes:
      transform: The function that normalises texts `[batch]`, as in training.
    """

    transform: Callable[[tf.Tensor], tf.Tensor]

    def to_code_points(self, text: tf.Tensor) -> tf.Tensor:
        """Returns the code points of the normalised strings; see `TextVocabulary`."""
        return super().to_code_points(self.transform(text))


def _hexadecimal(code_point: tf.Tensor) -> tf.Tensor:
    """Returns the digits of a code point, at least four of them, as Unicode writes it."""
    places = tf.constant([16**place for place in range(5, -1, -1)])
    digits = tf.gather(tf.constant(list("0123456789ABCDEF")), code_point // places % 16)
    return tf.strings.regex_replace(tf.strings.reduce_join(digits), "^0{0,2}", "")


def _tensorflow_text() -> ModuleType:
    """Imports tensorflow-text, which only vocabularies of code points need."""
    try:
        import tensorflow_text
    except ImportError as error:
        raise InputError(
            "a vocabulary of code points needs tensorflow-text; install grid-lstm[text]"
        ) from error
    return tensorflow_text
