"""Blessings, as TFX's Evaluator writes them: a file `BLESSED`, or `NOT_BLESSED` with the reason.

These files are the one source of truth for whether a model may be pushed.
"""

import os

from common import files
from common.files import read_text, write_text
from model.errors import InputError
from pipeline.store.artifacts import Artifact

BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"


def write(directory: str, objection: str) -> None:
    """Writes the file of a blessing.

    Args:
      directory: Directory of the artifact.
      objection: Reason why the model is not blessed; empty if it is.
    """
    write_text(os.path.join(directory, NOT_BLESSED if objection else BLESSED), objection)


def objection(artifact: Artifact) -> str:
    """Returns the reason why an artifact did not bless its model; empty if it did.

    Raises:
      InputError: If the artifact holds neither file.
    """
    if files.exists(artifact.file(BLESSED)):
        return ""
    refusal = artifact.file(NOT_BLESSED)
    if not files.exists(refusal):
        raise InputError(
            f"{artifact.path} holds neither {BLESSED} nor {NOT_BLESSED}; remove it and run the "
            "stage again"
        )
    return read_text(refusal) or "no reason was given"
