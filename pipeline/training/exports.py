"""The SavedModels of a Trainer artifact, one for each precision of its kernels."""

from typing import TYPE_CHECKING

from common import files
from pipeline.store.artifacts import Artifact

if TYPE_CHECKING:
    from model.config import Precision

SAVED_MODELS: "dict[Precision, str]" = {
    "bfloat16": "Format-Serving-bfloat16",
    "int8": "Format-Serving-int8",
    "float32": "Format-Serving",
}
"""The directory of each; float32, which is always there, comes last."""


def saved_models(model: Artifact) -> "dict[Precision, str]":
    """Returns the paths of the SavedModels of an artifact by precision; float32 comes last."""
    paths = {precision: model.file(name) for precision, name in SAVED_MODELS.items()}
    return {precision: path for precision, path in paths.items() if files.exists(path)}
