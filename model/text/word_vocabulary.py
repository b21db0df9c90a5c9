"""The words of a language as ids: a vocabulary, and the ids that stand for no word.

Nothing here needs TensorFlow; `word_tables` turns sentences into ids and back within a graph.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Self

from ..errors import InputError

PADDING, BEGIN, END, UNKNOWN = range(4)
"""The ids of what is no word: padding, the beginning and the end of a sentence, unknown words."""

UNKNOWN_WORD = "<unk>"
"""The word that stands in a text for one that the vocabulary lacks."""

_FIRST = 4
"""The id of the first word."""


@dataclasses.dataclass(frozen=True)
class WordVocabulary:
    """The words that a model knows; the id of a word is its position plus 4.

    >>> vocabulary = WordVocabulary.of(["to be or not to be"], least_count=2)
    >>> vocabulary.words
    ('be', 'to')
    >>> vocabulary.ids("to be sure")
    [5, 4, 3]
    >>> vocabulary.text([5, 4, 3, 2, 0])
    'to be <unk>'

    Attributes:
      words: The words, which are distinct and hold no white space.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        positions = {word: place for place, word in enumerate(self.words)}
        for place, word in enumerate(self.words):
            if positions[word] != place:
                raise InputError(f"the vocabulary has the word {word!r} twice; leave one out")
            if word.split() != [word]:
                raise InputError(
                    f"the vocabulary has {word!r}, which is not one word; split it at white space"
                )
        object.__setattr__(
            self, "_ids", {word: place + _FIRST for word, place in positions.items()}
        )

    @classmethod
    def of(
        cls, sentences: Iterable[str], least_count: int = 1, max_size: int | None = None
    ) -> Self:
        """Returns the vocabulary of some sentences, its words from the most frequent to the least.

        Args:
          sentences: The sentences, of words between spaces.
          least_count: The smallest number of occurrences of a word. Default 1.
          max_size: The largest number of ids, for which the rarest words are left out; None (the
            default) for any.
        """
        counts = Counter(word for sentence in sentences for word in sentence.split())
        known = [word for word, count in counts.items() if count >= least_count]
        known.sort(key=lambda word: (-counts[word], word))
        return cls(tuple(known if max_size is None else known[: max(max_size - _FIRST, 0)]))

    @property
    def size(self) -> int:
        """The number of ids: that of the words and of what is no word."""
        return len(self.words) + _FIRST

    def ids(self, sentence: str) -> list[int]:
        """Returns the ids of the words of a sentence, `UNKNOWN` for those that are not known.

        Args:
          sentence: The words between spaces.
        """
        known: dict[str, int] = self.__dict__["_ids"]
        return [known.get(word, UNKNOWN) for word in sentence.split()]

    def text(self, ids: Iterable[int]) -> str:
        """Returns the sentence of some ids, up to the first `END` or `PADDING`.

        Args:
          ids: The ids of its words.
        """
        words = []
        for one in ids:
            if one in (PADDING, END):
                break
            words.append(UNKNOWN_WORD if one < _FIRST else self.words[one - _FIRST])
        return " ".join(words)

    def to_text(self) -> str:
        """Returns the content of a vocabulary file: a word per line, in the order of ids."""
        return "".join(f"{word}\n" for word in self.words)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parses the content of a vocabulary file.

        Args:
          text: The content.

        Raises:
          InputError: If a line is no word, or a word is there twice.
        """
        return cls(tuple(text.split("\n")[:-1]))
