"""The versions that the Pusher has put into the serving directory, and where they came from."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import files
from model.errors import InputError
from pipeline.store.artifacts import Artifact, Store
from pipeline.store.manifest import Fingerprinted
from serving.base_path import list_versions

LINEAGE = "lineage.json"


class Pushed(NamedTuple):
    """A version in the serving directory.

    Attributes:
      path: Directory of the version.
      version: Number of the version.
      precision: Precision of its kernels: "float32", "bfloat16" or "int8".
      batching: Changes that the Pusher made to how requests are merged.
      fingerprint: Fingerprint of the Trainer artifact it is a copy of.
      evaluation: Fingerprint of the Evaluator artifact that blessed it.
    """

    path: str
    version: int
    precision: str
    batching: dict[str, int]
    fingerprint: str
    evaluation: str


class Ancestor(NamedTuple):
    """An artifact that a version came from.

    Attributes:
      depth: Number of steps from the version to it.
      role: Role in which it was an input.
      consumer: Name of the stage that it was an input of; empty for those of the version itself.
      artifact: The artifact; None if it was removed, or lay outside of the store.
      fingerprint: Fingerprint of the artifact.
    """

    depth: int
    role: str
    consumer: str
    artifact: Artifact | None
    fingerprint: str


def write(path: str, lineage: Mapping[str, Any]) -> None:
    """Writes the lineage of a version, which `pushed_versions` reads, into its directory."""
    files.write_text(os.path.join(path, LINEAGE), json.dumps(lineage, indent=1) + "\n")


def pushed_versions(base_path: str) -> list[Pushed]:
    """Returns the versions under a model's base path that a Pusher has put there, ascending."""
    found = []
    for version in list_versions(base_path):
        path = os.path.join(base_path, str(version))
        lineage = os.path.join(path, LINEAGE)
        if files.exists(lineage):
            content = json.loads(files.read_text(lineage))
            found.append(
                Pushed(
                    path=path,
                    version=version,
                    precision=content.get("precision", "float32"),  # earlier versions had no other
                    batching=content.get("batching", {}),
                    fingerprint=content["model"],
                    evaluation=content["evaluation"],
                )
            )
    return found


def pushed_before(base_path: str, model: Fingerprinted) -> Pushed | None:
    """Returns the float32 version that was pushed last, other than copies of this very model."""
    others = [
        pushed
        for pushed in pushed_versions(base_path)
        if pushed.fingerprint != model.fingerprint and pushed.precision == "float32"
    ]
    return others[-1] if others else None


def find_version(base_path: str, version: int) -> Pushed:
    """Returns a pushed version.

    Args:
      base_path: Directory of the model's versions.
      version: Number of the version; 0 for the newest.

    Raises:
      InputError: If there is no such version.
    """
    pushed = pushed_versions(base_path)
    chosen = [p for p in pushed if version in (0, p.version)]
    if not chosen:
        numbers = ", ".join(str(p.version) for p in pushed) or "none"
        raise InputError(
            f"{base_path} has no version {version or 'at all'}; there are: {numbers}; push one "
            "with `python -m pipeline run`, or choose --model_name"
        )
    return chosen[-1]


def ancestors(store: Store, pushed: Pushed) -> list[Ancestor]:
    """Returns the artifacts that a pushed version came from, each below what was made from it."""
    found: list[Ancestor] = []

    def visit(fingerprint: str, role: str, depth: int, consumer: str) -> None:
        artifact = store.find(fingerprint)
        found.append(
            Ancestor(
                depth=depth,
                role=role,
                consumer=consumer,
                artifact=artifact,
                fingerprint=fingerprint,
            )
        )
        if artifact:
            for name, parent in artifact.manifest.inputs.items():
                visit(parent, name, depth + 1, artifact.manifest.stage)

    visit(pushed.fingerprint, "model", 0, "")
    evaluation = store.find(pushed.evaluation)
    found.append(
        Ancestor(
            depth=0,
            role="metrics",
            consumer="",
            artifact=evaluation,
            fingerprint=pushed.evaluation,
        )
    )
    return found
