"""What the command line prints about artifacts."""

import datetime
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich.table

from common import files
from common.progress import console
from pipeline.store.artifacts import Artifact, Store

if TYPE_CHECKING:  # it needs TensorFlow, which not every command that reports does
    from pipeline.store.lineage import Ancestor, Pushed


def report(artifact: Artifact, cached: bool) -> None:
    """One line for an artifact that a stage hands on."""
    manifest = artifact.manifest
    taken = "cached" if cached else f"{manifest.seconds:.1f} s"
    console.print(f"{manifest.stage:<17}{taken:>8}  {manifest.figure}", markup=False)


def print_warning(text: str) -> None:
    """A warning of one line."""
    console.print(text, style="yellow", markup=False)


def print_anomalies(anomalies: Artifact) -> None:
    """The report of an ExampleValidator."""
    for line in anomalies.manifest.counters["report"] or ["no anomalies"]:
        console.print(line, markup=False)


def print_status(store: Store, stages: Sequence[str], now: datetime.datetime) -> None:
    """A table of the stages."""
    table = rich.table.Table("stage", "state", "age", "took", "figure", box=None)
    for stage in stages:
        artifacts = store.all(stage)
        partial = files.glob(os.path.join(store.root, ".partial", f"{stage}-*"))
        state = "interrupted" if partial else ("complete" if artifacts else "missing")
        if not artifacts:
            table.add_row(stage, state, "", "", "")
            continue
        manifest = store.latest(stage).manifest
        age = now - datetime.datetime.fromisoformat(manifest.started)
        table.add_row(
            stage,
            state,
            _age(age.total_seconds()),
            f"{manifest.seconds:.1f} s",
            manifest.figure,
        )
    console.print(table)


def _age(seconds):
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_lineage(pushed: "Pushed", ancestors: list["Ancestor"]) -> None:
    """The artifacts a pushed version came from, indented by distance."""
    console.print(f"version {pushed.version} at {pushed.path}", markup=False)
    for ancestor in ancestors:
        indent = "  " * (ancestor.depth + 1)
        if ancestor.artifact is None:
            what = f"fingerprint {ancestor.fingerprint}"
        else:
            manifest = ancestor.artifact.manifest
            what = f"{manifest.stage} {ancestor.fingerprint}: {manifest.figure}"
            if "checkpoint" in manifest.counters:
                what += f", from {ancestor.artifact.file(manifest.counters['checkpoint'])}"
        console.print(f"{indent}{ancestor.role}: {what}", markup=False)
