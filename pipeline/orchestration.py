"""The run of all stages, the run of one stage by itself, and the state of each before a run."""

import dataclasses
from typing import Literal, NamedTuple

from common.quiet_tensorflow import import_tensorflow
from pipeline.stages import graph
from pipeline.stages.context import RunContext
from pipeline.stages.graph import Stage
from pipeline.store import blessing
from pipeline.store.artifacts import Artifact, ArtifactMissingError, ExpectedArtifact


class RunResult(NamedTuple):
    """The model that a run leaves in the serving directory.

    Attributes:
      model_name: Name of the model.
      base_path: Directory of its versions.
      not_blessed: Reason why the new model was not pushed; empty if it was.
    """

    model_name: str
    base_path: str
    not_blessed: str


class StageState(NamedTuple):
    """The state of a stage in a run that has not begun.

    Attributes:
      stage: Name of the stage.
      state: "complete" if the artifact that the run would use exists, "interrupted" if its writing
        was, "missing" if it never began, "blocked" if another artifact keeps the stage from
        running, and "waiting" if its fingerprint depends on an artifact that does not exist.
      by: Name of the stage that blocks this one, or that it is waiting for; otherwise empty.
      artifact: Artifact of a complete stage; otherwise None.
    """

    stage: str
    state: Literal["complete", "interrupted", "missing", "blocked", "waiting"]
    by: str = ""
    artifact: Artifact | None = None


def run_all(context: RunContext) -> RunResult:
    """Runs every stage whose artifact does not exist yet.

    Raises:
      InputError: On invalid user input.
    """
    stages = graph.stages_of(context.settings)
    for stage in stages:
        if check := getattr(stage.module, "check_options", None):
            check(context)
    artifacts: dict[str, Artifact] = {}
    for stage in stages:
        artifact = stage.module.execute(context, **_inputs(stage, context, artifacts))
        artifacts[stage.name] = artifact
        if check := getattr(stage.module, "check_output", None):
            check(context, artifact)
        if stage.may_stop and (objection := blessing.objection(artifact)):
            return RunResult(context.model_name, context.base_path, objection)
        _check_inputs_from(stage, stages, context, artifacts)
    return RunResult(context.model_name, context.base_path, "")


def _check_inputs_from(
    finished: Stage, stages: list[Stage], context: RunContext, artifacts: dict[str, Artifact]
) -> None:
    """Checks the inputs of the stages that had to wait for one stage alone."""
    for stage in stages:
        producers = set(graph.producers(stage, context.settings).values())
        check = getattr(stage.module, "check_inputs", None)
        if check and finished.name in producers and producers <= artifacts.keys():
            check(context, **_inputs(stage, context, artifacts))


def _inputs(
    stage: Stage, context: RunContext, artifacts: dict[str, Artifact]
) -> dict[str, Artifact]:
    producers = graph.producers(stage, context.settings)
    return {role: artifacts[name] for role, name in producers.items()}


def run_alone(stage: Stage, context: RunContext) -> Artifact:
    """Runs one stage, on the newest artifacts of the stages before it.

    Raises:
      InputError: On invalid user input, or if an input does not exist.
    """
    context = _in_task_of(stage, context)
    # A stage that several tasks have takes its inputs from the graph of the settings' task.
    stage = graph.find_stage(stage.name, context.settings.run.task)
    inputs = newest_inputs(stage, context)
    if not context.takes_corpus:  # a copy would resolve the corpus again
        context = dataclasses.replace(context, model=inputs.get("model"))
    if check := getattr(stage.module, "check_options", None):
        check(context)
    return stage.module.execute(context, **inputs)


def _in_task_of(stage: Stage, context: RunContext) -> RunContext:
    """Returns a context with the task that a stage belongs to, where its own has no such stage."""
    run = context.settings.run
    tasks = graph.tasks_of(stage)
    if run.task in tasks:
        return context
    settings = context.settings._replace(run=dataclasses.replace(run, task=tasks[0]))
    return dataclasses.replace(context, settings=settings)


def run_up_to(stage: Stage, context: RunContext) -> Artifact:
    """Runs one stage and those that it reads from, where their artifacts do not exist yet.

    Raises:
      InputError: On invalid user input.
    """
    needed = [stage]
    for earlier in reversed(graph.stages_of(context.settings)):
        if any(earlier.name in graph.producers(one, context.settings).values() for one in needed):
            needed.append(earlier)
    if any(one.tensorflow for one in needed):
        import_tensorflow()
    artifacts: dict[str, Artifact] = {}
    for one in reversed(needed):
        artifacts[one.name] = one.module.execute(context, **_inputs(one, context, artifacts))
    return artifacts[stage.name]


def newest_inputs(stage: Stage, context: RunContext) -> dict[str, Artifact]:
    """Returns the newest inputs of a stage that fit together.

    Raises:
      InputError: If one of them does not exist.
    """
    found: dict[str, Artifact] = {}
    for role, name in graph.producers(stage, context.settings).items():
        if role not in stage.ancestry:
            found[role] = context.store.latest(name)
    for role, (first, *others) in stage.ancestry.items():
        found[role] = context.store.ancestor(found[first], *others)
    return found


def states(context: RunContext) -> list[StageState]:
    """Returns the state of each stage in the run that the context describes; runs nothing.

    Raises:
      InputError: On invalid user input.
    """
    found: dict[str, StageState] = {}
    expected: dict[str, Artifact | ExpectedArtifact] = {}
    for stage in graph.stages_of(context.settings):
        found[stage.name] = _state(stage, context, found, expected)
    return list(found.values())


def _state(
    stage: Stage,
    context: RunContext,
    found: dict[str, StageState],
    expected: dict[str, Artifact | ExpectedArtifact],
) -> StageState:
    """Returns the state of a stage, and adds its artifact to those expected."""
    producers = graph.producers(stage, context.settings)
    for name in (*producers.values(), *stage.after):
        before = found[name]
        if before.state in ("blocked", "waiting"):
            return StageState(stage.name, before.state, before.by)
        if (
            before.artifact
            and graph.find_stage(name, context.settings.run.task).may_stop
            and blessing.objection(before.artifact)
        ):
            return StageState(stage.name, "blocked", name)
    try:
        inputs = {role: expected[name] for role, name in producers.items()}
        key = stage.module.plan(context, **inputs)
    except ArtifactMissingError as error:
        return StageState(stage.name, "waiting", error.stage)
    artifact = expected[stage.name] = context.store.artifact_or_expected(key)
    if isinstance(artifact, ExpectedArtifact):
        return StageState(stage.name, context.store.state(key))
    return StageState(stage.name, "complete", artifact=artifact)
