"""InfraValidator: whether a server can load the exported model and answer with it.

INFRA_BLESSED     which says by which server
"""

import math
import os
import shutil

from common import files
from common.files import write_text
from pipeline.stages.names import INFRA_VALIDATOR
from pipeline.stages.trainer import saved_models
from pipeline.store.artifacts import Artifact, Outcome, Store, copy_tree
from serving.client.launch import TENSORFLOW_MODEL_SERVER, running_server

INFRA_BLESSED = "INFRA_BLESSED"
SIGNATURES = {
    "generate", "score", "embed", "inspect", "classify", "regress", "serving_default"
}  # fmt: skip
LENGTH = 20


class InfraError(Exception):
    """The served model answers, but not as it should."""


def run(store: Store, model: Artifact) -> Artifact:
    """Starts a server on the export and asks it over gRPC for its metadata, a text and a score.

    Args:
      store: where artifacts are.
      model: from Trainer.

    Returns:
      The artifact with `INFRA_BLESSED`.

    Raises:
      InputError: if the server does not start or refuses.
      InfraError: if an answer is wrong.
    """
    kind = TENSORFLOW_MODEL_SERVER if shutil.which(TENSORFLOW_MODEL_SERVER) else "embedded server"

    def write(directory: str) -> Outcome:
        for saved_model in saved_models(model).values():
            base_path = os.path.join(directory, "versions")
            copy_tree(saved_model, os.path.join(base_path, "1"))
            _ask(base_path)
            files.rmtree(base_path)
        write_text(os.path.join(directory, INFRA_BLESSED), kind + "\n")
        return Outcome({"server": kind}, f"answers over gRPC from the {kind}")

    return store.produce(INFRA_VALIDATOR, __name__, {"model": model}, {"server": kind}, write)


def _ask(base_path):
    with running_server("candidate", base_path) as client:
        signatures = set(client.metadata().signature_def)
        (text,) = client.generate([""], LENGTH)
        (score,) = client.score([text.text])
    if not signatures >= SIGNATURES:
        raise InfraError(f"the served model lacks {', '.join(SIGNATURES - signatures)}")
    total = -float(text.log_probabilities.sum()) / math.log(2)
    if not math.isclose(total, score.bits_per_character * LENGTH, rel_tol=1e-3, abs_tol=1e-3):
        raise InfraError(
            f"the text was generated at {total:.3f} bits, but scores "
            f"{score.bits_per_character * LENGTH:.3f}"
        )
