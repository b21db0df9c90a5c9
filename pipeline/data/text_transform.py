"""The graph that normalises text, a SavedModel among the examples that it made."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from common import files

if TYPE_CHECKING:
    import tensorflow as tf

TRANSFORM_FN = "transform_fn"


def write(directory: str, normalize: bool, lowercase: bool) -> None:
    """Writes the graph into the directory of examples.

    Args:
      directory: Directory of the examples.
      normalize: Whether the graph brings text to Unicode's normal form C.
      lowercase: Whether it converts text to lower case.
    """
    import tensorflow as tf

    from model.text.normalization import TextNormalization

    graph = TextNormalization(normalize, lowercase)
    tf.saved_model.save(graph, os.path.join(directory, TRANSFORM_FN))


def load(examples: str) -> "Callable[[tf.Tensor], tf.Tensor] | None":
    """Loads the graph that made some examples.

    Args:
      examples: Directory of the examples.

    Returns:
      A function of texts `[batch]`; None if the examples hold the text of the corpus as it is.
    """
    path = os.path.join(examples, TRANSFORM_FN)
    if not files.exists(path):
        return None
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  its operations are in the graph

    return tf.saved_model.load(path)
