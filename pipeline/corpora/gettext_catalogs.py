"""Compiled catalogs of GNU gettext (`.mo`) as lines of a message, a tab and its translation.

Format: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html
"""

import array
import email.parser
import io
import sys
from collections.abc import Iterator
from typing import IO, Literal

from model.errors import InputError

MAX_BYTES = 1 << 28
"""Largest size of a catalog, which is read as a whole."""

_TABLES = 8  # bytes before the number of messages and the places of the two tables
_CONTEXT = b"\x04"  # stands between the context of a message and itself
_PLACEHOLDER = "charset"  # in a header that nobody has filled in
_PLURAL = "\0"  # stands between the forms of a message


def tab_separated(catalog: IO[bytes], label: str) -> IO[bytes]:
    """Returns the messages of a catalog as text in UTF-8, a pair of sentences in each line.

    White space within a message, line ends among it, becomes a space. Of a message with plural
    forms the singular and the plural are two pairs, the plural with the last of its translations.
    The header and messages without a translation are left out.

    Args:
      catalog: The compiled catalog.
      label: Its name in messages.

    Raises:
      InputError: If the catalog is larger than `MAX_BYTES`, or its encoding unknown.
      ValueError: If the catalog is damaged.
    """
    content = catalog.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{label} is larger than the {MAX_BYTES:,} bytes of a gettext catalog; leave it out"
        )
    lines = io.BytesIO()
    charset = "utf-8"
    for number, (message, translation) in enumerate(_messages(content)):
        if not message:
            charset = charset if number else _charset(translation, label)
            continue
        text = message.rpartition(_CONTEXT)[2]
        for pair in _forms(text.decode(charset), translation.decode(charset)):
            sides = [" ".join(side.split()) for side in pair]
            if all(sides):
                lines.write("\t".join(sides).encode() + b"\n")
    lines.seek(0)
    return lines


def _messages(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the messages and their translations, of which the header is the first.

    Raises:
      ValueError: If they lie outside of the file, or with their tables are longer than it: a small
        file whose messages or tables overlap could otherwise hold any number of them.
    """
    order: Literal["little", "big"] = "little" if content.startswith(b"\xde") else "big"
    number, *places = (
        int.from_bytes(content[at : at + 4], order) for at in range(_TABLES, _TABLES + 12, 4)
    )
    tables = [_table(content, place, number, order) for place in places]
    size = sum(sum(table[::2]) + len(table) * table.itemsize for table in tables)
    if size > len(content):
        raise ValueError("its messages lie outside of it")
    for entry in range(0, 2 * number, 2):
        spans = [(table[entry + 1], sum(table[entry : entry + 2])) for table in tables]
        if max(end for _, end in spans) > len(content):
            raise ValueError("its messages lie outside of it")
        message, translation = (content[begin:end] for begin, end in spans)
        yield message, translation


def _table(
    content: bytes, place: int, number: int, order: Literal["little", "big"]
) -> "array.array[int]":
    """Returns a table of texts, the length and the place of each by turns."""
    size = 8 * number
    if place + size > len(content):
        raise ValueError("its tables of messages lie outside of it")
    table = array.array("I", content[place : place + size])
    if order != sys.byteorder:
        table.byteswap()
    return table


def _charset(header: bytes, label: str) -> str:
    """Returns the name of the encoding that a header declares. Default: UTF-8."""
    declared = email.parser.BytesHeaderParser().parsebytes(header).get_content_charset()
    if declared in (None, _PLACEHOLDER):
        return "utf-8"
    try:
        b" ".decode(str(declared))  # an empty one is not looked up
    except LookupError as error:
        raise InputError(
            f"{label} is in the encoding {declared}, which is unknown; convert it with "
            "`msgunfmt old.mo | msgconv -t UTF-8 | msgfmt -o new.mo -`"
        ) from error
    return str(declared)


def _forms(message: str, translation: str) -> list[tuple[str, str]]:
    """Returns the pairs of a message: one, or that of the singular and that of the plural."""
    forms, translated = message.split(_PLURAL), translation.split(_PLURAL)
    if len(forms) == 1:
        return [(message, translated[0])]
    return [(forms[0], translated[0]), (forms[-1], translated[-1])]
