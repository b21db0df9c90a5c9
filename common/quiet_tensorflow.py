"""Imports TensorFlow without the notices that it writes before it can be told not to."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

# Users of a command line need no notices of what TensorFlow did not find. It reads these variables
# at its import, which happens when a command runs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_lock = threading.Lock()


def import_tensorflow() -> None:
    """Imports TensorFlow and tensorflow-text, unless they are imported already.

    Keras is kept from finding matplotlib and scikit-learn, whose import takes a quarter of the
    time.
    """
    with _lock:
        if "tensorflow" in sys.modules and "tensorflow_text" in sys.modules:
            return
        stderr = os.dup(2)
        with open(os.devnull, "wb") as nowhere, _hidden("matplotlib", "sklearn"):
            os.dup2(nowhere.fileno(), 2)
            try:
                import tensorflow  # noqa: F401
                import tensorflow_text  # noqa: F401
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)


@contextlib.contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Makes modules that are not imported yet impossible to find."""
    hidden = [module for module in modules if module not in sys.modules]
    for module in hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # as the import system has it
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]
