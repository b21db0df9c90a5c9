"""The command line: `python -m pipeline run`, a command per stage, `status` and others."""

import datetime
from typing import TYPE_CHECKING

import click

from common import command_line
from common.commands import Command, Group, json_option
from common.quiet_tensorflow import import_tensorflow
from pipeline import options
from pipeline.stages import graph
from pipeline.stages.graph import STAGES, Stage

if TYPE_CHECKING:
    from pipeline.stages.context import RunContext


class _Command(Command):
    values_in_force = staticmethod(options.values_in_force)


class _Group(Group):
    command_class = _Command


@click.group(cls=_Group, example="python -m pipeline run --corpus my-texts")
def commands() -> None:
    """Train a model on a corpus, from raw text to a served model.

    Each stage reuses its last output while its inputs, parameters and code are unchanged. A stage
    run by itself takes the newest artifacts of the stages before it.
    """


@commands.command("run", example="python -m pipeline run --corpus my-texts --layers 3 --steps 2000")
@click.option("--dry_run", is_flag=True, help="Print what would run and what is cached, and end.")
@options.context_of(options.all_options(graph.all_stages()), takes_corpus=True)
def run(context: "RunContext", dry_run: bool) -> None:
    """Run every stage, serve the model, and print a text that it generates.

    Options for Beam follow after `--`, as in `run -- --runner=FlinkRunner`. Options win over the
    preset, and the preset over the defaults given here.
    """
    if dry_run:
        _print_states(context, False)
        return
    import_tensorflow()
    from common.progress import print_warning
    from pipeline import orchestration
    from pipeline.reports import report
    from pipeline.reports.sample import print_sample, print_transcripts, print_translations
    from pipeline.store.lineage import pushed_versions

    served = orchestration.run_all(context)
    if served.not_blessed:
        print_warning(f"not pushed: {served.not_blessed}")
    if context.settings.run.baselines:
        report.print_baselines(context.store)
    if not pushed_versions(served.base_path):
        return
    if context.settings.run.task == "translation":
        print_translations(served, context.store)
    elif context.settings.run.task == "recognition":
        print_transcripts(served, context.store)
    elif context.settings.run.sample_characters:
        print_sample(served, context.settings.run.prompt, context.settings.run.sample_characters)


def _add_command_of(stage: Stage) -> None:
    """Adds the command that runs one stage by itself."""

    @commands.command(
        stage.run,
        help=stage.help,
        example=f"python -m pipeline {stage.run} {stage.example}",
    )
    @options.context_of(
        stage.options, takes_corpus="corpus" in stage.options, every_worker=stage.every_worker
    )
    def run_stage(context: "RunContext") -> None:
        if stage.tensorflow:
            import_tensorflow()
        from pipeline import orchestration

        orchestration.run_alone(stage, context)


for _stage in graph.all_stages():
    if _stage.name not in (graph.BASELINES, graph.EXAMPLE_VALIDATOR, graph.DYNAMIC_EVALUATOR):
        _add_command_of(_stage)


@commands.command(
    "example_validator",
    help=graph.find_stage(graph.EXAMPLE_VALIDATOR).help,
    example="python -m pipeline example_validator --corpus new-texts",
)
@click.option("--corpus", "new_corpus", default="", help="New corpus. Default: the eval split.")
@options.context_of((), takes_corpus=False)
def example_validator(context: "RunContext", new_corpus: str) -> None:
    from pipeline import orchestration
    from pipeline.reports.report import print_anomalies
    from pipeline.stages import example_validator as stage

    inputs = orchestration.newest_inputs(graph.find_stage(graph.EXAMPLE_VALIDATOR), context)
    splits: tuple[str, ...] = stage.SPLITS
    if new_corpus:
        inputs["statistics"] = stage.statistics_of_corpus(
            context.store, new_corpus, inputs["schema"]
        )
        splits = ("train", "eval")
    anomalies = stage.run(context.store, inputs["statistics"], inputs["schema"], splits)
    print_anomalies(anomalies)
    stage.require_valid(anomalies)


@commands.command(
    "dynamic_evaluator",
    help=graph.find_stage(graph.DYNAMIC_EVALUATOR).help,
    example="python -m pipeline dynamic_evaluator --corpus new-texts",
)
@click.option("--corpus", "new_corpus", default="", help="New corpus. Default: the eval split.")
@options.context_of(graph.find_stage(graph.DYNAMIC_EVALUATOR).options, takes_corpus=False)
def dynamic_evaluator(context: "RunContext", new_corpus: str) -> None:
    import_tensorflow()
    from pipeline import orchestration
    from pipeline.stages import dynamic_evaluator as stage

    inputs = orchestration.newest_inputs(graph.find_stage(graph.DYNAMIC_EVALUATOR), context)
    config = context.settings.dynamic_evaluation
    if new_corpus:
        scored = stage.run_on_corpus(context.store, **inputs, config=config, corpus=new_corpus)
        click.echo(scored.manifest.summary)
    else:
        stage.run(context.store, **inputs, config=config)


@commands.command(
    "baselines",
    help=graph.find_stage(graph.BASELINES).help,
    example="python -m pipeline baselines --corpus my-texts",
)
@json_option
@options.context_of(graph.find_stage(graph.BASELINES).options, takes_corpus=None)
def baselines(context: "RunContext", as_json: bool) -> None:
    from pipeline import orchestration
    from pipeline.reports import report

    stage = graph.find_stage(graph.BASELINES)
    if context.takes_corpus:
        orchestration.run_up_to(stage, context)
    else:
        orchestration.run_alone(stage, context)
    if as_json:
        click.echo(report.baselines_json(context.store))
    else:
        report.print_baselines(context.store)


@commands.command("statistics", example="python -m pipeline statistics --html statistics.html")
@options.root
@click.option("--html", required=True, type=click.Path(dir_okay=False), help="The page to write.")
def statistics(root: str, html: str) -> None:
    """Write the statistics as a page: frequencies, entropy, lines, scripts and drift."""
    from pipeline.data.examples import ExamplesProperties
    from pipeline.reports import statistics_page
    from pipeline.store.artifacts import Store

    store = Store(root)
    statistics_of_root = store.latest(graph.STATISTICS_GEN)
    examples = store.ancestor(statistics_of_root, "examples")
    statistics_page.write(statistics_of_root, ExamplesProperties.read(examples).corpus, html)
    click.echo(html)


@commands.command("status", example="python -m pipeline status --corpus my-texts --json")
@json_option
@options.context_of(options.all_options(graph.all_stages()), takes_corpus=True, lock=False)
def status(context: "RunContext", as_json: bool) -> None:
    """Print the state of each stage in a run with the same options, and all corpora of the root.

    A stage is complete if the artifact that such a run would use exists. Nothing is run.
    """
    _print_states(context, as_json)


def _print_states(context: "RunContext", as_json: bool) -> None:
    from pipeline import orchestration
    from pipeline.reports import report

    states = orchestration.states(context)
    if as_json:
        click.echo(report.status_json(states))
        return
    report.print_status(states, datetime.datetime.now(datetime.UTC))
    report.print_corpora(context.store)


@commands.command("graph", example="python -m pipeline graph --svg stages.svg")
@click.option("--svg", type=click.Path(dir_okay=False), help="Draw it into this file, by Graphviz.")
def print_graph(svg: str | None) -> None:
    """Print the graph of the stages in the DOT language, or draw it."""
    from pipeline.reports import graph_picture

    if svg:
        graph_picture.draw(STAGES, svg)
        click.echo(svg)
    else:
        click.echo(graph_picture.to_dot(STAGES), nl=False)


@commands.command("verify", example="python -m pipeline verify --remove")
@click.option("--remove/--keep", default=False, help="Whether to remove what is damaged.")
@json_option
@options.context_of(("serving_dir",), takes_corpus=False)
def verify(context: "RunContext", remove: bool, as_json: bool) -> None:
    """Compare artifacts, served versions and interrupted trainings with their checksums."""
    from pipeline.data.records import describe_damage
    from pipeline.store import verification

    verification.verify(context.store, context.served_from, remove, describe_damage, as_json)


@commands.command("lineage", example="python -m pipeline lineage --model_name my-texts --json")
@click.option("--version", default=0, help="Number of a pushed version; 0 for the newest.")
@json_option
@options.context_of(("model_name", "serving_dir"), takes_corpus=False, lock=False)
def lineage(context: "RunContext", version: int, as_json: bool) -> None:
    """Print the corpus, records, checkpoint and metrics that a pushed version came from."""
    from pipeline.reports import report
    from pipeline.store.lineage import ancestors, find_version

    pushed = find_version(context.base_path, version)
    found = ancestors(context.store, pushed)
    if as_json:
        click.echo(report.lineage_json(pushed, found))
    else:
        report.print_lineage(pushed, found)


if __name__ == "__main__":
    command_line.main(commands)
