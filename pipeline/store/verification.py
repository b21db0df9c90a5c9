"""Verification: a comparison of all that the root holds with its checksums."""

import json
import os
from collections.abc import Callable
from functools import partial

import click

from common import checksums, files
from common.progress import progress_bar
from model.errors import InputError
from pipeline.store import lineage
from pipeline.store.artifacts import Store
from serving.base_path import version_paths


def verify(
    store: Store,
    serving_dir: str,
    remove: bool = False,
    describe: Callable[[str], str] = lambda _: "",
    as_json: bool = False,
) -> None:
    """Reads all that has checksums, and prints a line for each file that is damaged.

    These are the artifacts, the served versions, and the checkpoints of interrupted trainings.

    Args:
      store: Store of the artifacts.
      serving_dir: Directory that models are pushed to.
      remove: Whether to remove what is damaged, so that a run makes it again. Of an interrupted
        training the damaged checkpoints alone are removed, and it resumes from an earlier one.
      describe: Function that says more about a damaged file, from its path.
      as_json: Whether to print one JSON object in place of lines. Default False.

    Raises:
      InputError: If there are any, and they were not removed.
    """
    artifacts = store.paths() + store.paths_apart()
    versions = _versions(serving_dir)
    checkpoints = store.unfinished_checkpoints()
    checks: dict[str, Callable[[], dict[str, str]]] = {
        **{path: partial(store.damage, path) for path in artifacts},
        **{path: partial(lineage.damage, path, number) for path, number in versions.items()},
        **{prefix: partial(checksums.damage_by_list, prefix) for prefix in checkpoints},
    }
    damaged: dict[str, dict[str, str]] = {}
    with progress_bar("Verifying", unit="directories") as progress:
        for number, (path, check) in enumerate(checks.items()):
            found = check()
            progress(number + 1, len(checks))
            if found:
                damaged[path] = {file: f"{told}{describe(file)}" for file, told in found.items()}
    if damaged and remove:
        for path in damaged:
            if path in checkpoints:
                _remove_checkpoint(path)
            else:
                files.rmtree(path)
    if as_json:
        summary = {
            "artifacts": len(artifacts),
            "versions": len(versions),
            "checkpoints": len(checkpoints),
            "removed": remove,
        }
        click.echo(json.dumps({**summary, "damaged": damaged}, indent=1))
    else:
        for files_of_one in damaged.values():
            for file, told in files_of_one.items():
                click.echo(f"{file} {told}")
        verb = "removed" if remove else "damaged"
        click.echo(
            f"{len(artifacts)} artifacts, {len(versions)} served versions and {len(checkpoints)} "
            f"checkpoints of interrupted trainings, {len(damaged)} {verb}"
        )
    if damaged and not remove:
        raise InputError(
            f"{len(damaged)} of {len(checks)} artifacts, versions and checkpoints are damaged; "
            "`verify --remove` removes them, and a run makes them again"
        )


def _versions(serving_dir: str) -> dict[str, int]:
    """Returns the number of every served version, by its directory."""
    _, models, _ = next(iter(files.walk(serving_dir)), ("", [], []))
    return {
        path: version
        for name in sorted(models)
        for version, path in sorted(
            version_paths(os.path.join(serving_dir, name.rstrip("/"))).items()
        )
    }


def _remove_checkpoint(prefix: str) -> None:
    """Removes the files of one checkpoint, and the list of their checksums."""
    directory, name = os.path.split(prefix)
    for file in files.glob_in(directory, f"{name}.*"):
        files.remove(file)
