"""Corpora in every packing and from a real HTTP server, and the errors of unusable ones."""

import bz2
import gzip
import http.server
import lzma
import os
import threading
import zipfile

import pytest
from conftest import text_of, words

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.data.records import read_index
from pipeline.stages import example_gen

TEXT = words(5, 30_000).encode()


def pack(path, text=TEXT):
    suffix = path.suffix
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("text.txt", text)
        return path
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".txt": bytes}
    path.write_bytes(compress[suffix](text))
    return path


def content(artifact):
    return text_of(artifact, "train") + text_of(artifact, "eval")


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".bz2", ".xz", ".zip"])
def test_every_packing_is_unpacked(private_store, tmp_path, suffix):
    path = pack(tmp_path / f"text{suffix}")
    artifact = example_gen.run(private_store, corpus.resolve(str(path)))
    assert content(artifact) == TEXT
    assert os.listdir(artifact.path).count("unpacked") == 0
    assert sum(shard.bytes for shard in read_index(artifact.path, "train")) == 28_500


def test_directories_and_globs_are_read_in_order(private_store, tmp_path):
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"first " * 100)
    (folder / "b" / "c.txt").write_bytes(b"second " * 100)
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    expected = b"first " * 100 + b"second " * 100
    assert content(example_gen.run(private_store, corpus.resolve(str(folder)))) == expected
    matched = corpus.resolve(str(folder / "*.txt"))
    assert [source.name for source in matched.sources] == ["a.txt"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
def test_truncated_packings_are_refused_and_leave_nothing(private_store, tmp_path, suffix):
    path = pack(tmp_path / f"text{suffix}")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="truncated"):
        example_gen.run(private_store, corpus.resolve(str(path)))
    assert not (tmp_path / "root" / "ExampleGen").exists()
    assert not list((tmp_path / "root" / ".partial").glob("ExampleGen-*"))


@pytest.fixture(scope="module")
def web_server(tmp_path_factory):
    """Serves a folder; `/broken/...` breaks off in the middle."""
    folder = tmp_path_factory.mktemp("web")
    pack(folder / "text.txt.gz".replace(".txt", ""))
    for language, lines in (("en", "one\ntwo\n"), ("fr", "un\ndeux\n")):
        (folder / language).mkdir()
        (folder / language / "words.txt").write_text(lines * 30)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self):
            if not self.path.startswith("/broken"):
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def do_HEAD(self):
            if self.path.startswith("/broken"):
                self.send_response(200)
                self.end_headers()
            else:
                super().do_HEAD()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_corpus_is_downloaded(private_store, web_server):
    resolved = corpus.resolve(f"{web_server}/text.gz")
    assert resolved.name == "text"
    assert content(example_gen.run(private_store, resolved)) == TEXT


def test_files_of_one_name_do_not_take_each_others_place(private_store, web_server):
    urls = [f"{web_server}/{language}/words.txt" for language in ("en", "fr")]
    pairs = corpus.resolve_mixture(urls[:1], translations=urls[1])
    assert set(content(example_gen.run(private_store, pairs)).split(b"\n")) == {
        b"one\tun", b"two\tdeux", b""
    }  # fmt: skip
    both = content(example_gen.run(private_store, corpus.resolve_mixture(urls)))
    assert {b"one", b"deux"} <= set(both.split())


def test_a_url_without_a_file_is_refused(web_server):
    with pytest.raises(InputError, match="HTTP status 404"):
        corpus.resolve(f"{web_server}/none.txt")


def test_a_broken_download_is_refused(private_store, web_server):
    with pytest.raises(InputError, match=r"broken/text\.txt"):
        example_gen.run(private_store, corpus.resolve(f"{web_server}/broken/text.txt"))
    assert not any(
        entry.startswith("ExampleGen") for entry in os.listdir(f"{private_store.root}/.partial")
    )


def test_a_download_larger_than_allowed_is_refused(private_store, web_server):
    resolved = corpus.resolve(f"{web_server}/text.gz", corpus.Rules(max_bytes=100))
    with pytest.raises(InputError, match=r"has more than the 100 bytes .* raise --max_bytes"):
        example_gen.run(private_store, resolved)


def test_a_download_with_another_checksum_is_refused(private_store, web_server):
    resolved = corpus.resolve(f"{web_server}/text.gz")._replace(size=len(TEXT), sha1="0" * 40)
    with pytest.raises(InputError, match="SHA-1"):
        example_gen.run(private_store, resolved)


def test_the_standard_library_is_a_corpus():
    resolved = corpus.resolve("stdlib")
    assert sum(source.size for source in resolved.sources) > 8_000_000
    names = [source.name for source in resolved.sources]
    assert "abc.py" in names and names == sorted(names)
    assert not any("site-packages" in name or "/test/" in name for name in names)


@pytest.mark.parametrize(
    "make,problem",
    [
        (lambda folder: folder / "missing.txt", "there is no corpus"),
        (lambda folder: (folder / "empty.txt").touch() or folder / "empty.txt", "is empty"),
        (lambda folder: (folder / "none").mkdir() or folder / "none", "holds no text"),
    ],
)
def test_unusable_corpora_are_refused(tmp_path, make, problem):
    with pytest.raises(InputError, match=problem):
        corpus.resolve(str(make(tmp_path)))
