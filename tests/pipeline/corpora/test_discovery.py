"""Which files of a directory, a glob or an archive are read, and what is said of the others."""

import errno
import gzip
import io
import os
import tarfile
import zipfile

import pytest
from conftest import contents, text_of

from model.errors import InputError
from pipeline.corpora import corpus, discovery
from pipeline.corpora.discovery import Rules
from pipeline.settings import DataConfig
from pipeline.stages import example_gen
from pipeline.store.artifacts import Store

LINE = b"a line of plain text\n"


def write(folder, files):
    """Writes files by their paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def names(resolved):
    return [source.name for source in resolved.sources]


def reasons(resolved, folder):
    return {os.path.relpath(one.path, folder): one.reason for one in resolved.skipped}


def tar(members):
    """Returns an archive of members by their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(members):
    """Returns an archive of members by their names."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


UNREAD = {
    ".git/objects/ab/12": (LINE, ".git", "hidden"),
    ".hidden": (LINE, ".hidden", "hidden"),
    "b/.ipynb_checkpoints/x-checkpoint.ipynb": (LINE, "b/.ipynb_checkpoints", "hidden"),
    "__pycache__/x.txt": (LINE, "__pycache__", "made by the system"),
    "__MACOSX/a.txt": (LINE, "__MACOSX", "made by the system"),
    "a.txt~": (LINE, "a.txt~", "backup copies"),
    "desktop.ini": (LINE, "desktop.ini", "made by the system"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "picture", "image/png"),
    "wide.txt": ("wide text".encode("utf-16"), "wide.txt", "UTF-16 text"),
    "wider.txt": ("wider text".encode("utf-16-be"), "wider.txt", "UTF-16BE text"),
    "widest.txt": ("widest text".encode("utf-32"), "widest.txt", "UTF-32 text"),
    "noise.txt": (bytes(range(1, 32)) * 9, "noise.txt", "binary data"),
    "empty.txt": (b"", "empty.txt", "empty"),
    "paper.txt": (b"%PDF-1.4 a paper", "paper.txt", "PDF document"),
    "archive.txt": (b"7z\xbc\xaf\x27\x1c....", "archive.txt", "7-Zip archive"),
    "letter.docx": (zipped({"[Content_Types].xml": LINE}), "letter.docx", "Office document"),
    "book.epub": (zipped({"mimetype": b"application/epub+zip"}), "book.epub", "EPUB book"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_left_out_of_a_directory_is_told(tmp_path, name):
    content, told, reason = UNREAD[name]
    write(tmp_path, {"b/read.txt": LINE, name: content})
    resolved = corpus.resolve(str(tmp_path))
    assert names(resolved) == ["b/read.txt"]
    assert reasons(resolved, tmp_path) == {told: reason}


@pytest.mark.parametrize("pack", [zipped, tar])
def test_members_of_archives_follow_the_rules_of_directories(private_store, tmp_path, pack):
    members = {name: content for name, (content, *_) in UNREAD.items()}
    path = tmp_path / "texts"
    path.write_bytes(pack({"b/read.txt": LINE * 9, "c.txt": LINE * 9, **members}))
    artifact = example_gen.run(
        private_store, corpus.resolve(str(path)), DataConfig(train_fraction=0.5)
    )
    assert text_of(artifact, "train") + text_of(artifact, "eval") == LINE * 18
    assert f"skipped {len(UNREAD)}: " in artifact.manifest.summary
    assert "1 UTF-16 text" in artifact.manifest.summary


def test_documents_of_an_archive_can_be_split(private_store, tmp_path):
    documents = {f"{number:02d}.txt": b"%02d" % number * 50 for number in range(20)}
    path = tmp_path / "documents.zip"
    path.write_bytes(zipped(documents))
    for rule in ("document", "hash"):
        data = DataConfig(split_by=rule, train_fraction=0.75)
        artifact = example_gen.run(private_store, corpus.resolve(str(path)), data)
        train, evaluation = text_of(artifact, "train"), text_of(artifact, "eval")
        assert len(train) % 100 == len(evaluation) % 100 == 0 and train and evaluation
        assert sorted(train[n : n + 2] for n in range(0, len(train), 100)) == [
            text[:2] for text in documents.values() if text[:2] in train
        ]


@pytest.mark.parametrize("name", ["text.txt", "text", "text.gz"])
def test_packings_are_told_by_content(private_store, tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(tar({"a.txt": LINE * 20})))
    artifact = example_gen.run(private_store, corpus.resolve(str(tmp_path / name)))
    assert text_of(artifact, "train") + text_of(artifact, "eval") == LINE * 20
    plain = tmp_path / "plain.gz"
    plain.write_bytes(LINE * 30)
    artifact = example_gen.run(private_store, corpus.resolve(str(plain)))
    assert text_of(artifact, "train") + text_of(artifact, "eval") == LINE * 30


def test_archives_within_archives_are_read_to_a_depth(private_store, tmp_path):
    inner = zipped({"a.txt": LINE * 20})
    (tmp_path / "a.zip").write_bytes(zipped({"b.zip": inner, "c.txt.gz": gzip.compress(LINE)}))
    artifact = example_gen.run(private_store, corpus.resolve(str(tmp_path / "a.zip")))
    assert text_of(artifact, "train") + text_of(artifact, "eval") == LINE * 21
    for _ in range(9):
        inner = gzip.compress(inner)
    (tmp_path / "deep").write_bytes(inner)
    with pytest.raises(InputError, match="packed more than"):
        example_gen.run(private_store, corpus.resolve(str(tmp_path / "deep")))


def test_errors_name_the_member(private_store, tmp_path):
    damaged = bytearray(zipped({"a.txt": LINE * 20, "b.txt": LINE * 20}))
    damaged[damaged.rindex(LINE) + 3] ^= 1
    (tmp_path / "texts.zip").write_bytes(damaged)
    with pytest.raises(InputError, match=r"texts\.zip/b\.txt is truncated or damaged"):
        example_gen.run(private_store, corpus.resolve(str(tmp_path / "texts.zip")))
    (tmp_path / "texts.tar").write_bytes(tar({"a.txt": LINE * 20, "b.txt": LINE * 20})[:-9000])
    with pytest.raises(InputError, match=r"texts\.tar is truncated"):
        example_gen.run(private_store, corpus.resolve(str(tmp_path / "texts.tar")))


def test_a_bomb_is_refused(private_store, tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(gzip.compress(b"a" * (10 << 20))))
    rules = Rules(max_bytes=1 << 20)
    with pytest.raises(InputError, match=r"bomb\.gz unpacks to more than the 1,048,576 bytes"):
        example_gen.run(private_store, corpus.resolve(str(tmp_path / "bomb.gz"), rules))
    assert not [path for path in contents(tmp_path / "root") if "Example" in path]


@pytest.mark.parametrize("name", ["picture", "wide.txt", "paper.txt", "archive.txt", "letter.docx"])
def test_a_file_that_is_no_text_is_refused_by_name(tmp_path, name):
    write(tmp_path, {name: UNREAD[name][0]})
    with pytest.raises(InputError, match=f"{UNREAD[name][2]}.*--allow_binary"):
        corpus.resolve(str(tmp_path / name))
    with pytest.raises(InputError, match=f"holds no text.*{UNREAD[name][2]}"):
        corpus.resolve(str(tmp_path))
    assert names(corpus.resolve(str(tmp_path / name), Rules(allow_binary=True))) == [name]


def test_latin_1_and_lone_controls_are_text(tmp_path):
    write(
        tmp_path, {"a.txt": "Gr\xfc\xdfe".encode("latin-1") * 9, "b.txt": LINE * 9 + b"\x07\x1b["}
    )
    assert names(corpus.resolve(str(tmp_path))) == ["a.txt", "b.txt"]


def test_roots_below_the_corpus_are_not_read(tmp_path):
    write(tmp_path, {"a.txt": LINE * 50})
    for root in ("runs", "runs", "others"):
        rules = Rules(left_out=(str(tmp_path / root),))
        resolved = corpus.resolve(str(tmp_path), rules)
        assert names(resolved) == ["a.txt"]
        assert names(corpus.resolve(str(tmp_path / "**"), rules)) == ["a.txt"]
        with (store := Store(str(tmp_path / root))).writing():
            example_gen.run(store, resolved)
    with pytest.raises(InputError, match="both the corpus and the root"):
        corpus.resolve(str(tmp_path), Rules(left_out=(str(tmp_path),)))


def test_globs_recurse_and_read_directories(tmp_path):
    write(tmp_path, {"a.txt": LINE, "b/c.txt": LINE, "b/d/c.txt": LINE, ".e/f.txt": LINE})
    assert names(corpus.resolve(f"{tmp_path}/**/*.txt")) == ["a.txt", "b/c.txt", "b/d/c.txt"]
    assert names(corpus.resolve(f"{tmp_path}/b*")) == ["b/c.txt", "b/d/c.txt"]
    assert names(corpus.resolve(f"{tmp_path}/.e/*")) == ["f.txt"]
    assert corpus.resolve(f"{tmp_path}/b/**/*.txt").name == "b"


def test_links_stay_within_the_directory(tmp_path):
    outside = write(tmp_path / "outside", {"secret": LINE, "more/a.txt": LINE})
    folder = write(tmp_path / "texts", {"a.txt": LINE})
    (folder / "again.txt").symlink_to("a.txt")
    (folder / "gone.txt").symlink_to("nothing")
    (folder / "loop").symlink_to(folder)
    resolved = corpus.resolve(str(folder))
    assert names(resolved) == ["a.txt"]
    assert reasons(resolved, folder) == {
        "again.txt": "read under another name",
        "gone.txt": "dangling link",
        "loop": "link to a directory",
    }
    assert names(corpus.resolve(f"{folder}/*")) == ["a.txt"]
    (folder / "b.txt").symlink_to(outside / "secret")
    (folder / "more").symlink_to(outside / "more")
    for text in (str(folder), f"{folder}/*"):
        with pytest.raises(InputError, match=r"(b\.txt|more) is a link to .*--follow_links"):
            corpus.resolve(text)
        followed = corpus.resolve(text, Rules(follow_links=True))
        assert names(followed) == ["a.txt", "b.txt", "more/a.txt"]
    with pytest.raises(InputError, match="which does not exist"):
        corpus.resolve(str(folder / "gone.txt"))


@pytest.mark.parametrize("follow_links", [False, True])
def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch, follow_links):
    (tmp_path / "texts" / "closed").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("text")
    scandir = os.scandir

    def refusing(path):  # whoever runs the tests may be allowed to read everything
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"closed cannot be read: Permission denied; check"):
        corpus.resolve(str(tmp_path / "texts"), Rules(follow_links=follow_links))


def test_pipes_and_devices_are_refused_as_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe, which can be read only once"):
        corpus.resolve(str(tmp_path / "pipe"))
    with pytest.raises(InputError, match="is a device"):
        corpus.resolve("/dev/zero")
    write(tmp_path, {"a.txt": LINE})
    resolved = corpus.resolve(str(tmp_path))
    assert names(resolved) == ["a.txt"] and reasons(resolved, tmp_path) == {"pipe": "pipe"}


def test_what_is_skipped_is_told_in_one_sentence():
    skipped = [discovery.Skipped(f"{n}.png", "image/png") for n in range(5)]
    skipped.append(discovery.Skipped(".git", "hidden"))
    assert discovery.describe(skipped) == (
        "skipped 6: 1 hidden (.git), 5 image/png (0.png, 1.png, 2.png, ...)"
    )
    assert discovery.describe([]) == ""
