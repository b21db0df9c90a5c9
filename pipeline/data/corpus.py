"""Corpora: the sources of text, and how they are downloaded and unpacked."""

import bz2
import gzip
import hashlib
import lzma
import os
import sysconfig
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

from common import files
from model.errors import InputError
from pipeline.settings import CORPUS_HELP, MixUntil
from pipeline.store.manifest import fingerprint_of

if TYPE_CHECKING:
    import requests

BLOCK = 1 << 20

ENWIK8_URL = "http://mattmahoney.net/dc/enwik8.zip"
ENWIK8_SIZE = 100_000_000
# As published at http://mattmahoney.net/dc/textdata.html
ENWIK8_SHA1 = "57b8363b814821dc9d47aa4d41f58733519076b2"

LICENSES = {
    "stdlib": "the Python Software Foundation License Version 2 (SPDX: PSF-2.0)",
    "enwik8": "the GNU Free Documentation License and, since 2009, Creative Commons "
    "Attribution-ShareAlike 3.0 (SPDX: GFDL-1.2-or-later, CC-BY-SA-3.0)",
}
"""Licences of the corpora that have a name."""


class Source(NamedTuple):
    """One file of a corpus.

    Attributes:
      name: Name of the file in the records; if the corpus is a directory, relative to it.
      path: Path of the file.
      size: Size of the file, in bytes.
      modified: Time of its last change, in nanoseconds; 0 (the default) if unknown.
    """

    name: str
    path: str
    size: int
    modified: int = 0

    @property
    def packing(self) -> str:
        """The suffix that names its compression; empty for plain text."""
        suffix = os.path.splitext(self.path)[1].lower()
        return suffix if suffix in _OPENERS else ""


class Corpus(NamedTuple):
    """A sequence of sources, read one after the other.

    Attributes:
      name: Name of the corpus, which a model of it has by default.
      sources: Files, in order.
      url: URL that it is downloaded from, in which case `sources` is empty.
      size: Size of the text after unpacking, in bytes; 0 (the default) for any.
      sha1: SHA-1 of the text after unpacking; empty (the default) for any.
      version: Version of the content of the URL.
    """

    name: str
    sources: tuple[Source, ...] = ()
    url: str = ""
    size: int = 0
    sha1: str = ""
    version: str = ""

    @property
    def fingerprint(self) -> str:
        """A fingerprint that changes with any file's name, size or time of change, as in TFX."""
        sources = [[source.name, source.size, source.modified] for source in self.sources]
        return fingerprint_of([self.name, sources, self.url, self.size, self.sha1, self.version])


class Mixture(NamedTuple):
    """A mixture of corpora, which are read in turns.

    Attributes:
      corpora: Corpora of the mixture.
      weights: Share of each corpus, in any unit.
      until: End of the text: with the first corpus that ends (the default), or with the last, where
        those that end earlier begin again.
    """

    corpora: tuple[Corpus, ...]
    weights: tuple[float, ...]
    until: MixUntil = "first_exhausted"

    @classmethod
    def of(cls, corpus: Corpus) -> "Mixture":
        """Returns the mixture of a single corpus."""
        return cls((corpus,), (1.0,))

    @property
    def name(self) -> str:
        """The name of the mixture, which a model of it has by default."""
        return "-".join(corpus.name for corpus in self.corpora)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the names of each corpus' sources, which keep these distinct."""
        if len(self.corpora) == 1:
            return ("",)
        return tuple(f"{number}-{corpus.name}/" for number, corpus in enumerate(self.corpora))

    @property
    def fingerprint(self) -> str:
        """A fingerprint that changes with any corpus; that of the corpus itself if it is alone."""
        if len(self.corpora) == 1:
            return self.corpora[0].fingerprint
        parts = [corpus.fingerprint for corpus in self.corpora]
        return fingerprint_of([parts, self.weights, self.until])


def resolve_mixture(
    texts: Sequence[str], weights: Sequence[float] = (), until: MixUntil = "first_exhausted"
) -> Mixture:
    """Returns the mixture of corpora that a user names.

    Args:
      texts: Corpora, each as for `resolve`.
      weights: Share of each corpus; empty (the default) for equal shares.
      until: End of the text; see `Mixture`.

    Raises:
      InputError: If there is no such corpus, or the weights do not fit.
    """
    weights = weights or [1.0] * len(texts)
    if len(weights) != len(texts):
        raise InputError(
            f"there are {len(weights)} weights for {len(texts)} corpora; give one for each"
        )
    for weight in weights:
        if not 0 < weight < float("inf"):
            raise InputError(f"a weight is {weight}; weights must be above 0, and finite")
    return Mixture(tuple(map(resolve, texts)), tuple(map(float, weights)), until)


def resolve(text: str) -> Corpus:
    """Returns the corpus that a user names.

    Args:
      text: Path, glob or URL of a corpus, "stdlib" or "enwik8".

    Raises:
      InputError: If there is no such corpus, or no text in it.
    """
    if text == "stdlib":
        return _standard_library()
    if text == "enwik8":
        return Corpus("enwik8", url=ENWIK8_URL, size=ENWIK8_SIZE, sha1=ENWIK8_SHA1)
    if text.startswith(("http://", "https://")):
        return _at_url(text)
    try:
        if files.isdir(text):
            sources = _in_directory(text)
        else:
            paths = [text] if files.exists(text) else files.glob(text)
            sources = [_source(os.path.basename(path), path) for path in paths]
    except OSError as error:
        raise InputError(f"the corpus {text} cannot be read: {files.reason(error)}") from error
    if not sources and files.isdir(text):
        raise InputError(f"the directory {text} holds no text; give one with text files in it")
    if not sources:
        raise InputError(f"there is no corpus {text}; give {CORPUS_HELP}")
    if not any(source.size for source in sources):
        raise InputError(f"the corpus {text} is empty; give one with text in it")
    return Corpus(_model_name(text), tuple(sources))


def _model_name(text: str) -> str:
    """Returns the name of a corpus: the last part of its path without suffixes."""
    base = os.path.basename(text.rstrip("/").split("?")[0]).split(".")[0]
    kept = "".join(c if c.isalnum() or c in "-_" else "_" for c in base).strip("_")
    return kept or "corpus"


def _source(name: str, path: str) -> Source:
    return Source(name, path, *files.stat(path))


def _standard_library() -> Corpus:
    root = sysconfig.get_path("stdlib")
    sources = []
    for folder, folders, names in os.walk(root):
        # Not every installation has the tests, and site-packages is not the standard library.
        skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
        folders[:] = sorted(set(folders) - skipped)
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py") and os.path.isfile(path):
                sources.append(_source(os.path.relpath(path, root), path))
    if not sources:
        raise InputError(f"{root} holds no Python sources; give another corpus with --corpus")
    return Corpus("stdlib", tuple(sorted(sources)))


def _in_directory(root: str) -> list[Source]:
    sources = []
    for folder, _, names in files.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if not name.startswith("."):
                sources.append(_source(os.path.relpath(path, root), path))
    return sorted(source for source in sources if source.size and _is_text(source))


def _is_text(source: Source) -> bool:
    """Returns whether a file is packed, or has no NUL byte at its beginning (git's rule)."""
    if source.packing:
        return True
    with files.open_file(source.path, "rb") as file:
        return b"\0" not in file.read(8000)


def _at_url(url: str) -> Corpus:
    import requests

    try:
        response = requests.head(url, allow_redirects=True, timeout=30)
        response.raise_for_status()
    except requests.RequestException as error:
        raise InputError(f"{url} is unreachable ({_network_reason(error)}); check it") from error
    version = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
    return Corpus(_model_name(url), url=url, version=version)


def _network_reason(error: "requests.RequestException") -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return type(error).__name__


def download(corpus: Corpus, directory: str, progress: Callable[[int, int], None]) -> Source:
    """Downloads a corpus that has a URL.

    Args:
      corpus: Corpus to download.
      directory: Directory of the downloaded file.
      progress: Function that is called with the bytes so far, and in all (0 if unknown).

    Returns:
      The downloaded file.

    Raises:
      InputError: If the download fails or is incomplete.
    """
    import requests

    name = os.path.basename(corpus.url.split("?")[0]) or "corpus"
    path = os.path.join(directory, name)
    done = 0
    try:
        with (
            requests.get(corpus.url, stream=True, timeout=60) as response,
            files.open_file(path, "wb") as file,
        ):
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0))
            for block in response.iter_content(BLOCK):
                file.write(block)
                done += len(block)
                progress(done, total)
    except requests.RequestException as error:
        why = _network_reason(error)
        raise InputError(
            f"{corpus.url} cannot be downloaded ({why}); check the network, or give a local file"
        ) from error
    if done < total:
        raise InputError(f"{corpus.url} broke off after {done:,} of {total:,} bytes; try again")
    return Source(name, path, done)


def unpack(source: Source, path: str) -> int:
    """Writes the text of a packed source to a file, as a stream.

    Args:
      source: Packed source.
      path: Path of the file.

    Returns:
      The size of the text, in bytes.

    Raises:
      InputError: If it is truncated or not what its suffix says.
    """
    size = 0
    try:
        with files.open_file(source.path, "rb") as packed, files.open_file(path, "wb") as file:
            for stream in _OPENERS[source.packing](packed):
                while block := stream.read(BLOCK):
                    file.write(block)
                    size += len(block)
    except _UNPACK_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(
            f"{source.path} is truncated or no usable {source.packing} file ({error}); "
            "fetch it again"
        ) from error
    return size


# zipfile raises RuntimeError for a password, and NotImplementedError for an unknown method.
_UNPACK_ERRORS = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def _zip_members(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as stream:
                    yield stream


_OPENERS: dict[str, Callable[[IO[bytes]], Iterator[IO[bytes]]]] = {
    ".gz": lambda packed: iter([gzip.GzipFile(fileobj=packed)]),  # type: ignore[list-item]
    ".bz2": lambda packed: iter([bz2.BZ2File(packed)]),
    ".xz": lambda packed: iter([lzma.LZMAFile(packed)]),  # noqa: SIM115  its reader closes it
    ".zip": _zip_members,
}


def require_unchanged(corpus: Corpus) -> None:
    """Checks that the files of a corpus are as they were when it was resolved.

    Raises:
      InputError: If one of them has another size or time of change.
    """
    for source in corpus.sources:
        try:
            now = files.stat(source.path)
        except FileNotFoundError as error:
            raise InputError(
                f"{source.path} was removed while it was read; run again when it is back"
            ) from error
        if now != (source.size, source.modified):
            raise InputError(
                f"{source.path} changed while it was read; run again when nothing writes to it"
            )


def check_content(corpus: Corpus, paths: list[str]) -> None:
    """Checks that unpacked text has the size and checksum of its corpus.

    Args:
      corpus: Corpus of the text.
      paths: Paths of the unpacked files, in order.

    Raises:
      InputError: If either differs.
    """
    if not corpus.sha1:
        return
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    for path in paths:
        with files.open_file(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    if (size, digest.hexdigest()) != (corpus.size, corpus.sha1):
        raise InputError(
            f"{corpus.url} gave {size:,} bytes with SHA-1 {digest.hexdigest()}, expected "
            f"{corpus.size:,} and {corpus.sha1}; try again, or give a local file"
        )
