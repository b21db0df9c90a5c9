"""Functions on files of any filesystem, named as those of tf.io.gfile.

Local files are accessed by the standard library, others by tf.io.gfile, which is imported at the
first such access: TensorFlow takes seconds and half a gigabyte, which workers that read and write
records do not need.

Every function raises OSError, whatever the filesystem.
"""

import contextlib
import glob as local_glob
import io
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from common.quiet_tensorflow import import_tensorflow


class Stat(NamedTuple):
    """The status of a file.

    Attributes:
      length: Size of the file, in bytes.
      mtime_nsec: Time of its last change, in nanoseconds since 1970.
    """

    length: int
    mtime_nsec: int


def is_local(path: str) -> bool:
    """Returns whether a path is on a filesystem of this machine."""
    return "://" not in path


def open_file(path: str, mode: str = "r") -> IO[Any]:
    """Opens a file; text is UTF-8, without translation of line ends.

    Args:
      path: Path of the file.
      mode: Mode, as for `open`. Default "r".
    """
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    if is_local(path):
        return open(path, mode, encoding=encoding, newline=newline)
    raw = _RemoteFile(path, mode.replace("b", "") + "b")
    buffered = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, newline=newline) if encoding else buffered


def exists(path: str) -> bool:
    """Returns whether there is such a file or directory."""
    return os.path.exists(path) if is_local(path) else _remote("exists", path)


def isdir(path: str) -> bool:
    """Returns whether there is such a directory."""
    return os.path.isdir(path) if is_local(path) else _remote("isdir", path)


def glob(pattern: str) -> list[str]:
    """Returns the files and directories that match a pattern, sorted.

    On this machine `**` stands for any number of directories, none of them hidden.
    """
    if is_local(pattern):
        return sorted(local_glob.glob(pattern, recursive=True))
    return sorted(_remote("glob", pattern))


def glob_in(directory: str, pattern: str) -> list[str]:
    """Returns the files and directories in a directory that match a pattern, sorted.

    Args:
      directory: Path of the directory; a local one is no pattern, whatever characters it has.
      pattern: Pattern, relative to the directory.
    """
    escaped = local_glob.escape(directory) if is_local(directory) else directory
    return glob(os.path.join(escaped, pattern))


def below(directory: str) -> list[str]:
    """Returns the paths of all files below a directory, relative to it, sorted."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), directory)
        for folder, _, names in walk(directory)
        for name in names
    )


def has_magic(path: str) -> bool:
    """Returns whether a path is a pattern for `glob`."""
    return local_glob.has_magic(path)


def fixed_part(pattern: str) -> str:
    """Returns the directory at the beginning of a pattern, up to the first part that is one.

    Example:

      >>> fixed_part("texts/*/a?.txt")
      'texts'
    """
    parts = pattern.split("/")
    count = next((n for n, part in enumerate(parts) if has_magic(part)), len(parts))
    return "/".join(parts[:count]) or ("/" if pattern.startswith("/") else "")


def walk(
    top: str, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields directories, from the top down, with the names of their directories and files.

    Args:
      top: Path of the first directory.
      on_error: Function that is called with the error of a directory on this machine that cannot
        be read. Default: it is passed over.
    """
    return os.walk(top, onerror=on_error) if is_local(top) else _remote("walk", top)


def stat(path: str) -> Stat:
    """Returns the size of a file and the time of its last change."""
    if not is_local(path):
        found = _remote("stat", path)
        return Stat(found.length, found.mtime_nsec)
    found = os.stat(path)
    return Stat(found.st_size, found.st_mtime_ns)


def makedirs(path: str) -> None:
    """Creates a directory and those above it, unless they exist."""
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
    """Removes a directory with its content."""
    if is_local(path):
        shutil.rmtree(path)
    else:
        _remote("rmtree", path)


def rename(source: str, destination: str) -> None:
    """Renames a file or directory; a file of the new name is replaced."""
    if is_local(source):
        os.replace(source, destination)
    else:
        _remote("rename", source, destination, overwrite=True)


def copy(source: str, destination: str) -> None:
    """Copies a file; a file of the new name is replaced."""
    if is_local(source) and is_local(destination):
        shutil.copyfile(source, destination)
    else:
        _remote("copy", source, destination, overwrite=True)


_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp$")


def is_unfinished(path: str) -> bool:
    """Returns whether a file has the name of one that `replacing` has not finished.

    >>> is_unfinished("draft.tmp")
    False

    Args:
      path: Path of the file.
    """
    return bool(_UNFINISHED.search(path))


@contextlib.contextmanager
def replacing(path: str, mode: str) -> Iterator[IO[Any]]:
    """Opens a file for writing that appears under its path only when it is complete.

    Any number of writers may do so at once. One that fails or dies leaves a file with a unique name
    that ends in `.tmp`.

    Args:
      path: Path of the file.
      mode: Mode, as for `open_file`.
    """
    unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
    with open_file(unfinished, mode) as file:
        yield file
    rename(unfinished, path)


def write_text(path: str, text: str) -> None:
    """Writes a small text file, which any number of writers may do at once; see `replacing`.

    It is there after a loss of power, too.
    """
    with replacing(path, "w") as file:
        file.write(text)
        if is_local(path):
            file.flush()
            os.fsync(file.fileno())
    synchronize(os.path.dirname(path))


def synchronize(path: str) -> None:
    """Waits until a file, or the list of files of a directory, is on the disk of this machine.

    Other filesystems are durable by themselves.
    """
    if is_local(path):
        descriptor = os.open(path or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_text(path: str) -> str:
    """Reads a small text file; returns its content."""
    with open_file(path) as file:
        return file.read()


def error_text(error: Exception) -> str:
    """Returns why a file operation failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(getattr(error, "message", error)).splitlines()[0].rsplit("; ", 1)[-1]


def _remote(function: str, *arguments: Any, **options: Any) -> Any:
    """Calls a function of tf.io.gfile."""
    import_tensorflow()
    import tensorflow as tf

    with _os_errors():
        return getattr(tf.io.gfile, function)(*arguments, **options)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raises TensorFlow's errors as those of the operating system."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error_text(error)) from error
    except tf.errors.OpError as error:
        raise OSError(error_text(error)) from error


class _RemoteFile(io.RawIOBase):
    """A file of tf.io.gfile with the interface of Python's."""

    def __init__(self, path: str, mode: str):
        self._mode = mode
        self._file = _remote("GFile", path, mode)
        with _os_errors():
            if self.readable():
                self._file.size()  # the file is opened at its first use

    def readable(self) -> bool:
        return "r" in self._mode

    def writable(self) -> bool:
        return not self.readable()

    def seekable(self) -> bool:
        return self.readable()

    def readinto(self, buffer: Any) -> int:
        with _os_errors():
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content: Any) -> int:
        with _os_errors():
            self._file.write(bytes(content))
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_errors():
            self._file.seek(offset, whence)
            return self._file.tell()

    def tell(self) -> int:
        with _os_errors():
            return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            with _os_errors():
                self._file.close()
