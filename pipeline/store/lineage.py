"""What the Pusher has put into the serving directory, and where it came from."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import files
from model.errors import InputError
from pipeline.store.artifacts import Artifact, Store
from serving.base_path import versions

LINEAGE = "lineage.json"


class Pushed(NamedTuple):
    """A version in the serving directory.

    Attributes:
      path: its directory.
      version: its number.
      precision: of its kernels.
      batching: what the Pusher changed of how it merges requests.
      fingerprint: of the Trainer artifact it is a copy of.
      evaluation: fingerprint of the Evaluator artifact that blessed it.
    """

    path: str
    version: int
    precision: str
    batching: dict[str, int]
    fingerprint: str
    evaluation: str


class Ancestor(NamedTuple):
    """One artifact that a version came from.

    Attributes:
      depth: how many steps away.
      role: what it was to that which was made of it.
      artifact: the artifact; None where the store has it no longer.
      fingerprint: of the artifact.
    """

    depth: int
    role: str
    artifact: Artifact | None
    fingerprint: str


def write(path: str, lineage: Mapping[str, Any]) -> None:
    """Writes into the directory of a version what `pushed_versions` reads there."""
    files.write_text(os.path.join(path, LINEAGE), json.dumps(lineage, indent=1) + "\n")


def pushed_versions(base_path: str) -> list[Pushed]:
    """The versions under a model's base path that a Pusher has put there, ascending."""
    found = []
    for version in versions(base_path):
        path = os.path.join(base_path, str(version))
        lineage = os.path.join(path, LINEAGE)
        if files.exists(lineage):
            content = json.loads(files.read_text(lineage))
            found.append(
                Pushed(
                    path,
                    version,
                    content.get("precision", "float32"),  # what those before had
                    content.get("batching", {}),
                    content["model"],
                    content["evaluation"],
                )
            )
    return found


def pushed_before(base_path: str, model: Artifact) -> Pushed | None:
    """The version in float32 pushed last, leaving out those that are this very model."""
    others = [
        pushed
        for pushed in pushed_versions(base_path)
        if pushed.fingerprint != model.fingerprint and pushed.precision == "float32"
    ]
    return others[-1] if others else None


def find_version(base_path: str, version: int) -> Pushed:
    """A pushed version; 0 is the newest.

    Raises:
      InputError: if there is no such version.
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
    """The artifacts a pushed version came from, each below what was made of it."""
    found: list[Ancestor] = []

    def visit(fingerprint: str, role: str, depth: int) -> None:
        artifact = store.find(fingerprint)
        found.append(Ancestor(depth, role, artifact, fingerprint))
        for name, parent in artifact.manifest.inputs.items() if artifact else ():
            visit(parent, name, depth + 1)

    visit(pushed.fingerprint, "model", 0)
    evaluation = store.find(pushed.evaluation)
    found.append(Ancestor(0, "metrics", evaluation, pushed.evaluation))
    return found
