"""Files of data sets: what is published, and the content of a copy if it is the published one."""

import gzip
import hashlib
import lzma
import os
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from model.errors import InputError

_ARCHIVE = 4 << 20
"""Bytes that a tar archive may have besides its content: headers, and files that do not count."""

OPEN: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
"""Functions that open a file unpacked, by the suffix of its packing."""


class DataFile(NamedTuple):
    """A file of a data set, or an archive of files.

    Archives of one content differ in the order and the dates of their members, so size and
    checksum of an archive are those of its members; see `members_sha256`.

    Attributes:
      name: Name of the file, without the suffix of a packing.
      url: Official address of the file, packed or not; empty for one that is read from a local copy
        alone.
      size: Size of the unpacked file, in bytes, or the sum over the members that count.
      sha256: SHA-256 of the unpacked file, or of the members that count.
      members: Suffix of the names of the members that count in a tar archive. Default: the file is
        no archive.
      pieces: Number of pieces in which the file is published, whose addresses end in `.000`, `.001`
        and so on. Default 0: it is published as a whole.
    """

    name: str
    url: str
    size: int
    sha256: str
    members: str = ""
    pieces: int = 0

    @property
    def endings(self) -> tuple[str, ...]:
        """What follows the name and the address in the names and addresses of the pieces."""
        return tuple(f".{piece:03}" for piece in range(self.pieces)) or ("",)


class DataSet(NamedTuple):
    """A published data set.

    Attributes:
      files: Files of the data set.
      license: Licence, as a name of SPDX.
      origin: Authors, or page of the data set.
    """

    files: tuple[DataFile, ...]
    license: str
    origin: str


def verified(paths: Sequence[pathlib.Path], file: DataFile, remedy: str = "") -> dict[str, bytes]:
    """Returns the content of a file, unpacked, if it is the published one.

    Args:
      paths: Path of the file, or those of its pieces.
      file: What it should hold.
      remedy: What to do if it is not. Default: to replace it by the published one.

    Returns:
      The content by the name of the file, or those of the members of an archive by theirs.
    """
    published = f"{file.url}{file.endings[0]}" if file.url else "the published one"
    remedy = remedy or f"replace it by {published}"
    contents: dict[str, bytes] = {}
    try:
        for path in paths:
            with OPEN.get(path.suffix, open)(path, "rb") as stream:
                if file.members:
                    contents.update(_members(stream, file))
                    continue
                before = contents.get(file.name, b"")
                left = file.size + 1 - len(before)  # no more, whatever it unpacks to
                contents[file.name] = before + stream.read(left)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from error
    sha256 = members_sha256(contents) if file.members else _sha256(contents[file.name])
    if sha256 == file.sha256:
        return contents
    size = sum(map(len, contents.values()))
    unpacked = f"{size:,}" if size <= file.size else f"more than {file.size:,}"
    raise InputError(
        f"{path} unpacks to {unpacked} bytes with SHA-256 {sha256[:12]}..., expected "
        f"{file.size:,} and {file.sha256[:12]}...: it is damaged or another version; {remedy}"
    )


def _members(stream: IO[bytes], file: DataFile) -> dict[str, bytes]:
    """Returns the members of a tar archive that count, by name without folders.

    Args:
      stream: The unpacked archive, of which no more is read than an archive of twice the content
        may have.
      file: What it should hold.
    """
    contents: dict[str, bytes] = {}
    limited: Any = _Limited(stream, 2 * file.size + _ARCHIVE)
    with tarfile.open(fileobj=limited, mode="r|") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(file.members):
                extracted = archive.extractfile(member)
                assert extracted is not None
                name = os.path.basename(member.name)
                if name in contents:
                    raise tarfile.ReadError(f"it holds two files {name}")
                contents[name] = extracted.read()
    return contents


class _Limited:
    """A stream that fails where it is longer than it may be."""

    def __init__(self, stream: IO[bytes], limit: int):
        self._stream = stream
        self._limit = self._left = limit

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {self._limit:,} bytes")
        return content


def members_sha256(contents: Mapping[str, bytes]) -> str:
    """Returns the SHA-256 of the members of an archive, whatever their order and dates.

    It is that of each name, a zero byte, the size in 8 bytes, big-endian, and the content, by name.

    >>> members_sha256({"b": b"2", "a": b"1"}) == members_sha256({"a": b"1", "b": b"2"})
    True

    Args:
      contents: Contents of the members by name.
    """
    return _sha256(
        b"".join(
            name.encode("utf-8", "surrogateescape")
            + bytes(1)
            + len(content).to_bytes(8, "big")
            + content
            for name, content in sorted(contents.items())
        )
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
