"""Finds stop strings in a text that comes character by character."""

from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """One character of a text.

    Attributes:
      character: The character, as bytes.
      log_probability: ln p of it under the model itself; NaN where nobody asked.
      alternatives: The likeliest characters in its place with their ln p, the likeliest first.
    """

    character: bytes
    log_probability: float
    alternatives: Sequence[tuple[bytes, float]] = ()


class StopFilter:
    """Passes on the tokens of a text up to the first stop string, which it leaves out.

    Tokens that may turn out to be the beginning of a stop string wait until that is known. Each
    string is searched for as by Knuth, Morris and Pratt ("Fast pattern matching in strings", 1977),
    so that a token takes the same time whatever the strings. Where two strings end with the same
    token, the longer one counts.

    Attributes:
      has_stopped: Whether a stop string was found.
      read: Number of tokens read, those of a stop string that was found included.
    """

    def __init__(self, stops: Sequence[bytes]):
        """Begins a text.

        Args:
          stops: Stop strings, none of which is empty.
        """
        self._patterns = [_Pattern(stop) for stop in stops]
        self._waiting: list[Token] = []
        self.has_stopped = False
        self.read = 0

    def feed(self, tokens: Sequence[Token]) -> list[Token]:
        """Returns the tokens that are known to come before any stop string.

        Args:
          tokens: The next tokens; those after a stop string are left out.
        """
        released: list[Token] = []
        for token in tokens:
            if self.has_stopped:
                break
            self.read += 1
            self._waiting.append(token)
            found = 0
            for pattern in self._patterns:
                if pattern.advance(token.character):
                    found = max(found, len(pattern.text))
            if found:
                self.has_stopped = True
                released += self._take_all_but(found)
                self._waiting.clear()
            else:
                longest = max((pattern.matched for pattern in self._patterns), default=0)
                released += self._take_all_but(longest)
        return released

    def finish(self) -> list[Token]:
        """Returns the tokens that still wait at the end of the text."""
        rest, self._waiting = self._waiting, []
        return rest

    def _take_all_but(self, count: int) -> list[Token]:
        """Returns the waiting tokens but for those that hold the last bytes, a number of them."""
        kept = 0
        position = len(self._waiting)
        while kept < count:
            position -= 1
            kept += len(self._waiting[position].character)
        taken, self._waiting = self._waiting[:position], self._waiting[position:]
        return taken


class _Pattern:
    """A string that is searched for.

    Attributes:
      text: The string.
      matched: Length of the longest beginning of it with which the text so far ends.
    """

    def __init__(self, text: bytes):
        self.text = text
        self.matched = 0
        # At n: length of the longest border of the first n bytes.
        self._borders = [0, 0]
        for byte in text[1:]:
            self._borders.append(self._next(self._borders[-1], byte))

    def _next(self, matched: int, byte: int) -> int:
        while matched and (matched == len(self.text) or self.text[matched] != byte):
            matched = self._borders[matched]
        return matched + (self.text[matched] == byte)

    def advance(self, character: bytes) -> bool:
        """Returns whether the text ends with the string after one more character."""
        for byte in character:
            self.matched = self._next(self.matched, byte)
        return self.matched == len(self.text)
