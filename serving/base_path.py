"""The versions under a model's base path."""

import os

from common import files
from model.errors import InputError
from serving.limits import MAX_VERSION

SAVED_MODEL = "saved_model.pb"
"""The file that is written last, by which a version is known to be complete."""


def version_number(name: str) -> int | None:
    """Returns the number that a name stands for, or None if it is no name of a version.

    Names are ASCII digits, also with leading zeros, as tensorflow_model_server reads them.

    Args:
      name: Name of a directory, or a version in a request.
    """
    digits = name.lstrip("0") or name[:1]
    # The length is checked first, as the time to convert digits grows with its square.
    if len(digits) > len(str(MAX_VERSION)) or not (digits.isascii() and digits.isdecimal()):
        return None
    number = int(digits)
    return number if number <= MAX_VERSION else None


def list_versions(base_path: str) -> list[int]:
    """Returns the complete versions under a base path, ascending.

    A version is complete when its `saved_model.pb` exists; a base path may appear later.

    Args:
      base_path: Directory of the versions of a model.

    Raises:
      OSError: If there is a base path that cannot be read.
    """
    return sorted(version_paths(base_path))


def version_paths(base_path: str) -> dict[int, str]:
    """Returns the directories of the complete versions under a base path, by number.

    Of several names of one number that without leading zeros counts, or else the shortest.

    Args:
      base_path: Directory of the versions of a model.

    Raises:
      OSError: If there is a base path that cannot be read.
    """
    found: dict[int, str] = {}
    for name in sorted(_list_names(base_path), key=len, reverse=True):
        number, path = version_number(name), os.path.join(base_path, name)
        if number is not None and files.exists(os.path.join(path, SAVED_MODEL)):
            found[number] = path
    return found


def _list_names(base_path: str) -> list[str]:
    """Returns the names in a base path; none where it does not exist."""
    if files.is_local(base_path):
        try:
            return os.listdir(base_path)
        except (FileNotFoundError, NotADirectoryError):
            return []
    _, names, _ = next(iter(files.walk(base_path)), ("", [], []))
    return [name.rstrip("/") for name in names]


def next_version(base_path: str) -> int:
    """Returns the number for a new version under a base path: one above the newest.

    Args:
      base_path: Directory of the versions of a model.

    Raises:
      InputError: If the newest version has the largest number there is.
    """
    newest = max(list_versions(base_path), default=0)
    if newest == MAX_VERSION:
        raise InputError(
            f"{base_path} holds version {newest}, above which there is none; rename that version"
        )
    return newest + 1


def require_versions(base_path: str) -> None:
    """Checks that there is a version under a base path.

    Args:
      base_path: Directory with a directory per version.

    Raises:
      InputError: If there is none.
    """
    try:
        found = list_versions(base_path)
    except OSError as error:
        raise InputError(
            f"{base_path} cannot be read ({files.error_text(error)}); check its permissions"
        ) from error
    if not found:
        raise InputError(
            f"{base_path} holds no model version; push one with `python -m pipeline run`, or give "
            "the directory above the version directories"
        )
