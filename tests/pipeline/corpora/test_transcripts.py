"""Transcripts: which recording each line belongs to, and what is wrong with a line."""

import pytest

from model.errors import InputError
from pipeline.corpora.discovery import Source
from pipeline.corpora.transcripts import transcribed


def sources_of(*names):
    return [Source(name, f"/somewhere/{name}", 100) for name in names]


def transcripts_of(tmp_path, content):
    path = tmp_path / "transcripts.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source("transcripts.tsv", str(path), path.stat().st_size)


def test_recordings_are_found_by_as_much_of_their_path_as_is_needed(tmp_path):
    sources = sources_of("a/1.wav", "b/1.wav", "b/2.wav", "zip.zip/c/3.wav", "b/notes.txt")
    content = "\ufeffb/1.wav\tone \r\n\n2.wav\tzwei\nc/3.wav\tthree\n"
    found = transcribed(sources, transcripts_of(tmp_path, content))
    assert [(one.source.name, one.text, one.split) for one in found.recordings] == [
        ("b/1.wav", "one", ""),
        ("b/2.wav", "zwei", ""),
        ("zip.zip/c/3.wav", "three", ""),
    ]
    assert [one.path for one in found.skipped] == ["a/1.wav", "b/notes.txt"]


def test_the_file_of_the_corpus_is_taken_unless_another_is_named(tmp_path):
    own = transcripts_of(tmp_path, "1.wav\tone\teval\n2.wav\ttwo\ttrain\n")
    found = transcribed([*sources_of("1.wav", "2.wav"), own])
    assert [one.split for one in found.recordings] == ["eval", "train"]
    assert found.skipped == []


@pytest.mark.parametrize(
    "content,message",
    [
        ("", "transcripts.tsv is empty; give a line for each recording"),
        ("1.wav\n", "line 1 has 0 tabs; give a recording's file, a tab and what is said"),
        ("1.wav\ta\ttrain\tb\n", "line 1 has 3 tabs"),
        ("1.wav\t \n", "line 1 does not say what is said in 1.wav"),
        ("1.wav\ta\n1.wav\tb\n", "line 2 gives 1.wav a second transcript"),
        ("1.wav\ta\tdev\n", "line 1 has the split dev; give train or eval"),
        ("1.wav\ta\teval\n2.wav\tb\n", "line 2 lacks a split, unlike the lines before it"),
        ("3.wav\ta\n", "line 1 names 3.wav, which the corpus does not have"),
        ("4.wav\ta\n", "names 4.wav, which x/4.wav and y/4.wav end with; give more of the path"),
        (b"1.wav\t\xe9\n", "line 1 is not UTF-8"),
        ("1.wav\t" + "a" * 70_000, "line 1 is longer than 65,536 bytes"),
    ],
)
def test_wrong_lines_are_named(tmp_path, content, message):
    sources = sources_of("1.wav", "2.wav", "x/4.wav", "y/4.wav")
    with pytest.raises(InputError, match=message):
        transcribed(sources, transcripts_of(tmp_path, content))


def test_a_corpus_needs_one_file_of_transcripts():
    with pytest.raises(InputError, match=r"no transcripts\.tsv; add one with a line for each"):
        transcribed(sources_of("1.wav"))
    with pytest.raises(InputError, match=r"2 files of transcripts, a/transcripts\.tsv and b/"):
        transcribed(sources_of("1.wav", "a/transcripts.tsv", "b/transcripts.tsv"))
