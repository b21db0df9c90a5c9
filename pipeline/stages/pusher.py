"""Pusher: a blessed model into the serving directory, as the next version.

<serving>/<model>/<version>/                 what a model server loads
<serving>/<model>/<version>/lineage.json     where it came from
<serving>/<model>.config                     for --model_config_file, with a label per precision

A model that is quantized, too, becomes a version per precision; that in float32 is the newest.
"""

import itertools
import json
import os
from collections.abc import Mapping

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from common import files
from common.files import reason, write_text
from model.errors import InputError
from pipeline.stages.names import PUSHER
from pipeline.stages.trainer import saved_models
from pipeline.store import lineage
from pipeline.store.artifacts import Artifact, Outcome, Store, copy_tree, publish
from serving.base_path import versions
from serving.graph.batching import rebatch


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
    batching: Mapping[str, int] = {},
) -> Artifact:
    """Pushes a model; one that is there already, as the newest version, is not pushed again.

    Args:
      store: where artifacts are.
      model: from Trainer.
      evaluation: from Evaluator, blessed.
      infra_blessing: from InfraValidator.
      base_path: `<serving>/<model>`.
      batching: how requests are to be merged, otherwise than exported; see `batching.rebatch`.

    Returns:
      The artifact that says which version it became.

    Raises:
      InputError: if the serving directory cannot be written.
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
            # The newest version first: a server that looks in between is not to go back and forth.
            for precision, number in reversed(numbers.items()):
                path = os.path.join(base_path, str(number))
                if number not in versions(base_path):
                    _copy(sources[precision], path, {**facts, "precision": precision}, batching)
            write_text(f"{base_path}.config", _config(base_path, numbers))
        except OSError as error:
            raise InputError(
                f"{base_path} cannot be written ({reason(error)}); choose --serving_dir"
            ) from error
        newest = numbers["float32"]
        path = os.path.join(base_path, str(newest))
        pushed = {"version": newest, "path": path, "versions": numbers}
        write_text(os.path.join(directory, "pushed.json"), json.dumps(pushed) + "\n")
        others = "".join(f", {name} {n}" for name, n in numbers.items() if n != newest)
        return Outcome(pushed, f"version {newest}{others} in {base_path}")

    inputs = {"model": model, "evaluation": evaluation, "infra_blessing": infra_blessing}
    parameters = {"base_path": base_path, "version": first, "batching": dict(batching)}
    return store.produce(PUSHER, __name__, inputs, parameters, write)


def _first_version(base_path, model, batching, count):
    """The number of the first of the versions that a model becomes, or has become already."""
    pushed = lineage.pushed_versions(base_path)
    if pushed and (pushed[-1].fingerprint, pushed[-1].batching) == (model.fingerprint, batching):
        return pushed[-1].version - count + 1
    return max(versions(base_path), default=0) + 1


def _config(base_path, numbers):
    """A ModelServerConfig as text."""
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


def _copy(source, destination, facts, batching):
    """Copies a SavedModel aside, then makes it appear whole."""
    aside = os.path.join(os.path.dirname(destination), ".pushing")
    if files.exists(aside):
        files.rmtree(aside)
    copy_tree(source, aside)
    if batching:
        rebatch(aside, batching)
    lineage.write(aside, facts)
    publish(aside, destination, last="saved_model.pb")
