"""Transcripts of recordings: a line per recording, with its file and what is said in it.

    digits/7_anna_0.wav <tab> seven
    digits/7_anna_1.wav <tab> seven <tab> eval

The name of a file is its path in the directory or archive, or as much of the path's end as no other
file has. The third column, the split, is in all lines or in none.
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common import files
from model.errors import InputError
from pipeline.corpora.discovery import Skipped, Source

TRANSCRIPTS = "transcripts.tsv"
"""Name of the file of a corpus in which they are looked for."""

SPLITS = ("train", "eval")

LONGEST = 1 << 16
"""Largest number of bytes of a line."""


class Transcribed(NamedTuple):
    """A recording with its transcript.

    Attributes:
      source: File of the recording.
      text: What is said.
      split: Name of the split that the transcripts put it into; empty if they name none.
    """

    source: Source
    text: str
    split: str = ""


class Transcripts(NamedTuple):
    """The recordings of a corpus.

    Attributes:
      recordings: Those that have a transcript, in the order of their names.
      skipped: Files that have none.
    """

    recordings: list[Transcribed]
    skipped: list[Skipped]


class _Line(NamedTuple):
    """A line of a file of transcripts.

    Attributes:
      place: Name of the file and number of the line, for messages.
      name: Name of a recording.
      text: What is said.
      split: Name of its split, or empty.
    """

    place: str
    name: str
    text: str
    split: str


def transcribed(sources: Sequence[Source], transcripts: Source | None = None) -> Transcripts:
    """Returns the recordings of a corpus with their transcripts.

    Args:
      sources: Plain files of the corpus.
      transcripts: File of the transcripts. Default: the one among the sources that is called
        `TRANSCRIPTS`.

    Raises:
      InputError: If there is no such file, or several, or a line of it is wrong; the message names
        the line and the remedy.
    """
    found = [one for one in sources if os.path.basename(one.name) == TRANSCRIPTS]
    if transcripts is None:
        transcripts = _only(found)
    by_name: dict[str, list[Source]] = {}
    for source in sources:
        if source not in found:
            by_name.setdefault(os.path.basename(source.name), []).append(source)
    recordings: dict[str, Transcribed] = {}
    first_split: bool | None = None
    for line in _lines(transcripts):
        source = _named(line, by_name)
        if source.name in recordings:
            raise InputError(
                f"{line.place} gives {source.name} a second transcript; leave one of them out"
            )
        first_split = bool(line.split) if first_split is None else first_split
        if bool(line.split) != first_split:
            raise InputError(
                f"{line.place} {'has' if line.split else 'lacks'} a split, unlike the lines before "
                "it; give each line one, train or eval, or none"
            )
        recordings[source.name] = Transcribed(source, line.text, line.split)
    if not recordings:
        raise InputError(
            f"{transcripts.name} is empty; give a line for each recording: its file, a tab and "
            "what is said"
        )
    others = (one for same in by_name.values() for one in same if one.name not in recordings)
    skipped = [Skipped(one.name, "without a transcript") for one in sorted(others)]
    return Transcripts([recordings[name] for name in sorted(recordings)], skipped)


def _only(found: Sequence[Source]) -> Source:
    """Returns the file of transcripts of a corpus."""
    if not found:
        raise InputError(
            f"the corpus has no {TRANSCRIPTS}; add one with a line for each recording, its file, a "
            "tab and what is said, or name such a file with --transcripts"
        )
    if len(found) > 1:
        raise InputError(
            f"the corpus has {len(found)} files of transcripts, {found[0].name} and "
            f"{found[1].name}; join them, or name one with --transcripts"
        )
    return found[0]


def _lines(transcripts: Source) -> Iterator[_Line]:
    """Yields the lines of a file that are not blank."""
    number = 0
    with files.open_file(transcripts.path, "rb") as file:
        while line := file.readline(LONGEST + 1):
            number += 1
            place = f"{transcripts.name}, line {number}"
            if len(line) > LONGEST:
                raise InputError(
                    f"{place} is longer than {LONGEST:,} bytes; give one recording in each line"
                )
            if line.strip():
                yield _parse(line, place)


def _parse(line: bytes, place: str) -> _Line:
    """Returns the parts of a line."""
    try:
        name, *columns = line.decode("utf-8-sig").rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise InputError(f"{place} is not UTF-8 ({error.reason}); convert the file") from error
    if not 1 <= len(columns) <= 2:
        raise InputError(
            f"{place} has {len(columns)} tabs; give a recording's file, a tab and what is said, "
            "and after another tab train or eval if you like"
        )
    text, split = columns[0].strip(), (columns[1].strip() if len(columns) == 2 else "")
    if not text:
        raise InputError(f"{place} does not say what is said in {name}; add it, or leave it out")
    if split not in ("", *SPLITS):
        raise InputError(f"{place} has the split {split}; give train or eval")
    return _Line(place, name.strip(), text, split)


def _named(line: _Line, by_name: dict[str, list[Source]]) -> Source:
    """Returns the file that a line names."""
    wanted = os.path.normpath(line.name)
    same = [
        one
        for one in by_name.get(os.path.basename(wanted), [])
        if one.name == wanted or one.name.endswith(f"/{wanted}")
    ]
    exact = [one for one in same if one.name == wanted]
    if len(same) == 1 or exact:
        return (exact or same)[0]
    if same:
        raise InputError(
            f"{line.place} names {line.name}, which {same[0].name} and {same[1].name} end with; "
            "give more of the path"
        )
    raise InputError(
        f"{line.place} names {line.name}, which the corpus does not have; correct the name, or "
        "leave the line out"
    )
