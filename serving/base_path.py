"""The versions under a model's base path."""

import contextlib
import os

import tensorflow as tf

from model.errors import InputError


def list_versions(base_path: str) -> list[int]:
    """Returns the numbers of the complete versions under a base path, ascending.

    Args:
      base_path: Directory with a directory per version; it may not exist yet.
    """
    gfile = tf.io.gfile
    names = []
    with contextlib.suppress(tf.errors.NotFoundError):  # a base path may appear later
        names = gfile.listdir(base_path) if gfile.isdir(base_path) else []
    return sorted(
        int(name.rstrip("/"))
        for name in names
        if name.rstrip("/").isdecimal()
        and gfile.exists(os.path.join(base_path, name, "saved_model.pb"))
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
