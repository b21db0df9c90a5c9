"""The SavedModels of a Trainer artifact, which the Pusher makes versions with labels of."""

from typing import Literal, get_args

from common import files
from pipeline.store.artifacts import Artifact

Variant = Literal["bfloat16", "int8", "xla", "float32"]
"""The precision of the kernels, or "xla" for float32 kernels and sampling that XLA compiles.

float32, which is always there, comes last.
"""


def directory_name(variant: Variant) -> str:
    """Returns the name of the directory of a variant."""
    return "Format-Serving" + ("" if variant == "float32" else f"-{variant}")


def saved_models(model: Artifact) -> dict[Variant, str]:
    """Returns the paths of the SavedModels of an artifact by variant; float32 comes last."""
    paths = {variant: model.file(directory_name(variant)) for variant in get_args(Variant)}
    return {variant: path for variant, path in paths.items() if files.exists(path)}
