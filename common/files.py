"""Files and directories of any filesystem, under the names that tf.io.gfile gives their functions.

Local ones are reached by the standard library. Others are reached by tf.io.gfile, which is imported
when the first is asked for: TensorFlow takes seconds and half a gigabyte, which a worker that reads
and writes records has no use for.

Every function raises OSError, whatever the filesystem.
"""

import contextlib
import glob as local_glob
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import IO, Any, NamedTuple


class Stat(NamedTuple):
    """What is known of a file.

    Attributes:
      length: in bytes.
      mtime_nsec: time of its last change, in nanoseconds since 1970.
    """

    length: int
    mtime_nsec: int


def is_local(path: str) -> bool:
    """Whether a path is on a filesystem of this machine."""
    return "://" not in path


def open_file(path: str, mode: str = "r") -> IO[Any]:
    """Opens a file, UTF-8 without translation of line ends where it is text."""
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    if is_local(path):
        return open(path, mode, **text)
    raw = _RemoteFile(path, mode.replace("b", "") + "b")
    buffered = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, **text) if text else buffered


def exists(path: str) -> bool:
    """Whether there is such a file or directory."""
    return os.path.exists(path) if is_local(path) else _remote("exists", path)


def isdir(path: str) -> bool:
    """Whether there is such a directory."""
    return os.path.isdir(path) if is_local(path) else _remote("isdir", path)


def glob(pattern: str) -> list[str]:
    """The files and directories that match a pattern, sorted."""
    return sorted(local_glob.glob(pattern) if is_local(pattern) else _remote("glob", pattern))


def walk(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Directories, from the top down, with the names of their directories and files."""
    return os.walk(top) if is_local(top) else _remote("walk", top)


def stat(path: str) -> Stat:
    """Size and time of change of a file."""
    if not is_local(path):
        found = _remote("stat", path)
        return Stat(found.length, found.mtime_nsec)
    found = os.stat(path)
    return Stat(found.st_size, found.st_mtime_ns)


def makedirs(path: str) -> None:
    """Makes a directory and those above it, where they are missing."""
    if is_local(path):
        os.makedirs(path, exist_ok=True)
    else:
        _remote("makedirs", path)


def remove(path: str) -> None:
    """Removes a file."""
    if is_local(path):
        os.remove(path)
    else:
        _remote("remove", path)


def rmtree(path: str) -> None:
    """Removes a directory with all that is in it."""
    if is_local(path):
        shutil.rmtree(path)
    else:
        _remote("rmtree", path)


def rename(source: str, destination: str) -> None:
    """Renames a file or directory; a file that has the new name goes."""
    if is_local(source):
        os.replace(source, destination)
    else:
        _remote("rename", source, destination, overwrite=True)


def copy(source: str, destination: str) -> None:
    """Copies a file; one that has the new name goes."""
    if is_local(source) and is_local(destination):
        shutil.copyfile(source, destination)
    else:
        _remote("copy", source, destination, overwrite=True)


@contextlib.contextmanager
def replacing(path: str, mode: str) -> Iterator[IO[Any]]:
    """Opens a file that takes its place when it is whole, and is never seen half-written there.

    Any number may do so at once. A writer that fails or dies leaves a file with a name of its own,
    which ends in `.tmp`.
    """
    unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
    with open_file(unfinished, mode) as file:
        yield file
    rename(unfinished, path)


def write_text(path: str, text: str) -> None:
    """Writes a small text file so that it is never seen half-written, by any number at once."""
    with replacing(path, "w") as file:
        file.write(text)


def read_text(path: str) -> str:
    """Reads a small text file."""
    with open_file(path) as file:
        return file.read()


def reason(error: Exception) -> str:
    """Why a file operation failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(getattr(error, "message", error)).splitlines()[0].rsplit("; ", 1)[-1]


def _remote(function, *arguments, **options):
    """Calls a function of tf.io.gfile."""
    import tensorflow as tf

    with _os_errors():
        return getattr(tf.io.gfile, function)(*arguments, **options)


@contextlib.contextmanager
def _os_errors():
    """Has TensorFlow's errors raised as those of the operating system."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(reason(error)) from error
    except tf.errors.OpError as error:
        raise OSError(reason(error)) from error


class _RemoteFile(io.RawIOBase):
    """A file of tf.io.gfile as one of Python's."""

    def __init__(self, path, mode):
        self._mode = mode
        self._file = _remote("GFile", path, mode)
        with _os_errors():
            if self.readable():
                self._file.size()  # the file is opened at its first use

    def readable(self):
        return "r" in self._mode

    def writable(self):
        return not self.readable()

    def seekable(self):
        return self.readable()

    def readinto(self, buffer):
        with _os_errors():
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content):
        with _os_errors():
            self._file.write(bytes(content))
        return len(content)

    def seek(self, offset, whence=io.SEEK_SET):
        with _os_errors():
            self._file.seek(offset, whence)
            return self._file.tell()

    def tell(self):
        with _os_errors():
            return self._file.tell()

    def close(self):
        if not self.closed:
            super().close()
            with _os_errors():
                self._file.close()
