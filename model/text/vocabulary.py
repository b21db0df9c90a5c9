"""The characters a model knows, as data: their codes, names and order.

Nothing here needs TensorFlow; `alphabet` turns text into ids and back.
"""

import dataclasses
from collections.abc import Iterable
from typing import Self

from ..config import AlphabetKind
from ..errors import InputError


@dataclasses.dataclass(frozen=True)
class Symbols:
    """The characters a model knows; their ids are their positions.

    Attributes:
      kind: whether a character is a byte or a Unicode code point.
      symbols: the byte values or code points, ascending.
    """

    kind: AlphabetKind
    symbols: tuple[int, ...]

    @classmethod
    def of(cls, kind: AlphabetKind, symbols: Iterable[int]) -> Self:
        """The given byte values or code points, in any order."""
        return cls(kind, tuple(sorted(set(symbols))))

    @property
    def size(self) -> int:
        """The number of characters, which is also the id of a character that is not known."""
        return len(self.symbols)

    def to_text(self) -> str:
        """The content of a vocabulary file: a character a line, in the order of the ids."""
        return "".join(f"{name_of(self.kind, symbol)}\n" for symbol in self.symbols)

    @classmethod
    def from_text(cls, text: str, path: str) -> Self:
        """What a vocabulary file holds; `path` is for the message of an error."""
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
