"""Status: it says what a run with the same options would find, and runs nothing."""

import os
import subprocess
import sys

import pytest
from commands import run_module
from conftest import PROJECT, words

from pipeline import orchestration
from pipeline.preset_files import load_preset
from pipeline.stages import context as context_module
from pipeline.stages import graph
from pipeline.stages.context import RunContext
from pipeline.store import blessing
from pipeline.store.artifacts import Outcome, Store
from pipeline.store.manifest import Properties

DATA_STAGES = ("example_gen", "statistics_gen", "schema_gen")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("status") / "words.txt"
    path.write_text(words(12, 30_000))
    return path


@pytest.fixture(scope="module")
def root(corpus, tmp_path_factory):
    """A root with the artifacts of the first three stages."""
    root = tmp_path_factory.mktemp("status") / "root"
    for stage in DATA_STAGES:
        options = ["--corpus", corpus] if stage == "example_gen" else []
        finished = run_module("pipeline", stage, "--root", root, *options)
        assert finished.returncode == 0, finished.stderr
    return root


def states(root, corpus, **options):
    """The state of each stage in words."""
    settings = load_preset("demo", {"corpus": (str(corpus),), **options})
    found = orchestration.states(RunContext(store=Store(str(root)), settings=settings))
    return {state.stage: f"{state.state} {state.by}".strip() for state in found}


def test_only_what_a_run_would_use_is_complete(root, corpus):
    found = states(root, corpus)
    assert [found[stage] for stage in ("ExampleGen", "StatisticsGen", "SchemaGen")] == [
        "complete"
    ] * 3
    assert found["ExampleValidator"] == found["Trainer"] == found["Evaluator"] == "missing"
    assert found["Pusher"] == "waiting Trainer" and "Transform" not in found
    assert states(root, corpus, steps=7) == found
    found = states(root, corpus, shards=3)
    assert set(found.values()) == {"missing", "waiting Trainer"}
    found = states(root, corpus, lowercase=True)
    assert (found["ExampleGen"], found["Transform"]) == ("complete", "missing")
    assert found["StatisticsGen"] == "missing"


def test_a_stage_by_itself_reads_the_corpus_that_was_checked(tmp_path, corpus, monkeypatch):
    """To resolve it again would ask a server twice, and may find another text."""
    resolved = []
    resolve = context_module.resolve_mixture
    monkeypatch.setattr(
        context_module, "resolve_mixture", lambda *given: resolved.append(1) or resolve(*given)
    )
    settings = load_preset("demo", {"corpus": (str(corpus),)})
    context = RunContext(store=Store(str(tmp_path / "root")), settings=settings)
    assert context.text.name == "words"
    with context.store.writing():
        orchestration.run_alone(graph.find_stage(graph.EXAMPLE_GEN), context)
    assert len(resolved) == 1


def plan_of(module, root, corpus, stages):
    """The cache key of a stage after the given ones."""
    settings = load_preset("demo", {"corpus": (str(corpus),)})
    context = RunContext(store=Store(str(root)), settings=settings)
    inputs = {role: context.store.latest(stage) for role, stage in stages.items()}
    return context, module.plan(context, **inputs)


def test_an_interrupted_training_is_told_from_another(root, corpus):
    from pipeline.stages import trainer

    _, key = plan_of(trainer, root, corpus, {"examples": "ExampleGen", "schema": "SchemaGen"})
    partial = root / ".partial" / f"Trainer-{key.fingerprint}"
    partial.mkdir()
    try:
        assert states(root, corpus)["Trainer"] == "interrupted"
        assert states(root, corpus, steps=7)["Trainer"] == "missing"
    finally:
        partial.rmdir()


def test_a_refused_blessing_blocks_what_follows(root, corpus):
    from pipeline.stages import evaluator, trainer

    def write(directory):
        return Outcome(Properties(), "made by a test")

    def refuse(directory):
        blessing.write(directory, "too bad")
        return write(directory)

    with Store(str(root)).writing():
        inputs = {"examples": "ExampleGen", "schema": "SchemaGen"}
        context, key = plan_of(trainer, root, corpus, inputs)
        context.store.produce(key, write)
        assert states(root, corpus)["Pusher"] == "missing"
        inputs = {"model": "Trainer", "examples": "ExampleGen", "statistics": "StatisticsGen"}
        context, key = plan_of(evaluator, root, corpus, inputs)
        context.store.produce(key, refuse)
    found = states(root, corpus)
    assert (found["Trainer"], found["Evaluator"]) == ("complete", "complete")
    assert found["InfraValidator"] == found["Pusher"] == "blocked Evaluator"


def test_the_command_imports_no_tensorflow_and_writes_nothing(root, corpus):
    before = sorted(os.walk(root))
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', 'status', '--root', {str(root)!r}, '--corpus', {str(corpus)!r}]\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'apache_beam'} & set(sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert "SchemaGen         complete" in finished.stdout
    assert sorted(os.walk(root)) == before


def test_status_of_a_root_that_does_not_exist(tmp_path):
    status = run_module("pipeline", "status", "--root", tmp_path / "none")
    assert status.returncode == 0 and "ExampleGen        missing" in status.stdout
    assert "waiting for Trainer" in status.stdout
    assert not (tmp_path / "none").exists()


def test_options_of_a_status_are_checked(tmp_path):
    refused = run_module("pipeline", "status", "--root", tmp_path, "--corpus", "no/such/file")
    assert refused.returncode == 2 and "there is no corpus no/such/file" in refused.stderr
