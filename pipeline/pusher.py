"""Pusher: a blessed model into the serving directory, as the next version.

<serving>/<model>/<version>/                 what a model server loads
<serving>/<model>/<version>/lineage.json     where it came from
"""

import json
import os
from typing import NamedTuple

import tensorflow as tf

from model.errors import InputError
from pipeline.artifacts import (
    Artifact,
    Outcome,
    Store,
    copy_tree,
    publish,
    read_text,
    reason,
    write_text,
)
from pipeline.trainer import SAVED_MODEL
from serving.base_path import versions

STAGE = "Pusher"
LINEAGE = "lineage.json"

gfile = tf.io.gfile


class Pushed(NamedTuple):
    """A version in the serving directory.

    Attributes:
      path: its directory.
      version: its number.
      fingerprint: of the Trainer artifact it is a copy of.
      evaluation: fingerprint of the Evaluator artifact that blessed it.
    """

    path: str
    version: int
    fingerprint: str
    evaluation: str


def pushed_versions(base_path: str) -> list[Pushed]:
    """The versions under a model's base path that a Pusher has put there, ascending."""
    found = []
    for version in versions(base_path):
        path = os.path.join(base_path, str(version))
        lineage = os.path.join(path, LINEAGE)
        if gfile.exists(lineage):
            content = json.loads(read_text(lineage))
            found.append(Pushed(path, version, content["model"], content["evaluation"]))
    return found


def pushed_before(base_path: str, model: Artifact) -> Pushed | None:
    """The version pushed last, leaving out those that are this very model."""
    others = [p for p in pushed_versions(base_path) if p.fingerprint != model.fingerprint]
    return others[-1] if others else None


def require_blessed(model: Artifact, evaluation: Artifact, infra_blessing: Artifact) -> None:
    """Checks that a model has both blessings.

    Raises:
      InputError: if one is missing or is of another model.
    """
    for artifact in (evaluation, infra_blessing):
        stage = artifact.manifest.stage
        if artifact.manifest.inputs["model"] != model.fingerprint:
            raise InputError(f"the newest {stage} artifact is of another model; run it again")
    objection = evaluation.manifest.counters["not_blessed"]
    if objection:
        raise InputError(f"the Evaluator did not bless the model: {objection}")


def run(
    store: Store,
    model: Artifact,
    evaluation: Artifact,
    infra_blessing: Artifact,
    base_path: str,
) -> Artifact:
    """Pushes a model; one that is there already, as the newest version, is not pushed again.

    Args:
      store: where artifacts are.
      model: from Trainer.
      evaluation: from Evaluator, blessed.
      infra_blessing: from InfraValidator.
      base_path: `<serving>/<model>`.

    Returns:
      The artifact that says which version it became.

    Raises:
      InputError: if the serving directory cannot be written.
    """
    existing = pushed_versions(base_path)
    newest = existing[-1] if existing else None
    is_newest = newest is not None and newest.fingerprint == model.fingerprint
    version = newest.version if is_newest else max(versions(base_path), default=0) + 1

    def write(directory: str) -> Outcome:
        path = os.path.join(base_path, str(version))
        if not is_newest:
            lineage = {
                "model": model.fingerprint,
                "evaluation": evaluation.fingerprint,
                "infra_blessing": infra_blessing.fingerprint,
                "root": store.root,
            }
            try:
                _copy(model.file(SAVED_MODEL), path, lineage)
            except (tf.errors.PermissionDeniedError, tf.errors.FailedPreconditionError) as error:
                raise InputError(
                    f"{base_path} cannot be written ({reason(error)}); choose --serving_dir"
                ) from error
        pushed = {"version": version, "path": path}
        write_text(os.path.join(directory, "pushed.json"), json.dumps(pushed) + "\n")
        return Outcome(pushed, f"version {version} in {base_path}")

    inputs = {"model": model, "evaluation": evaluation, "infra_blessing": infra_blessing}
    parameters = {"base_path": base_path, "version": version}
    return store.produce(STAGE, __name__, inputs, parameters, write)


def _copy(source, destination, lineage):
    """Copies a SavedModel aside, then makes it appear whole."""
    aside = os.path.join(os.path.dirname(destination), ".pushing")
    if gfile.exists(aside):
        gfile.rmtree(aside)
    copy_tree(source, aside)
    write_text(os.path.join(aside, LINEAGE), json.dumps(lineage, indent=1) + "\n")
    publish(aside, destination, last="saved_model.pb")
