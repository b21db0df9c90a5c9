"""Checksums of files, written as `algorithm:hexadecimal digits`."""

import hashlib
from collections.abc import Callable
from typing import Any

import blake3

from common import files

ALGORITHM = "blake3"
BLOCK = 1 << 20

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
