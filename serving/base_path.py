"""The versions under a model's base path."""

import contextlib
import os

import tensorflow as tf

from model.errors import InputError


def versions(base_path: str) -> list[int]:
    """The complete versions under a base path, ascending."""
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
    """Checks that there is something to serve.

    Raises:
      InputError: if not.
    """
    if not versions(base_path):
        raise InputError(
            f"{base_path} holds no model version; push one with `python -m pipeline run`, or give "
            "the directory above the version directories"
        )
