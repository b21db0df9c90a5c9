"""The command line: `python -m pipeline run`, a command per stage, `status` and others."""

import datetime
from typing import TYPE_CHECKING

import click

from common import command_line
from pipeline import options
from pipeline.stages import graph
from pipeline.stages.graph import STAGES, Stage

if TYPE_CHECKING:
    from pipeline.stages.context import RunContext


@click.group(context_settings=command_line.CONTEXT)
def commands() -> None:
    """Train a character model on a corpus, from raw text to a served model.

    Each stage reuses its last output while its inputs, parameters and code are unchanged. A stage
    run by itself takes the newest artifacts of the stages before it.
    """


@commands.command("run")
@options.context_of(options.all_options(STAGES), takes_corpus=True)
def run(context: "RunContext") -> None:
    """Run every stage, serve the model, and print a text that it generates.

    Options for Beam follow after `--`, as in `run -- --runner=FlinkRunner`. Options win over the
    preset, and the preset over the defaults given here.
    """
    command_line.import_tensorflow()
    from pipeline import orchestration
    from pipeline.reports.report import print_warning
    from pipeline.reports.sample import print_sample

    served = orchestration.run_all(context)
    if served.not_blessed:
        print_warning(f"not pushed: {served.not_blessed}")
    if context.settings.run.sample_characters:
        print_sample(served, context.settings.run.prompt, context.settings.run.sample_characters)


def _add_command_of(stage: Stage) -> None:
    """Adds the command that runs one stage by itself."""

    @commands.command(stage.run, help=stage.help)
    @options.context_of(
        stage.options, takes_corpus="corpus" in stage.options, every_worker=stage.every_worker
    )
    def run_stage(context: "RunContext") -> None:
        if stage.tensorflow:
            command_line.import_tensorflow()
        from pipeline import orchestration

        orchestration.run_alone(stage, context)


for _stage in STAGES:
    if _stage.name != graph.EXAMPLE_VALIDATOR:
        _add_command_of(_stage)


@commands.command("example_validator", help=graph.named(graph.EXAMPLE_VALIDATOR).help)
@click.option("--corpus", "new_corpus", default="", help="New corpus. Default: the eval split.")
@options.context_of((), takes_corpus=False)
def example_validator(context: "RunContext", new_corpus: str) -> None:
    from pipeline import orchestration
    from pipeline.reports.report import print_anomalies
    from pipeline.stages import example_validator as stage

    inputs = orchestration.newest_inputs(graph.named(graph.EXAMPLE_VALIDATOR), context)
    splits: tuple[str, ...] = stage.SPLITS
    if new_corpus:
        inputs["statistics"] = stage.statistics_of_corpus(
            context.store, new_corpus, inputs["schema"]
        )
        splits = ("train", "eval")
    anomalies = stage.run(context.store, inputs["statistics"], inputs["schema"], splits)
    print_anomalies(anomalies)
    stage.require_valid(anomalies)


@commands.command("statistics")
@options.root
@click.option("--html", required=True, type=click.Path(dir_okay=False), help="The page to write.")
def statistics(root: str, html: str) -> None:
    """Write the statistics as a page: frequencies, entropy, lines, scripts and drift."""
    from pipeline.reports import statistics_page
    from pipeline.store.artifacts import Store

    statistics_page.write(Store(root).latest(graph.STATISTICS_GEN), html)
    click.echo(html)


@commands.command("status")
@options.context_of(options.all_options(STAGES), takes_corpus=True, lock=False)
def status(context: "RunContext") -> None:
    """Print the state of each stage in a run with the same options.

    A stage is complete if the artifact that such a run would use exists. Nothing is run.
    """
    from pipeline import orchestration
    from pipeline.reports.report import print_status

    print_status(orchestration.states(context), datetime.datetime.now(datetime.UTC))


@commands.command("graph")
def print_graph() -> None:
    """Print the graph of the stages in the DOT language."""
    from pipeline.reports.graph_picture import to_dot

    click.echo(to_dot(STAGES), nl=False)


@commands.command("verify")
@click.option("--remove/--keep", default=False, help="Whether to remove damaged artifacts.")
@options.context_of((), takes_corpus=False)
def verify(context: "RunContext", remove: bool) -> None:
    """Compare every artifact with the checksums of its manifest."""
    from pipeline.data.records import describe_damage
    from pipeline.store import verification

    verification.verify(context.store, remove, describe_damage)


@commands.command("lineage")
@click.option("--version", default=0, help="Number of a pushed version; 0 for the newest.")
@options.context_of(("model_name", "serving_dir"), takes_corpus=False, lock=False)
def lineage(context: "RunContext", version: int) -> None:
    """Print the corpus, records, checkpoint and metrics that a pushed version came from."""
    from pipeline.reports.report import print_lineage
    from pipeline.store.lineage import ancestors, find_version

    pushed = find_version(context.base_path, version)
    print_lineage(pushed, ancestors(context.store, pushed))


if __name__ == "__main__":
    command_line.main(commands)
