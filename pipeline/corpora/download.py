"""Downloads corpora over HTTP."""

import os
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING

from common import files
from model.errors import InputError
from pipeline.corpora.discovery import Source

if TYPE_CHECKING:
    import requests

BLOCK = 1 << 20
SECONDS_TO_CONNECT = 30
SECONDS_WITHOUT_DATA = 60

_NO_HEAD = (405, 501)
"""Statuses of servers that answer no request for headers alone."""


class DownloadError(InputError):
    """A download failed; the message ends in the remedy for a corpus.

    Attributes:
      problem: The message without its remedy.
    """

    @property
    def problem(self) -> str:
        return str(self).rpartition("; ")[0]


def is_url(text: str) -> bool:
    """Returns whether a corpus is given by an address of the web."""
    return text.lower().startswith(("http://", "https://"))


def version_of(url: str) -> str:
    """Returns the version of the content of a URL, by its headers; empty if it has none.

    That is its entity tag, or else the time of its last change, or else its size.

    Raises:
      InputError: If there is no such address.
    """
    import requests

    try:
        response = requests.head(url, allow_redirects=True, timeout=SECONDS_TO_CONNECT)
        if response.status_code in _NO_HEAD:
            with requests.get(url, stream=True, timeout=SECONDS_TO_CONNECT) as response:
                pass  # its head is all that is looked at
        response.raise_for_status()
    except (requests.RequestException, ValueError) as error:
        raise InputError(f"{redacted(url)} is unreachable ({_reason(error)}); check it") from error
    headers = (response.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length"))
    return next(filter(None, headers), "")


def redacted(url: str) -> str:
    """Returns a URL as it may be shown: without passwords, and without the values of its query.

    Example:

      >>> redacted("https://me:secret@example.org/text.gz?token=1234")
      'https://example.org/text.gz?...'
    """
    parts = urllib.parse.urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"{shown}?..." if parts.query else shown


def name_of(url: str) -> str:
    """Returns the last part of the path of a URL."""
    return os.path.basename(urllib.parse.urlsplit(url).path) or "corpus"


def download(
    url: str, directory: str, max_bytes: int, progress: Callable[[int, int], None]
) -> Source:
    """Downloads a file.

    Args:
      url: Address of the file.
      directory: Directory of the downloaded file.
      max_bytes: Largest size of the file, in bytes.
      progress: Function that is called with the bytes so far, and in all (0 if unknown).

    Returns:
      The downloaded file.

    Raises:
      DownloadError: If the download fails, is incomplete or is too large.
    """
    import requests

    path = os.path.join(directory, name_of(url))
    shown = redacted(url)
    done = total = 0
    try:
        with (
            requests.get(url, stream=True, timeout=SECONDS_WITHOUT_DATA) as response,
            files.open_file(path, "wb") as file,
        ):
            response.raise_for_status()
            total = _announced(response)
            for block in response.iter_content(BLOCK):
                done += len(block)
                if max(done, total) > max_bytes:
                    raise DownloadError(
                        f"{shown} has more than the {max_bytes:,} bytes that are allowed; raise "
                        "--max_bytes, or give a smaller file"
                    )
                file.write(block)
                progress(done, total)
    except DownloadError:
        raise
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(
            f"{shown} cannot be downloaded ({_reason(error)}); check the network, or give a local "
            "file"
        ) from error
    if done < total:
        raise DownloadError(f"{shown} broke off after {done:,} of {total:,} bytes; try again")
    return Source(name_of(url), path, done)


def _announced(response: "requests.Response") -> int:
    """Returns the size that a server announces; 0 if it announces none, or no number."""
    announced = response.headers.get("Content-Length", "")
    packed = response.headers.get("Content-Encoding", "identity") != "identity"
    return int(announced) if announced.isascii() and announced.isdigit() and not packed else 0


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"HTTP status {response.status_code}"
