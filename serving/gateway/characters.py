"""What a token is: a character of the model, which is a byte or a Unicode code point.

The id of a token is the value of the byte or of the code point. The position of a character in the
vocabulary, by which the model itself numbers it, never leaves the server.
"""

from collections.abc import Iterable, Sequence

from model.config import CharacterUnit

_MAX_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def encode(text: str) -> bytes:
    """Returns a string as a model server takes it, in UTF-8.

    Args:
      text: The string.

    Raises:
      ValueError: If it holds a lone surrogate, for which UTF-8 has no bytes.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the character at {error.start} is a lone surrogate; give bytes that are no UTF-8 as "
            "a list of tokens"
        ) from error


def from_tokens(tokens: Iterable[int], unit: CharacterUnit) -> bytes:
    """Returns the text of some tokens.

    >>> from_tokens([0x61, 0xE9], "unicode").decode()
    'aé'

    Args:
      tokens: Ids of the tokens.
      unit: What a character is.

    Raises:
      ValueError: If a number is no token.
    """
    if unit == "bytes":
        numbers = list(tokens)
        for number in numbers:
            if not 0 <= number <= 255:
                raise ValueError(
                    f"{str(number)[:20]} is no token; this model's tokens are bytes, from 0 to 255"
                )
        return bytes(numbers)
    characters = []
    for number in tokens:
        if not 0 <= number <= _MAX_CODE_POINT or number in _SURROGATES:
            raise ValueError(
                f"{str(number)[:20]} is no token; this model's tokens are Unicode code points"
            )
        characters.append(chr(number))
    return "".join(characters).encode()


def length(text: bytes, unit: CharacterUnit) -> int:
    """Returns the number of characters of a text.

    >>> length("aé".encode(), "unicode")
    2

    Args:
      text: The text; UTF-8 where the unit is "unicode".
      unit: What a character is.
    """
    return len(text) if unit == "bytes" else len(text.decode("utf-8", "replace"))


def split(text: bytes, unit: CharacterUnit) -> list[bytes]:
    """Returns the characters of a text, each as bytes.

    >>> split("aé".encode(), "bytes")
    [b'a', b'\\xc3', b'\\xa9']

    Args:
      text: The text; UTF-8 where the unit is "unicode".
      unit: What a character is.
    """
    if unit == "bytes":
        return [bytes([byte]) for byte in text]
    return [character.encode() for character in text.decode("utf-8", "replace")]


def to_tokens(text: bytes, unit: CharacterUnit) -> list[int]:
    """Returns the ids of the tokens of a text; `from_tokens` returns the text."""
    return list(text) if unit == "bytes" else [ord(one) for one in text.decode("utf-8", "replace")]


def unit_of_answer(text: bytes, count: int) -> CharacterUnit | None:
    """Returns what a character is, given how many of them a model finds in a text.

    Args:
      text: A text with a character beyond ASCII.
      count: Number of its characters.

    Returns:
      The unit; None if neither fits.
    """
    units: Sequence[CharacterUnit] = ("bytes", "unicode")
    return next((unit for unit in units if len(split(text, unit)) == count), None)


def shown(character: bytes) -> str:
    """Returns a token as an answer shows it; bytes that are no UTF-8 as the OpenAI API has them.

    >>> shown(b"\\xc3")
    'bytes:\\\\xc3'
    """
    try:
        return character.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in character)
