"""Pusher: copies a blessed model into the serving directory, as its next version.

<serving>/<model>/<version>/                 what a model server loads
<serving>/<model>/<version>/lineage.json     see `pipeline.store.lineage`
<serving>/<model>.config                     for --model_config_file, with a label per variant

A model that is also exported in other variants becomes a version per variant; float32 is the
newest.
"""

import dataclasses
import itertools
import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from common import checksums, files
from common.files import error_text, write_text
from model.errors import InputError
from pipeline.stages.context import RunContext
from pipeline.store import blessing, lineage, manifest
from pipeline.store.artifacts import Artifact, Outcome, Store, copy_tree, publish
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import Variant, saved_models
from serving.base_path import SAVED_MODEL, list_versions, next_version, version_paths

NAME = "Pusher"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a Pusher artifact.

    Attributes:
      version: Number of the newest version.
      path: Directory of that version.
      versions: Number of the version of each variant.
    """

    version: int
    path: str
    versions: dict[str, int]


def plan(
    context: RunContext, model: Artifact, evaluation: Fingerprinted, infra_blessing: Fingerprinted
) -> CacheKey:
    """Returns the cache key that `execute` will use; reads which exports the model has."""
    base_path, batching = context.base_path, context.settings.serving.batching
    first = _first_version(context.store, base_path, model, batching, len(saved_models(model)))
    return _cache_key(model, evaluation, infra_blessing, base_path, first, batching)


def execute(
    context: RunContext, model: Artifact, evaluation: Artifact, infra_blessing: Artifact
) -> Artifact:
    """Runs the stage in a context; raises an InputError if the model lacks a blessing."""
    require_blessed(model, evaluation, infra_blessing)
    return run(
        context.store,
        model,
        evaluation,
        infra_blessing,
        context.base_path,
        context.settings.serving.batching,
    )


def check_options(context: RunContext) -> None:
    """Checks that the serving directory can be written, before any stage runs.

    Raises:
      InputError: If it cannot.
    """
    folder = context.served_from
    try:
        files.makedirs(folder)
        probe = os.path.join(folder, f".probe-{uuid.uuid4().hex}")
        write_text(probe, "")
        files.remove(probe)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error_text(error)}); choose --serving_dir"
        ) from error


def _cache_key(
    model: Fingerprinted,
    evaluation: Fingerprinted,
    infra_blessing: Fingerprinted,
    base_path: str,
    first: int,
    batching: Mapping[str, int],
) -> CacheKey:
    inputs = {"model": model, "evaluation": evaluation, "infra_blessing": infra_blessing}
    parameters = {"base_path": base_path, "version": first, "batching": dict(batching)}
    return CacheKey.of(NAME, __name__, inputs, parameters)


def require_blessed(model: Artifact, evaluation: Artifact, infra_blessing: Artifact) -> None:
    """Checks that a model has both blessings.

    Args:
      model: Artifact of Trainer.
      evaluation: Artifact of Evaluator.
      infra_blessing: Artifact of InfraValidator.

    Raises:
      InputError: If one is missing, or is of another model.
    """
    for artifact in (evaluation, infra_blessing):
        stage = artifact.manifest.stage
        if artifact.manifest.inputs["model"] != model.fingerprint:
            raise InputError(f"the newest {stage} artifact is of another model; run it again")
    objection = blessing.objection(evaluation)
    if objection:
        raise InputError(f"the Evaluator did not bless the model: {objection}")


def run(
    store: Store,
    model: Artifact,
    evaluation: Artifact,
    infra_blessing: Artifact,
    base_path: str,
    batching: Mapping[str, int] = {},
) -> Artifact:
    """Pushes a model, unless it is the newest version already.

    Args:
      store: Store of the artifacts.
      model: Artifact of Trainer.
      evaluation: Artifact of Evaluator, blessed.
      infra_blessing: Artifact of InfraValidator.
      base_path: Directory of the model's versions, `<serving>/<model>`.
      batching: Changes of how requests are merged; see `serving.graph.export.set_batching`.
        Default: as exported.

    Returns:
      The artifact that names the version.

    Raises:
      InputError: If the serving directory cannot be written.
    """
    sources = saved_models(model)
    first = _first_version(store, base_path, model, batching, len(sources))
    facts = {
        "model": model.fingerprint,
        "trained_by": model.manifest.stage,
        "evaluation": evaluation.fingerprint,
        "infra_blessing": infra_blessing.fingerprint,
        "batching": dict(batching),
        "root": store.root,
    }

    def write(directory: str) -> Outcome:
        numbers = dict(zip(sources, itertools.count(first), strict=False))
        try:
            # The newest version first, so that a server that polls in between loads it for good.
            for variant, number in reversed(numbers.items()):
                path = os.path.join(base_path, str(number))
                if number not in list_versions(base_path):
                    _copy(model, sources[variant], path, {**facts, "variant": variant})
            write_text(f"{base_path}.config", _config(base_path, numbers))
            _remove_damaged(base_path)
        except OSError as error:
            raise InputError(
                f"{base_path} cannot be written ({error_text(error)}); choose --serving_dir"
            ) from error
        newest = numbers["float32"]
        path = os.path.join(base_path, str(newest))
        versions = {str(variant): number for variant, number in numbers.items()}
        pushed = Properties(version=newest, path=path, versions=versions)
        text = json.dumps(dataclasses.asdict(pushed))
        write_text(os.path.join(directory, "pushed.json"), text + "\n")
        others = "".join(f", {name} {n}" for name, n in numbers.items() if n != newest)
        return Outcome(pushed, f"version {newest}{others} in {base_path}")

    key = _cache_key(model, evaluation, infra_blessing, base_path, first, batching)
    return store.produce(key, write)


def _first_version(
    store: Store, base_path: str, model: Fingerprinted, batching: Mapping[str, int], count: int
) -> int:
    """Returns the number of the first of `count` versions that a model becomes, or is already.

    A damaged version does not count as the model, and no number is used twice: a server may still
    have the version of it that was removed.
    """
    pushed = lineage.pushed_versions(base_path)
    if pushed and (pushed[-1].fingerprint, pushed[-1].batching) == (model.fingerprint, batching):
        first = pushed[-1].version - count + 1
        if not any(one.damage() for one in pushed if one.version >= first):
            return first
    numbers = [next_version(base_path)]
    for artifact in store.all(NAME):
        if artifact.manifest.parameters["base_path"] == base_path:
            numbers += (number + 1 for number in Properties.read(artifact).versions.values())
    return max(numbers)


def _config(base_path: str, numbers: Mapping[Variant, int]) -> str:
    """Returns a ModelServerConfig of the versions as text."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    one = config.model_config_list.config.add(
        name=os.path.basename(base_path),
        base_path=base_path if "://" in base_path else os.path.abspath(base_path),
        model_platform="tensorflow",
    )
    one.model_version_policy.specific.versions.extend(numbers.values())
    for variant, number in numbers.items():
        one.version_labels[variant] = number
    return text_format.MessageToString(config)


def _remove_damaged(base_path: str) -> None:
    """Removes the versions that are not what was pushed, once there is a good one."""
    for version, path in version_paths(base_path).items():
        if lineage.damage(path, version):
            files.rmtree(path)


def _copy(model: Artifact, source: str, destination: str, facts: Mapping[str, Any]) -> None:
    """Copies a SavedModel aside, then moves it to its final name.

    Args:
      model: Artifact of the SavedModel, with the checksums that the copy must have.
      source: Directory of the SavedModel.
      destination: Directory of the version.
      facts: Lineage of the version.

    Raises:
      InputError: If a file is not what the Trainer has written.
    """
    aside = os.path.join(os.path.dirname(destination), ".pushing")
    if files.exists(aside):
        files.rmtree(aside)
    copy_tree(source, aside)
    export = os.path.relpath(source, model.path)
    written = {
        os.path.relpath(name, export): checksum
        for name, checksum in model.manifest.checksums.items()
        if name.startswith(f"{export}/")
    }
    for path, problem in checksums.damage(aside, written).items():
        raise InputError(
            f"{os.path.join(source, os.path.relpath(path, aside))} {problem}; `verify --remove` "
            "removes the artifact, and a run trains again"
        )
    if facts["batching"]:
        from serving.graph.export import set_batching

        set_batching(aside, facts["batching"])
    lineage.write(aside, facts)
    publish(aside, destination, last=SAVED_MODEL)
