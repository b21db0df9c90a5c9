"""The graph of the stages: it fits the stages' modules, the commands and the picture."""

import inspect
import subprocess
import sys
import types

import pytest
from conftest import PROJECT

from pipeline import orchestration
from pipeline.__main__ import commands
from pipeline.preset_files import load_preset
from pipeline.reports.graph_picture import to_dot
from pipeline.stages import graph
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Outcome, Store, command_of
from pipeline.store.manifest import CacheKey, Properties


@pytest.mark.parametrize("stage", graph.STAGES, ids=lambda stage: stage.run)
def test_a_stage_takes_the_inputs_that_are_declared(stage):
    for name in ("plan", "execute", "check_inputs"):
        if function := getattr(stage.module, name, None):
            first, *roles = inspect.signature(function).parameters
            assert (first, set(roles)) == ("context", set(stage.inputs))
    assert stage.name == stage.module.NAME
    assert issubclass(stage.module.Properties, Properties)
    for role, (first, *others) in stage.ancestry.items():
        found = stage.inputs[first]
        for other in others:
            found = graph.find_stage(found).inputs[other]
        assert found == stage.inputs[role]


def test_producers_come_before_their_consumers():
    seen = set()
    for stage in graph.STAGES:
        assert {*stage.inputs.values(), *stage.after} <= seen
        seen.add(stage.name)


def test_every_stage_has_its_command():
    for stage in graph.STAGES:
        assert stage.run == command_of(stage.name)
        assert commands.commands[stage.run].help == stage.help


def test_an_optional_stage_is_replaced_by_its_input():
    for options, expected in (({}, graph.EXAMPLE_GEN), ({"lowercase": True}, graph.TRANSFORM)):
        settings = load_preset("demo", options)
        parts = [stage.name for stage in graph.stages_of(settings)]
        assert (graph.TRANSFORM in parts) == bool(options)
        trainer = graph.find_stage(graph.TRAINER)
        assert graph.producers(trainer, settings)["examples"] == expected


def test_the_picture_is_that_of_the_graph():
    assert (PROJECT / "docs" / "pipeline.dot").read_text() == to_dot(graph.STAGES)


def test_stages_are_planned_without_tensorflow_and_beam():
    code = (
        "import sys; from pipeline.stages import graph; "
        "[stage.module for task in graph.TASKS for stage in graph.stages_of_task(task)]; "
        "assert not {'tensorflow', 'apache_beam', 'numpy'} & set(sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True)
    assert finished.returncode == 0, finished.stderr


def test_a_stage_that_is_declared_is_run_planned_and_drawn(monkeypatch, tmp_path, corpus_file):
    def plan(context, schema):
        return CacheKey.of("Toy", "pipeline.stages.context", {"schema": schema}, {})

    def execute(context, schema):
        key = plan(context, schema)
        return context.store.produce(key, lambda _: Outcome(Properties(), "made"))

    module = types.ModuleType("pipeline.stages.toy")
    module.plan, module.execute = plan, execute
    monkeypatch.setitem(sys.modules, module.__name__, module)
    toy = graph.Stage("Toy", "toy", "Play.", inputs={"schema": graph.SCHEMA_GEN})
    first = [graph.EXAMPLE_GEN, graph.TRANSFORM, graph.STATISTICS_GEN, graph.SCHEMA_GEN]
    monkeypatch.setattr(graph, "STAGES", (*map(graph.find_stage, first), toy))
    settings = load_preset("demo", {"corpus": (str(corpus_file),)})
    context = RunContext(store=Store(str(tmp_path)), settings=settings)
    assert [state.state for state in orchestration.states(context)] == ["missing"] * 4
    with context.store.writing():
        orchestration.run_all(context)
    assert [state.state for state in orchestration.states(context)] == ["complete"] * 4
    assert context.store.latest("Toy").manifest.summary == "made"
    assert "schema_gen -> toy" in to_dot(graph.STAGES)


def test_options_and_check_hooks_are_spelled_right():
    hooks = {"plan", "execute", "run", "check_options", "check_inputs", "check_output"}
    for stage in graph.STAGES:
        found = {name for name in vars(stage.module) if name.startswith(("check_", "plan"))}
        assert found <= hooks
