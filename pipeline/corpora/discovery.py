"""The files that a path, a directory or a glob names, and those of them that are left out.

One set of rules holds for files, directories, globs and members of archives: what is hidden or
made by an operating system is left out, what is no text is left out where it lies among others and
refused where a user names it.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from common import files
from model.errors import InputError
from pipeline.corpora import file_types
from pipeline.corpora.file_types import FileType
from pipeline.store.artifacts import PARTIAL

_LITTER_FOLDERS = {"__MACOSX", "__pycache__", "$RECYCLE.BIN", "System Volume Information"}
_LITTER_FILES = {"Thumbs.db", "desktop.ini", "Icon\r"}
_SHOWN = 3


class Source(NamedTuple):
    """One file of a corpus.

    Attributes:
      name: Name of the file in the records; if the corpus is a directory, relative to it.
      path: Path of the file.
      size: Size of the file, in bytes.
      modified: Time of its last change, in nanoseconds; 0 (the default) if unknown.
      packing: Name of the type of a file that must be unpacked; empty (the default) for plain text.
    """

    name: str
    path: str
    size: int
    modified: int = 0
    packing: str = ""


class Rules(NamedTuple):
    """Which files are read.

    Attributes:
      left_out: Directories that are not read, such as the root of the pipeline. Default: none.
      allow_binary: Whether files that are no text are read as they are. Default False.
      follow_links: Whether links that lead out of a directory are followed. Default False.
      max_bytes: Largest size of a download, and of the texts of a packed file. Default: 10^12.
    """

    left_out: tuple[str, ...] = ()
    allow_binary: bool = False
    follow_links: bool = False
    max_bytes: int = 10**12


class Skipped(NamedTuple):
    """A file or a directory that is not read.

    Attributes:
      path: Its path.
      reason: What it is, as in "hidden" or "UTF-16 text".
    """

    path: str
    reason: str


class Found(NamedTuple):
    """What a path names.

    Attributes:
      sources: Files that are read, in order.
      skipped: Files and directories that are not.
    """

    sources: list[Source]
    skipped: list[Skipped]


def describe(skipped: Sequence[Skipped]) -> str:
    """Returns a sentence that says how many files are not read, and why; empty if there are none.

    Example:

      >>> describe([Skipped("a.png", "image/png"), Skipped("b/.git", "hidden")])
      'skipped 2: 1 hidden (b/.git), 1 image/png (a.png)'
    """
    parts = []
    for reason, number in sorted(Counter(one.reason for one in skipped).items()):
        paths = [one.path for one in skipped if one.reason == reason]
        more = ", ..." if number > _SHOWN else ""
        parts.append(f"{number} {reason} ({', '.join(paths[:_SHOWN])}{more})")
    return f"skipped {len(skipped)}: {', '.join(parts)}" if parts else ""


def litter(name: str) -> str:
    """Returns why a file of this relative path is left out; empty if it is not."""
    *folders, file = name.split("/")
    if any(part.startswith(".") for part in (*folders, file)):
        return "hidden"
    if file.endswith("~"):
        return "backup copies"
    if file in _LITTER_FILES or _LITTER_FOLDERS.intersection((*folders, file)):
        return "made by the system"
    return ""


def find(path: str, rules: Rules) -> Found:
    """Returns the files of a corpus.

    Args:
      path: Path of a file or directory, or a glob, in which `**` stands for directories of any
        depth.
      rules: Which files are read.

    Raises:
      InputError: If the path names a file that is no text, or a link leads out of a directory.
      OSError: If a directory or a file cannot be read.
    """
    search = _Search(rules)
    if files.isdir(path):
        search.add_directory(path, path)
    elif files.exists(path):
        search.add_named(path)
    elif not files.has_magic(path):
        search.require_no_link(path)
    else:
        search.add_matches(path)
    return Found(sorted(search.sources.values()), list(search.skipped))


class _Search:
    """A search for files, each of which is found once.

    Attributes:
      sources: Files found so far, by their real paths.
      skipped: Files and directories left out so far, as the keys.
    """

    def __init__(self, rules: Rules):
        self._rules = rules
        self._left_out = {os.path.realpath(path) for path in rules.left_out if files.is_local(path)}
        self.sources: dict[str, Source] = {}
        self.skipped: dict[Skipped, None] = {}

    def add_named(self, path: str) -> None:
        """Adds a file that a user names, whatever its name."""
        _require_regular(path)
        kind = _type_of(path)
        _require_text(path, kind, self._rules)
        self._add(path, os.path.basename(path), kind, files.stat(path))

    def require_no_link(self, path: str) -> None:
        """Checks that a path that does not exist is no dangling link."""
        if files.is_local(path) and os.path.islink(path):
            raise InputError(
                f"{path} is a link to {os.readlink(path)}, which does not exist; give another file"
            )

    def add_directory(self, top: str, base: str) -> None:
        """Adds the files below a directory.

        Args:
          top: Path of the directory.
          base: Directory that the names of the files are relative to.
        """
        if self._is_left_out(top):
            raise InputError(
                f"{top} is both the corpus and the root of the artifacts; choose another --root"
            )
        for folder, folders, names in self._walk(top):
            if folder != top and (PARTIAL in folders or self._is_left_out(folder)):
                self._skip(folder, "root of artifacts")
                folders.clear()
                continue
            folders[:] = sorted(one for one in folders if self._enters(folder, one, base))
            for name in names:
                self._consider(os.path.join(folder, name), base)

    def add_matches(self, pattern: str) -> None:
        """Adds the files that match a glob, and those below the directories that match it."""
        base = files.fixed_part(pattern)
        for path in files.glob(pattern):
            if not all(self._reads(folder, base) for folder in _folders_between(base, path)):
                continue
            if not files.isdir(path):
                self._consider(path, base, matched=True)
            elif self._enters(*os.path.split(path.rstrip("/")), base) and not self._is_root(path):
                self.add_directory(path, base)

    def _reads(self, folder: str, base: str) -> bool:
        """Returns whether matches of a glob within a directory are read."""
        reason = self._problem_of_link(folder, base)
        if reason:
            self._skip(folder, reason)
        return not reason and not self._is_root(folder)

    def _is_left_out(self, path: str) -> bool:
        return files.is_local(path) and os.path.realpath(path) in self._left_out

    def _is_root(self, folder: str) -> bool:
        """Returns whether a directory is a root of artifacts, this run's or another's."""
        found = self._is_left_out(folder) or files.isdir(os.path.join(folder, PARTIAL))
        if found:
            self._skip(folder, "root of artifacts")
        return found

    def _skip(self, path: str, reason: str) -> None:
        self.skipped[Skipped(path, reason)] = None

    def _walk(self, top: str) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yields directories, from the top down; each once, even if links lead back to it."""
        if not (self._rules.follow_links and files.is_local(top)):
            yield from files.walk(top, _raise)
            return
        visited = set()
        for folder, folders, names in os.walk(top, onerror=_raise, followlinks=True):
            if (real := os.path.realpath(folder)) in visited:
                folders.clear()
                continue
            visited.add(real)
            yield folder, folders, names

    def _enters(self, folder: str, name: str, base: str) -> bool:
        """Returns whether the files below a directory are read."""
        path = os.path.join(folder, name)
        reason = litter(name) or self._problem_of_link(path, base)
        if reason:
            self._skip(path, reason)
        return not reason

    def _consider(self, path: str, base: str, matched: bool = False) -> None:
        """Adds a file that lies among others, unless the rules leave it out.

        Args:
          path: Path of the file.
          base: Directory that its name is relative to.
          matched: Whether the file matches a glob itself, which may ask for hidden files.
        """
        reason = "" if matched else litter(os.path.basename(path))
        if reason := reason or self._problem_of_link(path, base) or _irregular(path):
            self._skip(path, reason)
            return
        status = files.stat(path)
        kind = _type_of(path)
        if not status.length:
            self._skip(path, "empty")
        elif kind.role == "other" and not self._rules.allow_binary:
            self._skip(path, kind.name)
        else:
            self._add(path, os.path.relpath(path, base or "."), kind, status)

    def _problem_of_link(self, path: str, base: str) -> str:
        """Returns why a link is left out; empty if it is not, or if the path is no link.

        Raises:
          InputError: If it leads out of the directory.
        """
        if not (files.is_local(path) and os.path.islink(path)):
            return ""
        if not os.path.exists(path):
            return "dangling link"
        target, top = os.path.realpath(path), os.path.realpath(base or ".")
        if os.path.commonpath([target, top]) == top:
            return "link to a directory" if os.path.isdir(target) else ""
        if not self._rules.follow_links:
            raise InputError(
                f"{path} is a link to {target}, outside of {base or '.'}; remove it, or read what "
                "links lead to with --follow_links"
            )
        return ""

    def _add(self, path: str, name: str, kind: FileType, status: files.Stat) -> None:
        """Adds a file, unless it was found already; the lesser of two names is kept."""
        source = Source(name, path, status.length, status.mtime_nsec, _packing(kind))
        real = os.path.realpath(path) if files.is_local(path) else path
        known = self.sources.get(real, source)
        if known.path != path:
            self._skip(max(known, source).path, "read under another name")
        self.sources[real] = min(known, source)


def _raise(error: OSError) -> NoReturn:
    raise error


def _folders_between(base: str, path: str) -> list[str]:
    """Returns the directories below a directory that lie above a path, from the top down."""
    parts = os.path.relpath(path, base or ".").split("/")[:-1]
    return [os.path.join(base, *parts[: n + 1]) for n in range(len(parts))]


def typed(source: Source, label: str, rules: Rules) -> Source:
    """Returns a file with the type of its packing.

    Args:
      source: File of which only name, path and size are known.
      label: Its name in messages.
      rules: Files that are read.

    Raises:
      InputError: If it is no text.
    """
    kind = _type_of(source.path)
    _require_text(label, kind, rules)
    return source._replace(packing=_packing(kind))


def _packing(kind: FileType) -> str:
    return kind.name if kind.role in ("packed", "archive") else ""


def _require_text(label: str, kind: FileType, rules: Rules) -> None:
    if kind.role == "other" and not rules.allow_binary:
        raise InputError(
            f"{label} is no text: it is {_with_article(kind.name)}; {kind.remedy}, or read its "
            "bytes as they are with --allow_binary"
        )


def _type_of(path: str) -> FileType:
    with files.open_file(path, "rb") as file:
        return file_types.type_of(file.read(file_types.SAMPLE))


def _irregular(path: str) -> str:
    """Returns what a path that is no regular file is; empty for a regular file."""
    if not files.is_local(path):
        return ""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return ""
    kinds = {
        stat.S_IFIFO: "pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _require_regular(path: str) -> None:
    if kind := _irregular(path):
        raise InputError(
            f"{path} is a {kind}, which can be read only once, and a corpus is read several times; "
            "write the text to a file first"
        )


def _with_article(name: str) -> str:
    article = "an" if name[0] in "AEIO" else "a"
    return name if name.endswith(("text", "data")) or "/" in name else f"{article} {name}"
