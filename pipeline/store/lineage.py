"""The versions that the Pusher has put into the serving directory, and where they came from."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import checksums, files
from model.errors import InputError
from pipeline.store.artifacts import Artifact, Store
from pipeline.store.manifest import Fingerprinted
from serving.base_path import version_paths

LINEAGE = "lineage.json"
FORMAT = 1
"""Format of the lineage of a version; one of a later format is left alone."""


class Pushed(NamedTuple):
    """A version in the serving directory.

    Attributes:
      path: Directory of the version.
      version: Number of the version.
      variant: Which export of the model it is, see `training.exports.Variant`.
      batching: Changes that the Pusher made to how requests are merged.
      fingerprint: Fingerprint of the Trainer artifact it is a copy of.
      trained_by: Name of the stage that trained it.
      evaluation: Fingerprint of the Evaluator artifact that blessed it.
      checksums: Checksums of its files but for its lineage, by relative path; empty for a version
        that was pushed before these were written.
    """

    path: str
    version: int
    variant: str
    batching: dict[str, int]
    fingerprint: str
    trained_by: str
    evaluation: str
    checksums: dict[str, str]

    def damage(self) -> dict[str, str]:
        """Returns what is wrong with each file that differs from what was pushed, by its path."""
        return checksums.damage(self.path, self.checksums)


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
    """Writes the lineage of a version, with the checksums of its files, into its directory."""
    written = {
        name: checksums.of_file(os.path.join(path, name))
        for name in files.below(path)
        if name != LINEAGE
    }
    content = json.dumps({"format": FORMAT, **lineage, "checksums": written}, indent=1)
    files.write_text(os.path.join(path, LINEAGE), content + "\n")


def pushed_versions(base_path: str) -> list[Pushed]:
    """Returns the versions under a model's base path that a Pusher has put there, ascending.

    A version whose lineage cannot be read is none of them, so that the model is pushed again.
    """
    found = (_read(path, version) for version, path in sorted(version_paths(base_path).items()))
    return [pushed for pushed in found if pushed]


def _read(path: str, version: int) -> Pushed | None:
    """Reads the lineage of a version; returns None if it has none, or a damaged one."""
    try:
        content = json.loads(files.read_text(os.path.join(path, LINEAGE)))
        return Pushed(
            path=path,
            version=version,
            # Earlier versions had another name for it, and the first only float32.
            variant=content.get("variant", content.get("precision", "float32")),
            batching=content.get("batching", {}),
            fingerprint=content["model"],
            trained_by=content.get("trained_by", "Trainer"),
            evaluation=content["evaluation"],
            checksums=content.get("checksums", {}),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damage(path: str, version: int) -> dict[str, str]:
    """Returns what is wrong with each damaged file of a version, by its path.

    A version that no Pusher has put there, or one of a later version of this software, is taken as
    it is.

    Args:
      path: Directory of the version.
      version: Its number.
    """
    lineage = os.path.join(path, LINEAGE)
    if not files.exists(lineage):
        return {}
    pushed = _read(path, version)
    if pushed:
        return pushed.damage()
    return {} if _is_of_later_format(lineage) else {lineage: "is damaged"}


def _is_of_later_format(path: str) -> bool:
    """Returns whether a file is the lineage of a version that later software has pushed."""
    try:
        return int(json.loads(files.read_text(path))["format"]) > FORMAT
    except (ValueError, KeyError, TypeError):
        return False


def require_trained_by(base_path: str, trained_by: str) -> None:
    """Checks that all versions of a model are of one task.

    Args:
      base_path: Directory of the model's versions.
      trained_by: Name of the stage that trains models of the task.

    Raises:
      InputError: If there are models of another task.
    """
    _versions_of(base_path, trained_by)


def _versions_of(base_path: str, trained_by: str) -> list[Pushed]:
    versions = pushed_versions(base_path)
    for pushed in versions:
        if pushed.trained_by != trained_by:
            raise InputError(
                f"{pushed.path} was trained by {pushed.trained_by}, and the new model by "
                f"{trained_by}; give the new one another --model_name"
            )
    return versions


def pushed_before(base_path: str, model: Fingerprinted | None, trained_by: str) -> Pushed | None:
    """Returns the float32 version that was pushed last, other than copies of this very model.

    Damaged versions do not count.

    Args:
      base_path: Directory of the model's versions.
      model: Artifact of the stage that trained it; None where it is not trained yet.
      trained_by: Name of that stage.

    Raises:
      InputError: If there are models of another task.
    """
    own = model.fingerprint if model else None
    others = (
        pushed
        for pushed in reversed(_versions_of(base_path, trained_by))
        if pushed.fingerprint != own and pushed.variant == "float32"
    )
    return next((pushed for pushed in others if not pushed.damage()), None)


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
