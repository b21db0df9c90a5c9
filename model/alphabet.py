"""Characters and their ids: the one place where text becomes numbers and numbers become text.

Everything is TensorFlow, so that the same code runs in the input pipeline of the training and
inside the SavedModel.
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from model.config import AlphabetKind
from model.errors import InputError

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """The characters a model knows; their ids are their positions.

    Attributes:
      kind: whether a character is a byte or a Unicode code point.
      symbols: the byte values or code points, ascending.
    """

    kind: AlphabetKind
    symbols: tuple[int, ...]

    @classmethod
    def of(cls, kind: AlphabetKind, symbols: Iterable[int]) -> "Alphabet":
        """The alphabet of the given byte values or code points, in any order."""
        return cls(kind, tuple(sorted(set(symbols))))

    @property
    def size(self) -> int:
        """The number of characters, which is also the id of a character that is not known."""
        return len(self.symbols)

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

    def to_text(self) -> str:
        """The content of a vocabulary file: a character a line, in the order of the ids."""
        return "".join(f"{name_of(self.kind, symbol)}\n" for symbol in self.symbols)

    @classmethod
    def from_text(cls, text: str, path: str) -> "Alphabet":
        """The alphabet that a vocabulary file holds; `path` is for the message of an error."""
        codes = [line.split("\t")[0] for line in text.split("\n") if line]
        kind: AlphabetKind = "unicode" if codes and codes[0].startswith("U+") else "bytes"
        try:
            symbols = tuple(int(code[2:], 16) for code in codes)
        except ValueError as error:
            raise InputError(
                f"{path} is not a vocabulary file ({error}); run schema_gen again"
            ) from error
        return cls(kind, symbols)


def name_of(kind: AlphabetKind, symbol: int) -> str:
    """A character's code and its look, as in `U+00E9<tab>é` and `0x0A<tab>\\n`."""
    look = ascii(chr(symbol))[1:-1] if kind == "bytes" or symbol < 0x80 else repr(chr(symbol))[1:-1]
    return f"U+{symbol:04X}\t{look}" if kind == "unicode" else f"0x{symbol:02X}\t{look}"
