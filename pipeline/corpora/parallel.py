"""Parallel text in two files, line by line, as one file with both sides in each line."""

import os
import uuid
from collections.abc import Sequence

from common import files
from model.errors import InputError
from pipeline.corpora.discovery import Source

LONGEST = 1 << 16
"""Largest number of bytes of a line."""


def joined(sources: Sequence[Source], targets: Sequence[Source], directory: str) -> list[Source]:
    """Writes files whose lines are a sentence, a tab, and its translation.

    Args:
      sources: Plain files of sentences.
      targets: As many plain files, whose line n is the translation of line n of the former.
      directory: Directory of the files, made if necessary.

    Raises:
      InputError: If the files differ in number, or a pair of them in the number of lines, or a line
        is too long or has a tab.
    """
    if len(sources) != len(targets):
        raise InputError(
            f"the corpus has {len(sources)} files and the translations {len(targets)}; give as "
            "many, in the same order"
        )
    files.makedirs(directory)
    return [_join(*pair, directory) for pair in zip(sources, targets, strict=True)]


def _join(source: Source, target: Source, directory: str) -> Source:
    """Writes one file; see `joined`."""
    path, size = os.path.join(directory, uuid.uuid4().hex), 0
    with (
        files.open_file(source.path, "rb") as first,
        files.open_file(target.path, "rb") as second,
        files.open_file(path, "wb") as written,
    ):
        number = 0
        while True:
            number += 1
            lines = [
                _line(file.readline(LONGEST + 1), one.path, number)
                for file, one in ((first, source), (second, target))
            ]
            if None in lines:
                break
            size += written.write(b"\t".join(one for one in lines if one is not None) + b"\n")
    if lines != [None, None]:
        longer, shorter = (target, source) if lines[0] is None else (source, target)
        raise InputError(
            f"{longer.path}, line {number}: {shorter.path} has no such line, and so no translation "
            "of it; give files with as many lines"
        )
    return Source(source.name, path, size)


def _line(line: bytes, path: str, number: int) -> bytes | None:
    """Returns a line without its end; None after the last one."""
    if not line:
        return None
    if len(line) > LONGEST:
        raise InputError(
            f"{path}, line {number} is longer than {LONGEST:,} bytes, which no sentence is; give a "
            "sentence in each line"
        )
    line = line.rstrip(b"\r\n")
    if b"\t" in line:
        raise InputError(
            f"{path}, line {number} has a tab; where lines hold both sides give the file as the "
            "corpus, without --translations"
        )
    return line
