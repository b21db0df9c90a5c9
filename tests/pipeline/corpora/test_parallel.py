"""Parallel text in two files becomes one with both sides in each line."""

import pytest

from model.errors import InputError
from pipeline.corpora.discovery import Source
from pipeline.corpora.parallel import LONGEST, joined


def source(path, content):
    path.write_bytes(content)
    return Source(path.name, str(path), len(content))


def test_lines_are_joined_by_tabs(tmp_path):
    first = source(tmp_path / "a.fr", "un\r\n\ndeux é".encode())
    second = source(tmp_path / "a.en", b"one\ntwo\nthree\n")
    (whole,) = joined([first], [second], str(tmp_path / "joined"))
    with open(whole.path, "rb") as file:
        content = file.read()
    assert content == "un\tone\n\ttwo\ndeux é\tthree\n".encode()
    assert whole.size == len(content) and whole.name == "a.fr"


@pytest.mark.parametrize(
    "first,second,message",
    [
        (b"a\nb\n", b"x\n", r"a.fr, line 2: .*a.en has no such line"),
        (b"a\n", b"x\ny\n", r"a.en, line 2: .*a.fr has no such line"),
        (b"a\tb\n", b"x\n", r"a.fr, line 1 has a tab; .* without --translations"),
        (b"a\n", b"x" * (LONGEST + 1), r"a.en, line 1 is longer than 65,536 bytes"),
    ],
)
def test_what_is_no_translation_is_named(tmp_path, first, second, message):
    files = [source(tmp_path / "a.fr", first)], [source(tmp_path / "a.en", second)]
    with pytest.raises(InputError, match=message):
        joined(*files, str(tmp_path / "joined"))


def test_files_are_as_many_on_both_sides(tmp_path):
    one = source(tmp_path / "a", b"a\n")
    with pytest.raises(InputError, match="the corpus has 2 files and the translations 1"):
        joined([one, one], [one], str(tmp_path / "joined"))
