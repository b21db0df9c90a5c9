"""Corpora: what a user names to train on, resolved to files or an address."""

import hashlib
import os
import sysconfig
from collections.abc import Sequence
from typing import NamedTuple

from common import files
from model.errors import InputError
from pipeline.corpora import discovery
from pipeline.corpora.discovery import Rules, Skipped, Source
from pipeline.corpora.download import is_url, redacted, version_of
from pipeline.settings import CORPUS_HELP, MixUntil
from pipeline.store.manifest import fingerprint_of

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


class Corpus(NamedTuple):
    """A sequence of sources, read one after the other.

    Attributes:
      name: Name of the corpus, which a model of it has by default.
      sources: Files, in order.
      url: URL that it is downloaded from, in which case `sources` is empty.
      size: Size of the text after unpacking, in bytes; 0 (the default) for any.
      sha1: SHA-1 of the text after unpacking; empty (the default) for any.
      version: Version of the content of the URL.
      rules: Files, and members of archives, that are read.
      skipped: Files that are not.
    """

    name: str
    sources: tuple[Source, ...] = ()
    url: str = ""
    size: int = 0
    sha1: str = ""
    version: str = ""
    rules: Rules = Rules()
    skipped: tuple[Skipped, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A fingerprint that changes with any file's name, size or time of change, as in TFX."""
        sources = [[source.name, source.size, source.modified] for source in self.sources]
        parts = [self.name, sources, self.url, self.size, self.sha1, self.version]
        return fingerprint_of([*parts, "binary"] if self.rules.allow_binary else parts)


class Mixture(NamedTuple):
    """A mixture of corpora, which are read in turns.

    Attributes:
      corpora: Corpora of the mixture.
      weights: Share of each corpus, in any unit.
      until: End of the text: with the first corpus that ends (the default), or with the last, where
        those that end earlier begin again.
      translations: Corpus whose lines are the translations of those of the only other corpus; None
        (the default) for text, or for lines that hold both sides.
      transcripts: Corpus whose lines say what is said in the recordings of the only other corpus;
        None (the default) for text, or if the other corpus holds them itself.
    """

    corpora: tuple[Corpus, ...]
    weights: tuple[float, ...]
    until: MixUntil = "first_exhausted"
    translations: Corpus | None = None
    transcripts: Corpus | None = None

    @property
    def all_corpora(self) -> list[Corpus]:
        """All corpora that are read, those of translations and transcripts included."""
        return [*self.corpora, *filter(None, (self.translations, self.transcripts))]

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
        if beside := self.translations or self.transcripts:
            return fingerprint_of([self.corpora[0].fingerprint, beside.fingerprint])
        if len(self.corpora) == 1:
            return self.corpora[0].fingerprint
        parts = [corpus.fingerprint for corpus in self.corpora]
        return fingerprint_of([parts, self.weights, self.until])


def resolve_mixture(
    texts: Sequence[str],
    weights: Sequence[float] = (),
    until: MixUntil = "first_exhausted",
    rules: Rules = Rules(),  # noqa: B008  it cannot be changed
    translations: str = "",
    transcripts: str = "",
) -> Mixture:
    """Returns the mixture of corpora that a user names.

    Args:
      texts: Corpora, each as for `resolve`.
      weights: Share of each corpus; empty (the default) for equal shares.
      until: End of the text; see `Mixture`.
      rules: Files that are read. Default: the rules' defaults.
      translations: Corpus of the translations of the lines of the only text; empty (the default)
        for none.
      transcripts: File of the transcripts of the recordings of the only corpus; empty (the default)
        for none.

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
    corpora = tuple(resolve(text, rules) for text in texts)
    return Mixture(
        corpora,
        tuple(map(float, weights)),
        until,
        translations=resolve(translations, rules) if translations else None,
        transcripts=resolve(transcripts, rules) if transcripts else None,
    )


def resolve(text: str, rules: Rules = Rules()) -> Corpus:  # noqa: B008  it cannot be changed
    """Returns the corpus that a user names.

    Args:
      text: Path, glob or URL of a corpus, "stdlib" or "enwik8".
      rules: Files that are read. Default: the rules' defaults.

    Raises:
      InputError: If there is no such corpus, or no text in it.
    """
    if text == "stdlib":
        return _standard_library()
    if text == "enwik8":
        return Corpus("enwik8", url=ENWIK8_URL, size=ENWIK8_SIZE, sha1=ENWIK8_SHA1, rules=rules)
    if is_url(text):
        return Corpus(_model_name(text), url=text, version=version_of(text), rules=rules)
    try:
        found = discovery.find(text, rules)
    except OSError as error:
        raise InputError(
            f"the corpus {error.filename or text} cannot be read: {files.error_text(error)}; check "
            "the path and its permissions"
        ) from error
    if not found.sources:
        raise InputError(_nothing_found(text, found.skipped))
    if not any(source.size for source in found.sources):
        raise InputError(f"the corpus {text} is empty; give one with text in it")
    return Corpus(
        _model_name(text), tuple(found.sources), rules=rules, skipped=tuple(found.skipped)
    )


def _nothing_found(text: str, skipped: Sequence[Skipped]) -> str:
    """Returns why a corpus has no files."""
    if skipped:
        return f"the corpus {text} holds no text ({discovery.describe(skipped)}); give another"
    if files.isdir(text):
        return f"the directory {text} holds no text; give one with text files in it"
    return f"there is no corpus {text}; give {CORPUS_HELP}"


def _model_name(text: str) -> str:
    """Returns the name of a corpus: the last part of its path without suffixes.

    Raises:
      InputError: If the locale cannot express it, as it becomes the name of a directory.
    """
    path = text.split("?")[0] if is_url(text) else files.fixed_part(text) or text
    base = os.path.basename(path.rstrip("/")).split(".")[0]
    base = os.fsencode(base).decode("utf-8", "replace")  # the same in every locale
    kept = "".join(c if c.isalnum() or c in "-_" else "_" for c in base).strip("_")
    try:
        os.fsencode(kept)
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name {kept} cannot be expressed in this locale; set LC_ALL=C.UTF-8"
        ) from error
    return kept or "corpus"


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
                sources.append(Source(os.path.relpath(path, root), path, *files.stat(path)))
    if not sources:
        raise InputError(f"{root} holds no Python sources; give another corpus with --corpus")
    return Corpus("stdlib", tuple(sorted(sources)))


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
            f"{redacted(corpus.url)} unpacked to {size:,} bytes with SHA-1 {digest.hexdigest()}, "
            f"expected {corpus.size:,} and {corpus.sha1}; try again, or give a local file"
        )
