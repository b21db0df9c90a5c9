"""The plain files of a corpus: those of a download, and those that packed files hold."""

import os
import uuid
from collections.abc import Iterator

from common import files
from common.progress import progress_bar
from pipeline.corpora import corpus as corpora
from pipeline.corpora import discovery, parallel
from pipeline.corpora.corpus import Corpus, Mixture
from pipeline.corpora.discovery import Skipped, Source
from pipeline.corpora.download import download, redacted
from pipeline.corpora.unpacking import unpack

UNPACKED = "unpacked"
"""Name of the directory of downloaded and unpacked files in that of an unfinished artifact."""


def plain_sources(mixture: Mixture, scratch: str, skipped: list[Skipped]) -> Iterator[list[Source]]:
    """Yields the texts of each corpus as plain files, without those that are empty.

    Their names are those in the corpus, without the prefix that tells corpora of a mixture apart.

    Args:
      mixture: Corpora.
      scratch: Directory of downloaded and unpacked files, made if necessary.
      skipped: List that files which are not read are added to.
    """
    for corpus in mixture.corpora:
        skipped += corpus.skipped
        plain = plain_files(corpus, scratch, skipped)
        if mixture.translations:
            translations = plain_files(mixture.translations, scratch, skipped)
            plain = parallel.joined(plain, translations, scratch)
        yield [source for source in plain if source.size]


def plain_files(corpus: Corpus, scratch: str, skipped: list[Skipped]) -> list[Source]:
    """Returns the plain files of one corpus, downloaded and unpacked where necessary.

    Args:
      corpus: Corpus.
      scratch: Directory of downloaded and unpacked files, made if necessary.
      skipped: List that members of archives which are not read are added to.
    """
    sources = list(corpus.sources)
    if corpus.url:
        # Another corpus may have a file of the same name.
        folder = os.path.join(scratch, uuid.uuid4().hex)
        files.makedirs(folder)
        with progress_bar(f"Downloading {redacted(corpus.url)}", unit="bytes") as progress:
            fetched = download(corpus.url, folder, corpus.rules.max_bytes, progress)
        sources = [discovery.typed(fetched, redacted(corpus.url), corpus.rules)]
    plain = []
    for source in sources:
        if not source.packing:
            plain.append(source)
            continue
        files.makedirs(scratch)
        with progress_bar(f"Unpacking {source.name}", unit="bytes") as progress:
            unpacked = unpack(source, scratch, corpus.rules, progress)
        plain += unpacked.sources
        skipped += unpacked.skipped
    corpora.check_content(corpus, [source.path for source in plain])
    return plain
