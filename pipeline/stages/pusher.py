"""Pusher: copies a blessed model into the serving directory, as its next version.

<serving>/<model>/<version>/                 what a model server loads
<serving>/<model>/<version>/lineage.json     see `pipeline.store.lineage`
<serving>/<model>.config                     for --model_config_file, with a label per precision

A model that is also exported with smaller kernels becomes a version per precision; float32 is the
newest.
"""

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping

from common import files
from common.files import reason, write_text
from model.config import Precision
from model.errors import InputError
from pipeline.stages.context import RunContext
from pipeline.store import blessing, lineage, manifest
from pipeline.store.artifacts import Artifact, Outcome, Store, copy_tree, publish
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import saved_models
from serving.base_path import SAVED_MODEL, list_versions

NAME = "Pusher"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a Pusher artifact.

    Attributes:
      version: Number of the newest version.
      path: Directory of that version.
      versions: Number of the version of each precision.
    """

    version: int
    path: str
    versions: dict[str, int]


def plan(
    context: RunContext, model: Artifact, evaluation: Fingerprinted, infra_blessing: Fingerprinted
) -> CacheKey:
    """Returns the cache key that `execute` will use; reads which exports the model has."""
    base_path, batching = context.base_path, context.settings.serving.batching
    first = _first_version(base_path, model, batching, len(saved_models(model)))
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
      batching: Changes of how requests are merged; see `serving.graph.batching.set_batching`.
        Default: as exported.

    Returns:
      The artifact that names the version.

    Raises:
      InputError: If the serving directory cannot be written.
    """
    sources = saved_models(model)
    first = _first_version(base_path, model, batching, len(sources))
    facts = {
        "model": model.fingerprint,
        "evaluation": evaluation.fingerprint,
        "infra_blessing": infra_blessing.fingerprint,
        "batching": dict(batching),
        "root": store.root,
    }

    def write(directory: str) -> Outcome:
        numbers = dict(zip(sources, itertools.count(first), strict=False))
        try:
            # The newest version first, so that a server that polls in between loads it for good.
            for precision, number in reversed(numbers.items()):
                path = os.path.join(base_path, str(number))
                if number not in list_versions(base_path):
                    _copy(sources[precision], path, {**facts, "precision": precision}, batching)
            write_text(f"{base_path}.config", _config(base_path, numbers))
        except OSError as error:
            raise InputError(
                f"{base_path} cannot be written ({reason(error)}); choose --serving_dir"
            ) from error
        newest = numbers["float32"]
        path = os.path.join(base_path, str(newest))
        versions = {str(precision): number for precision, number in numbers.items()}
        pushed = Properties(version=newest, path=path, versions=versions)
        text = json.dumps(dataclasses.asdict(pushed))
        write_text(os.path.join(directory, "pushed.json"), text + "\n")
        others = "".join(f", {name} {n}" for name, n in numbers.items() if n != newest)
        return Outcome(pushed, f"version {newest}{others} in {base_path}")

    key = _cache_key(model, evaluation, infra_blessing, base_path, first, batching)
    return store.produce(key, write)


def _first_version(
    base_path: str, model: Fingerprinted, batching: Mapping[str, int], count: int
) -> int:
    """Returns the number of the first of `count` versions that a model becomes, or is already."""
    pushed = lineage.pushed_versions(base_path)
    if pushed and (pushed[-1].fingerprint, pushed[-1].batching) == (model.fingerprint, batching):
        return pushed[-1].version - count + 1
    return max(list_versions(base_path), default=0) + 1


def _config(base_path: str, numbers: Mapping[Precision, int]) -> str:
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
    for precision, number in numbers.items():
        one.version_labels[precision] = number
    return text_format.MessageToString(config)


def _copy(
    source: str, destination: str, facts: Mapping[str, object], batching: Mapping[str, int]
) -> None:
    """Copies a SavedModel aside, then moves it to its final name."""
    aside = os.path.join(os.path.dirname(destination), ".pushing")
    if files.exists(aside):
        files.rmtree(aside)
    copy_tree(source, aside)
    if batching:
        from serving.graph.batching import set_batching

        set_batching(aside, batching)
    lineage.write(aside, facts)
    publish(aside, destination, last=SAVED_MODEL)
