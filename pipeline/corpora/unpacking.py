"""Unpacks compressed files and archives, as streams, into plain texts."""

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import struct
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import zstandard

from common import files
from model.errors import InputError
from pipeline.corpora import file_types
from pipeline.corpora.discovery import Rules, Skipped, Source, litter
from pipeline.corpora.file_types import BZIP2, GETTEXT, GZIP, TAR, XZ, ZIP, ZSTD
from pipeline.corpora.gettext_catalogs import tab_separated

BLOCK = 1 << 20
MAX_DEPTH = 5
"""Packings within one another, as of an archive in an archive; `.tar.gz` has two."""

# zipfile raises RuntimeError for a password, NotImplementedError for an unknown method, and
# IndexError, OverflowError and struct.error for names and fields that no program writes.
_ERRORS = (
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)

_DECOMPRESSED: dict[str, Callable[[IO[bytes]], Any]] = {
    GZIP.name: lambda packed: gzip.GzipFile(fileobj=packed),
    BZIP2.name: bz2.BZ2File,
    XZ.name: lzma.LZMAFile,
    ZSTD.name: lambda packed: zstandard.ZstdDecompressor().stream_reader(
        packed, read_across_frames=True
    ),
}


class Unpacked(NamedTuple):
    """The texts of a packed file.

    Attributes:
      sources: Texts, each a file of its own, in the order of their names.
      skipped: Members that are not read.
    """

    sources: list[Source]
    skipped: list[Skipped]


def unpack(
    source: Source,
    directory: str,
    rules: Rules = Rules(),  # noqa: B008  it cannot be changed
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Unpacked:
    """Writes the texts of a packed file to files of a directory.

    The text of a compressed file keeps the name of the file; members of an archive are named
    `<archive>/<member>`.

    Args:
      source: Packed file.
      directory: Directory of the texts.
      rules: Members that are read, and the largest size of all. Default: the rules' defaults.
      progress: Function that is called with the bytes so far, and in all (0, as it is unknown).

    Raises:
      InputError: If the file is truncated, is not what it begins as, or holds no text or too much,
        naming the member.
    """
    unpacking = _Unpacking(directory, rules, progress)
    unpacking.add(_Packed(source.name, source.path, source.path, source.packing), MAX_DEPTH)
    if not unpacking.sources:
        why = "; ".join(f"{one.path} is {one.reason}" for one in unpacking.skipped[:3])
        raise InputError(
            f"{source.path} holds no text{': ' if why else ''}{why}; give another file"
        )
    return Unpacked(sorted(unpacking.sources), unpacking.skipped)


class _Packed(NamedTuple):
    """A packed file.

    Attributes:
      name: Name of its text, or the beginning of the names of its members.
      label: Its name in messages.
      path: Its path.
      packing: Name of its type.
    """

    name: str
    label: str
    path: str
    packing: str


class _Unpacking:
    """The texts that have been unpacked so far.

    Attributes:
      sources: Texts.
      skipped: Members that are not read.
    """

    def __init__(self, directory: str, rules: Rules, progress: Callable[[int, int], None]):
        self._directory = directory
        self._rules = rules
        self._progress = progress
        self._size = 0
        self.sources: list[Source] = []
        self.skipped: list[Skipped] = []

    def add(self, packed: _Packed, depth: int) -> None:
        """Adds the texts of a packed file.

        Args:
          packed: The file.
          depth: Packings that may still lie within one another.
        """
        if not depth:
            raise InputError(
                f"{packed.label} is packed more than {MAX_DEPTH} times; unpack it first"
            )
        with files.open_file(packed.path, "rb") as file, _naming(packed.label, packed.packing):
            if packed.packing not in _MEMBERS:
                with _text_of(packed, file) as stream:
                    self._add_stream(packed.name, packed.label, stream, depth)
                return
            for member, content in _MEMBERS[packed.packing](file):
                label = f"{packed.label}/{member}"
                reason = litter(member) or ("" if content else "link or device")
                if content and not reason:
                    with _naming(label):
                        self._add_stream(f"{packed.name}/{member}", label, content, depth)
                else:
                    self.skipped.append(Skipped(label, reason))

    def _add_stream(self, name: str, label: str, stream: IO[bytes], depth: int) -> None:
        """Adds the text of a stream, or the texts if it is packed itself."""
        block = stream.read(BLOCK)
        kind = file_types.type_of(block[: file_types.SAMPLE])
        if not block or (kind.role == "other" and not self._rules.allow_binary):
            self.skipped.append(Skipped(label, kind.name if block else "empty"))
            return
        path = os.path.join(self._directory, uuid.uuid4().hex)
        size = self._write(path, label, block, stream)
        if kind.role in ("text", "other"):
            self.sources.append(Source(name, path, size))
        else:
            self.add(_Packed(name, label, path, kind.name), depth - 1)
            files.remove(path)

    def _write(self, path: str, label: str, block: bytes, stream: IO[bytes]) -> int:
        """Writes a block and the rest of its stream; returns the size of the file."""
        size = 0
        with files.open_file(path, "wb") as file:
            while block:
                size += len(block)
                self._size += len(block)
                if self._size > self._rules.max_bytes:
                    raise InputError(
                        f"{label} unpacks to more than the {self._rules.max_bytes:,} bytes that "
                        "--max_bytes allows; raise it, or give less text"
                    )
                file.write(block)
                self._progress(self._size, 0)
                block = stream.read(BLOCK)
        return size


@contextlib.contextmanager
def _naming(label: str, packing: str = "") -> Iterator[None]:
    """Raises the errors of a packing as one that names the file or member."""
    try:
        yield
    except InputError:
        raise
    except _ERRORS as error:
        # An offset that leads out of the file is an invalid argument; others are the disk's errors.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        what = f"no usable {packing} file" if packing else "damaged"
        raise InputError(f"{label} is truncated or {what} ({error}); fetch it again") from error


def _text_of(packed: _Packed, file: IO[bytes]) -> Any:
    """Returns the only text of a file, as a stream."""
    if packed.packing == GETTEXT.name:
        return tab_separated(file, packed.label)
    return _DECOMPRESSED[packed.packing](file)


def _zip_members(packed: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(packed) as archive:
        # Of members with the same name the last one counts, as for unzip and tar.
        members = {_member_name(one.filename): one for one in archive.infolist()}
        for name, member in members.items():
            if not member.is_dir():
                with archive.open(member) as stream:
                    yield name, stream


def _tar_members(packed: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(fileobj=packed, mode="r:") as archive:
        members = {_member_name(one.name): one for one in archive}
        packed.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
        if packed.read() != tarfile.NUL * tarfile.BLOCKSIZE:
            raise EOFError("it has no end")
        for name, member in members.items():
            if not member.isdir():
                yield name, archive.extractfile(member) if member.isreg() else None


def _member_name(path: str) -> str:
    """Returns the path of a member as a relative one; it is a name, and never a path to write."""
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))


_MEMBERS = {ZIP.name: _zip_members, TAR.name: _tar_members}
