"""The vocabulary of a character model as data: code points, their names and their order.

Nothing here needs TensorFlow; `code_points` turns text into ids and back.
"""

import dataclasses
from collections.abc import Iterable
from typing import Self

from ..config import CharacterUnit
from ..errors import InputError

PADDING = -1
"""The id that stands for no character, after the end of a text in a batch."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The characters that a model knows; their ids are their positions.

    >>> Vocabulary.of("unicode", map(ord, "abc")).size
    3

    Attributes:
      unit: What a character is: a byte or a Unicode code point.
      code_points: The byte values or code points, ascending.
    """

    unit: CharacterUnit
    code_points: tuple[int, ...]

    @classmethod
    def of(cls, unit: CharacterUnit, code_points: Iterable[int]) -> Self:
        """Returns the vocabulary of byte values or code points in any order."""
        return cls(unit, tuple(sorted(set(code_points))))

    @property
    def size(self) -> int:
        """The number of characters, which is also the id of a character that is not known."""
        return len(self.code_points)

    def to_text(self) -> str:
        """Returns the content of a vocabulary file: a character per line, in the order of ids."""
        return "".join(f"{character_name(self.unit, one)}\n" for one in self.code_points)

    def unknown_message(self, name: str) -> str:
        """Returns the message that refuses a text with an unknown character of this name."""
        return (
            f"the vocabulary lacks the character {name}; it has the {self.size} characters of "
            "assets/vocabulary.txt"
        )

    def require_known(self, text: str) -> None:
        """Checks that every character of a text is known.

        >>> try:
        ...     Vocabulary.of("unicode", map(ord, "abc")).require_known("abé")
        ... except InputError as error:
        ...     print(str(error).partition(";")[0])
        the vocabulary lacks the character é (U+00E9)

        Args:
          text: The text; lone surrogates stand for bytes that are not UTF-8.

        Raises:
          InputError: If one is not, naming the first.
        """
        codes = text.encode("utf-8", "surrogateescape") if self.unit == "bytes" else map(ord, text)
        for code in codes:
            if code not in self.code_points:
                name = f"0x{code:02X}" if self.unit == "bytes" else f"{chr(code)} (U+{code:04X})"
                raise InputError(self.unknown_message(name))

    @classmethod
    def from_text(cls, text: str, path: str) -> Self:
        """Parses the content of a vocabulary file.

        Args:
          text: The content.
          path: The path of the file, for the message of an error.

        Raises:
          InputError: If a line does not begin with a code.
        """
        codes = [line.split("\t")[0] for line in text.split("\n") if line]
        unit: CharacterUnit = "unicode" if codes and codes[0].startswith("U+") else "bytes"
        try:
            code_points = tuple(int(code[2:], 16) for code in codes)
        except ValueError as error:
            raise InputError(
                f"{path} is not a vocabulary file ({error}); run schema_gen again"
            ) from error
        return cls(unit, code_points)


def character_name(unit: CharacterUnit, code_point: int) -> str:
    """Returns the code of a character and its look, `U+00E9<tab>é` or `0x0A<tab>\\n`.

    >>> character_name("bytes", 97)
    '0x61\\ta'
    """
    escaped = unit == "bytes" or code_point < 0x80
    look = (ascii if escaped else repr)(chr(code_point))[1:-1]
    code = f"U+{code_point:04X}" if unit == "unicode" else f"0x{code_point:02X}"
    return f"{code}\t{look}"
