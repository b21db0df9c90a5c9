"""Scores of whole files, of any length, as one text or line by line."""

import itertools
import math
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from common.errors import UserError
from serving.client.client import Client
from serving.limits import MAX_LENGTH

CONTEXT = 2000
"""Bytes of the text before a piece that the model reads first, as it keeps nothing in between."""
ROWS = 16
"""Texts per request."""
BLOCK = 1 << 20

T = TypeVar("T")


class BulkScore(NamedTuple):
    """The score of a file or of a line.

    Attributes:
      source: Path of the file, or "-" for standard input.
      line: Number of the line, counted from 1; None for the whole file.
      characters: Number of characters.
      bits_per_character: Mean of -log2 p over the characters; NaN if there are none.
    """

    source: str
    line: int | None
    characters: int
    bits_per_character: float


def score_files(client: Client, paths: Iterable[str], by_line: bool) -> Iterator[BulkScore]:
    """Yields the scores of files.

    A text longer than a request may hold, be it a file or a line, is scored in pieces, each after
    the `CONTEXT` bytes before it, so that all but the first few characters of a piece have nearly
    the probability that they have in the whole text.

    Args:
      client: Client of the model.
      paths: Paths of files, or "-" for standard input.
      by_line: Whether each line is a text of its own, without its line feed.

    Raises:
      UserError: If a file cannot be read, or the server answers with an error.
    """
    for path in paths:
        if by_line:
            yield from _score_lines(client, path)
        else:
            yield _score_text(client, path, None, _blocks(path))


def _score_lines(client: Client, path: str) -> Iterator[BulkScore]:
    """Yields the scores of the lines of a file, of short ones several with a request."""
    lines = ((n, line.rstrip(b"\r\n")) for n, line in enumerate(_lines(path), 1))
    for is_long, group in itertools.groupby(lines, lambda line: len(line[1]) > MAX_LENGTH):
        if is_long:
            for number, line in group:
                yield _score_text(client, path, number, [line])
            continue
        for batch in _batches(group):
            scores = client.score([line for _, line in batch])
            for (number, _), score in zip(batch, scores, strict=True):
                found = score.log_probabilities
                yield _bulk_score(path, number, len(found), float(found.sum()))


def _score_text(client: Client, path: str, line: int | None, blocks: Iterable[bytes]) -> BulkScore:
    """Returns the score of a text of any length, which is given in blocks."""
    characters, nats = 0, 0.0
    for pieces in _batches(_pieces(blocks)):
        # The contexts alone say how many characters of each score belong to them.
        contexts = client.score([context for context, _ in pieces])
        scores = client.score([context + new for context, new in pieces])
        for context, score in zip(contexts, scores, strict=True):
            found = score.log_probabilities[len(context.log_probabilities) :]
            characters += len(found)
            nats += float(np.sum(found, dtype=np.float64))
    return _bulk_score(path, line, characters, nats)


def _bulk_score(source: str, line: int | None, characters: int, nats: float) -> BulkScore:
    bits = -nats / math.log(2) / characters if characters else math.nan
    return BulkScore(source, line, characters, bits)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yields items in lists of at most ROWS."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, ROWS)):
        yield batch


def _blocks(path: str) -> Iterator[bytes]:
    """Yields the content of a file."""
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; give a file, - for standard input, or a "
            "text with --text"
        ) from error


def _lines(path: str) -> Iterator[bytes]:
    parts: list[bytes] = []
    for block in _blocks(path):
        first, *others = block.split(b"\n")
        parts.append(first)
        for line in others:
            yield b"".join(parts)
            parts = [line]
    if any(parts):
        yield b"".join(parts)


def _pieces(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the pieces of a text, each with the text before it, cut between code points."""
    size = MAX_LENGTH - CONTEXT - 4  # a cut moves by at most three bytes
    context, rest = b"", b""
    for block in itertools.chain(blocks, [b""]):
        rest += block
        while len(rest) > size or (rest and not block):
            end = _boundary(rest, min(size, len(rest)))
            yield context, rest[:end]
            context = (context + rest[:end])[-CONTEXT:]
            context = context[_boundary(context, 0) :]
            rest = rest[end:]


def _boundary(text: bytes, position: int) -> int:
    """Returns the position, or up to three bytes later, where a code point begins."""
    for moved in range(4):
        if position + moved >= len(text) or text[position + moved] & 0xC0 != 0x80:
            return min(position + moved, len(text))
    return position
