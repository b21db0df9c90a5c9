"""The output of the command line about artifacts."""

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Sequence
from typing import Any

import rich.table

from common.files import read_text
from common.progress import console, output
from model.errors import InputError
from pipeline.data.examples import ExamplesProperties
from pipeline.orchestration import StageState
from pipeline.stages import graph
from pipeline.stages.baselines import BASELINES
from pipeline.stages.baselines import Properties as BaselinesProperties
from pipeline.stages.evaluator import Properties as EvaluatorProperties
from pipeline.stages.example_validator import Properties as ExampleValidatorProperties
from pipeline.store.artifacts import Artifact, Store
from pipeline.store.lineage import Ancestor, Pushed
from pipeline.training.properties import TrainerProperties


def report(artifact: Artifact, cached: bool) -> None:
    """Prints a line about an artifact that a stage returns."""
    manifest = artifact.manifest
    taken = "cached" if cached else f"{manifest.seconds:.1f} s"
    console.print(f"{manifest.stage:<17}{taken:>8}  {manifest.summary}", markup=False)


def print_anomalies(anomalies: Artifact) -> None:
    """Prints the report of an ExampleValidator artifact."""
    for line in ExampleValidatorProperties.read(anomalies).report or ["no anomalies"]:
        output.print(line, markup=False)


def print_status(states: Sequence[StageState], now: datetime.datetime) -> None:
    """Prints a table of the stages.

    Args:
      states: State of each stage, in order.
      now: Time of the status, in UTC.
    """
    table = rich.table.Table("stage", "state", "age", "took", "summary", box=None)
    words = {"waiting": "waiting for ", "blocked": "blocked by "}
    for state in states:
        said = words.get(state.state, state.state) + state.by
        if state.artifact is None:
            table.add_row(state.stage, said, "", "", "")
            continue
        manifest = state.artifact.manifest
        age = now - datetime.datetime.fromisoformat(manifest.started)
        table.add_row(
            state.stage,
            said,
            _age(age.total_seconds()),
            f"{manifest.seconds:.1f} s",
            manifest.summary,
        )
    output.print(table)


def status_json(states: Sequence[StageState]) -> str:
    """Returns the state of each stage as JSON, with the manifests of those that are complete."""
    rows = []
    for state in states:
        row: dict[str, Any] = {"stage": state.stage, "state": state.state, "by": state.by}
        if state.artifact:
            row["path"] = state.artifact.path
            row["manifest"] = dataclasses.asdict(state.artifact.manifest)
        rows.append(row)
    return json.dumps(rows, indent=1)


def print_corpora(store: Store) -> None:
    """Prints the corpora that a root has examples of, if there are several."""
    names = {}
    for artifact in store.all(graph.EXAMPLE_GEN):
        names[ExamplesProperties.read(artifact).corpus] = artifact.manifest.summary
    if len(names) > 1:
        output.print(f"\ncorpora of {store.root}: {', '.join(names)}", markup=False)


def print_baselines(store: Store) -> None:
    """Prints a table of the newest baselines, with the model evaluated on the same text."""
    baselines = store.latest(graph.BASELINES)
    properties = BaselinesProperties.read(baselines)
    table = rich.table.Table("bits per character", "by", "took", box=None)
    for row in _baseline_rows(store, baselines):
        took = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        table.add_row(f"{row['bits_per_character']:.3f}", row["method"], took)
    output.print(table)
    told = f"{properties.characters:,} characters of the eval split"
    if left_out := properties.characters_left_out:
        told += f", without its last {left_out:,}, which a model is measured on as well"
    output.print(told, markup=False)


def baselines_json(store: Store) -> str:
    """Returns the newest baselines as JSON, with the model evaluated on the same text."""
    baselines = store.latest(graph.BASELINES)
    return json.dumps(
        {
            "rows": _baseline_rows(store, baselines),
            "manifest": dataclasses.asdict(baselines.manifest),
        },
        indent=1,
    )


def _baseline_rows(store: Store, baselines: Artifact) -> list[dict[str, Any]]:
    """Returns a row per baseline, and one of the model, the best first."""
    seconds = BaselinesProperties.read(baselines).seconds
    measured = json.loads(read_text(baselines.file(BASELINES)))
    rows = [{"name": name, **row, "seconds": seconds[name]} for name, row in measured.items()]
    if evaluation := _evaluation_of_the_same_text(store, baselines):
        fingerprint = evaluation.manifest.inputs["model"]
        model = store.find(fingerprint)
        rows.append(
            {
                "name": "model",
                "method": f"the model {graph.TRAINER}/{fingerprint}",
                "bits_per_character": EvaluatorProperties.read(evaluation).bits_per_character,
                "seconds": model.manifest.seconds if model else None,
            }
        )
    return sorted(rows, key=lambda row: row["bits_per_character"])


def _evaluation_of_the_same_text(store: Store, baselines: Artifact) -> Artifact | None:
    """Returns the evaluation that was used or written last of those of the same characters.

    They are the same if the examples are, and the schema, which says what a character is.
    """
    evaluations = store.all(graph.EVALUATOR)
    with contextlib.suppress(InputError):  # there is none, or it was removed
        evaluations.append(store.latest(graph.EVALUATOR))
    inputs = baselines.manifest.inputs

    def is_of_same(evaluation: Artifact) -> bool:
        model = store.find(evaluation.manifest.inputs["model"])
        return (
            evaluation.manifest.inputs["examples"] == inputs["examples"]
            and model is not None
            and model.manifest.inputs["schema"] == inputs["schema"]
        )

    same = list(filter(is_of_same, evaluations))
    return same[-1] if same else None


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_lineage(pushed: Pushed, ancestors: Sequence[Ancestor]) -> None:
    """Prints the artifacts that a pushed version came from, indented by distance."""
    output.print(f"version {pushed.version} at {pushed.path}", markup=False)
    for ancestor in ancestors:
        indent = "  " * (ancestor.depth + 1)
        output.print(f"{indent}{ancestor.role}: {_told(ancestor)}", markup=False)


def lineage_json(pushed: Pushed, ancestors: Sequence[Ancestor]) -> str:
    """Returns a pushed version and what it came from as JSON."""
    rows = []
    for ancestor in ancestors:
        row: dict[str, Any] = {
            "depth": ancestor.depth,
            "role": ancestor.role,
            "fingerprint": ancestor.fingerprint,
        }
        if ancestor.artifact:
            row["path"] = ancestor.artifact.path
            row["manifest"] = dataclasses.asdict(ancestor.artifact.manifest)
        rows.append(row)
    return json.dumps({**pushed._asdict(), "ancestors": rows}, indent=1)


def _told(ancestor: Ancestor) -> str:
    """Describes an artifact that a version came from."""
    if ancestor.artifact is None:
        stage = _producer(ancestor)
        return f"{stage} {ancestor.fingerprint}: removed" if stage else ancestor.fingerprint
    manifest = ancestor.artifact.manifest
    told = f"{manifest.stage} {ancestor.fingerprint}: {manifest.summary}"
    if manifest.stage == graph.TRAINER:
        checkpoint = TrainerProperties.read(ancestor.artifact).checkpoint
        told += f", from {ancestor.artifact.file(checkpoint)}"
    return told


def _producer(ancestor: Ancestor) -> str:
    """Returns the name of the stage that produced an artifact; empty if it was none."""
    if not ancestor.consumer:
        return {"model": graph.TRAINER, "metrics": graph.EVALUATOR}[ancestor.role]
    return graph.find_any_stage(ancestor.consumer).inputs.get(ancestor.role, "")
