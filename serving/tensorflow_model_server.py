"""TensorFlow Serving's own server, where it is installed."""

import shutil

NAME = "tensorflow_model_server"
"""Name of its command."""


def path() -> str | None:
    """Returns the path of the server; None if it is not on the PATH."""
    return shutil.which(NAME)
