"""The output of the command line about artifacts."""

import datetime
from collections.abc import Sequence

import rich.table

from common.progress import console
from pipeline.orchestration import StageState
from pipeline.stages import graph
from pipeline.stages.example_validator import Properties as ExampleValidatorProperties
from pipeline.store.artifacts import Artifact
from pipeline.store.lineage import Ancestor, Pushed
from pipeline.training.properties import TrainerProperties


def report(artifact: Artifact, cached: bool) -> None:
    """Prints a line about an artifact that a stage returns."""
    manifest = artifact.manifest
    taken = "cached" if cached else f"{manifest.seconds:.1f} s"
    console.print(f"{manifest.stage:<17}{taken:>8}  {manifest.figure}", markup=False)


def print_warning(text: str) -> None:
    """Prints a warning of one line."""
    console.print(text, style="yellow", markup=False)


def print_anomalies(anomalies: Artifact) -> None:
    """Prints the report of an ExampleValidator artifact."""
    for line in ExampleValidatorProperties.read(anomalies).report or ["no anomalies"]:
        console.print(line, markup=False)


def print_status(states: Sequence[StageState], now: datetime.datetime) -> None:
    """Prints a table of the stages.

    Args:
      states: State of each stage, in order.
      now: Time of the status, in UTC.
    """
    table = rich.table.Table("stage", "state", "age", "took", "figure", box=None)
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
            manifest.figure,
        )
    console.print(table)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_lineage(pushed: Pushed, ancestors: Sequence[Ancestor]) -> None:
    """Prints the artifacts that a pushed version came from, indented by distance."""
    console.print(f"version {pushed.version} at {pushed.path}", markup=False)
    for ancestor in ancestors:
        indent = "  " * (ancestor.depth + 1)
        console.print(f"{indent}{ancestor.role}: {_told(ancestor)}", markup=False)


def _told(ancestor: Ancestor) -> str:
    """Describes an artifact that a version came from."""
    if ancestor.artifact is None:
        stage = _producer(ancestor)
        return f"{stage} {ancestor.fingerprint}: removed" if stage else ancestor.fingerprint
    manifest = ancestor.artifact.manifest
    told = f"{manifest.stage} {ancestor.fingerprint}: {manifest.figure}"
    if manifest.stage == graph.TRAINER:
        checkpoint = TrainerProperties.read(ancestor.artifact).checkpoint
        told += f", from {ancestor.artifact.file(checkpoint)}"
    return told


def _producer(ancestor: Ancestor) -> str:
    """Returns the name of the stage that produced an artifact; empty if it was none."""
    if not ancestor.consumer:
        return {"model": graph.TRAINER, "metrics": graph.EVALUATOR}[ancestor.role]
    return graph.named(ancestor.consumer).inputs.get(ancestor.role, "")
