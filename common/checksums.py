"""Checksums of files, written as `algorithm:hexadecimal digits`."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import blake3

from common import files

ALGORITHM = "blake3"
BLOCK = 1 << 20

LIST = ".checksums"
"""Suffix of a file with the checksums of the files beside it that share the rest of its name."""

# Manifests of earlier versions have SHA-256, which takes three to ten times as long.
_ALGORITHMS: dict[str, Callable[[], Any]] = {ALGORITHM: blake3.blake3, "sha256": hashlib.sha256}


class Hash:
    """A checksum of content that arrives in pieces."""

    def __init__(self, algorithm: str = ALGORITHM):
        self._algorithm = algorithm
        self._digest = _ALGORITHMS[algorithm]()

    def update(self, content: bytes | bytearray) -> None:
        """Adds the next piece; few large pieces are faster than many small ones."""
        self._digest.update(content)

    @property
    def checksum(self) -> str:
        """The checksum of all pieces so far."""
        return f"{self._algorithm}:{self._digest.hexdigest()}"


def of_file(path: str, algorithm: str = ALGORITHM) -> str:
    """Computes the checksum of a file."""
    found = Hash(algorithm)
    with files.open_file(path, "rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.checksum


def matches(path: str, checksum: str) -> bool:
    """Returns whether a file has a checksum, of any algorithm that is known."""
    algorithm = checksum.partition(":")[0]
    return algorithm in _ALGORITHMS and of_file(path, algorithm) == checksum


def damage(directory: str, written: Mapping[str, str]) -> dict[str, str]:
    """Compares the files of a directory with the checksums that they were written with.

    Args:
      directory: Directory of the files.
      written: Checksums by path, relative to the directory.

    Returns:
      What is wrong with each file that differs, by its path.
    """
    found = {}
    for name, checksum in written.items():
        path = os.path.join(directory, name)
        if not files.exists(path):
            found[path] = "is missing"
        elif not matches(path, checksum):
            found[path] = "is not what was written"
    return found


def write_list(prefix: str) -> None:
    """Writes the checksums of the files that share a prefix, beside them.

    Args:
      prefix: Path of the files, without their suffixes.
    """
    directory, name = os.path.split(prefix)
    written = {}
    for file in files.glob_in(directory, f"{name}.*"):
        if file.endswith(LIST):  # of an earlier writing
            continue
        written[os.path.basename(file)] = of_file(file)
        files.synchronize(file)
    files.write_text(f"{prefix}{LIST}", json.dumps(written, indent=1) + "\n")


def damage_by_list(prefix: str) -> dict[str, str]:
    """Compares the files that share a prefix with the checksums of `write_list`.

    Args:
      prefix: Path of the files, without their suffixes.

    Returns:
      What is wrong with each file that differs, by its path.
    """
    path = f"{prefix}{LIST}"
    try:
        written = json.loads(files.read_text(path))
    except ValueError:
        return {path: "is damaged"}
    return damage(os.path.dirname(prefix), written)
