"""The characters of words as ids.

Nothing here needs TensorFlow.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from ..config import require_integer
from ..errors import InputError

PADDING, BEGIN, END, UNKNOWN = range(4)
"""The ids of what is no character: padding, the beginning and the end of a word, unknown ones."""

SENTENCE_END = "\n"
"""The spelling of the end of a sentence, which no word has, as words hold no white space."""

_FIRST = 4
"""The id of the first character."""


@dataclasses.dataclass(frozen=True)
class Spelling:
    """The characters that a model knows, and how words are spelled with them.

    A word is the ids `BEGIN`, those of its characters, and `END`. A word of more than `max_length`
    characters is cut: it is spelled with the first `max_length`, so that words which agree in all
    of these have one spelling.

    >>> spelling = Spelling.of(["to", "be"], max_length=3)
    >>> spelling.characters
    '\\nbeot'
    >>> spelling.ids("bet"), spelling.ids("better") == spelling.ids("bet")
    ([1, 5, 6, 8, 2], True)
    >>> spelling.table(["to", "bit"])
    array([[1, 8, 7, 2, 0],
           [1, 5, 3, 8, 2]], dtype=int32)

    Attributes:
      characters: The characters, which are distinct; the id of each is its position plus 4.
      max_length: The largest number of characters of a word that is not cut. Default 24.
    """

    characters: str
    max_length: int = 24

    def __post_init__(self) -> None:
        require_integer("max_length", self.max_length, 1)
        if len(set(self.characters)) != len(self.characters):
            twice = next(one for one in self.characters if self.characters.count(one) > 1)
            raise InputError(f"the spelling has the character {twice!r} twice; leave one out")
        ids = {character: place + _FIRST for place, character in enumerate(self.characters)}
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def of(cls, words: Iterable[str], max_length: int = 24) -> Self:
        """Returns the spelling with the characters of some words, in the order of code points.

        It has the character of `SENTENCE_END` in any case.

        Args:
          words: The words.
          max_length: The largest number of characters of a word that is not cut. Default 24.
        """
        return cls("".join(sorted({SENTENCE_END}.union(*words))), max_length)

    @property
    def size(self) -> int:
        """The number of ids: that of the characters and of what is no character."""
        return len(self.characters) + _FIRST

    @property
    def width(self) -> int:
        """The number of ids of the longest words: `max_length`, and beginning and end."""
        return self.max_length + 2

    def is_cut(self, word: str) -> bool:
        """Returns whether a word has more than `max_length` characters."""
        return len(word) > self.max_length

    def ids(self, word: str) -> list[int]:
        """Returns the ids of a word, `UNKNOWN` for characters that are not known.

        Args:
          word: The word.
        """
        known: dict[str, int] = self.__dict__["_ids"]
        return [BEGIN, *(known.get(one, UNKNOWN) for one in word[: self.max_length]), END]

    def table(self, words: Sequence[str]) -> np.ndarray:
        """Returns the ids of words, `[words, width]`, int32, 0 after the end of each.

        Args:
          words: The words.
        """
        table = np.zeros([len(words), self.width], np.int32)
        for row, word in zip(table, words, strict=True):
            ids = self.ids(word)
            row[: len(ids)] = ids
        return table
