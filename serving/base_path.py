"""The versions under a model's base path."""

import os

from common import files
from model.errors import InputError

SAVED_MODEL = "saved_model.pb"
"""The file that is written last, by which a version is known to be complete."""


def list_versions(base_path: str) -> list[int]:
    """Returns the complete versions under a base path, ascending.

    A version is complete when its `saved_model.pb` exists; a base path may appear later.

    Args:
      base_path: Directory of the versions of a model.
    """
    _, names, _ = next(iter(files.walk(base_path)), ("", [], []))
    numbers = [name for name in (name.rstrip("/") for name in names) if name.isdecimal()]
    return sorted(
        int(name) for name in numbers if files.exists(os.path.join(base_path, name, SAVED_MODEL))
    )


def require_versions(base_path: str) -> None:
    """Checks that there is a version under a base path.

    Args:
      base_path: Directory with a directory per version.

    Raises:
      InputError: If there is none.
    """
    if not list_versions(base_path):
        raise InputError(
            f"{base_path} holds no model version; push one with `python -m pipeline run`, or give "
            "the directory above the version directories"
        )
