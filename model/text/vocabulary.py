"""The characters a model knows, as data: their codes, names and order.

Nothing here needs TensorFlow; `vocabulary` turns text into ids and back.
"""

import dataclasses
from collections.abc import Iterable
from typing import Self

from ..config import CharacterUnit
from ..errors import InputError


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The characters a model knows; their ids are their positions.

    Attributes:
      unit: whether a character is a byte or a Unicode code point.
      code_points: the byte values or code points, ascending.
    """

    unit: CharacterUnit
    code_points: tuple[int, ...]

    @classmethod
    def of(cls, unit: CharacterUnit, code_points: Iterable[int]) -> Self:
        """The given byte values or code points, in any order."""
        return cls(unit, tuple(sorted(set(code_points))))

    @property
    def size(self) -> int:
        """The number of characters, which is also the id of a character that is not known."""
        return len(self.code_points)

    def to_text(self) -> str:
        """The content of a vocabulary file: a character a line, in the order of the ids."""
        return "".join(
            f"{character_name(self.unit, code_point)}\n" for code_point in self.code_points
        )

    @classmethod
    def from_text(cls, text: str, path: str) -> Self:
        """What a vocabulary file holds; `path` is for the message of an error."""
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
    """A character's code and its look, as in `U+00E9<tab>é` and `0x0A<tab>\\n`."""
    look = (
        ascii(chr(code_point))[1:-1]
        if unit == "bytes" or code_point < 0x80
        else repr(chr(code_point))[1:-1]
    )
    return f"U+{code_point:04X}\t{look}" if unit == "unicode" else f"0x{code_point:02X}\t{look}"
