"""What the command line prints about artifacts."""

import datetime
import sys

import rich.table

from pipeline import orchestration, pusher
from pipeline.artifacts import Artifact, Store, gfile
from pipeline.progress import console
from serving.launch import running_server
from serving.protocol import Choices


def report(artifact: Artifact, cached: bool) -> None:
    """One line for an artifact that a stage hands on."""
    manifest = artifact.manifest
    taken = "cached" if cached else f"{manifest.seconds:.1f} s"
    console.print(f"{manifest.stage:<17}{taken:>8}  {manifest.figure}", markup=False)


def print_sample(served: orchestration.Served, prompt: str, length: int) -> None:
    """Serves the newest version and prints a text it writes, asked for over gRPC."""
    if not pusher.pushed_versions(served.base_path):
        return
    with running_server(served.model_name, served.base_path) as client:
        (version,) = client.available_versions()
        (text,) = client.generate([prompt], length, Choices(temperature=0.8))
    console.print(f"\n{served.model_name}, version {version}, over gRPC:\n", markup=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(prompt.encode("utf-8", "surrogateescape") + text.text + b"\n")
    sys.stdout.flush()


def print_warning(text: str) -> None:
    """A warning of one line."""
    console.print(text, style="yellow", markup=False)


def print_anomalies(anomalies: Artifact) -> None:
    """The report of an ExampleValidator."""
    for line in anomalies.manifest.counters["report"] or ["no anomalies"]:
        console.print(line, markup=False)


def print_status(store: Store, now: datetime.datetime) -> None:
    """A table of the stages."""
    table = rich.table.Table("stage", "state", "age", "took", "figure", box=None)
    for stage in orchestration.STAGES:
        artifacts = store.all(stage)
        partial = gfile.glob(f"{store.root}/.partial/{stage}-*")
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
    return f"{seconds:.0f} s"


def print_lineage(pushed: pusher.Pushed, ancestors: list[orchestration.Ancestor]) -> None:
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
