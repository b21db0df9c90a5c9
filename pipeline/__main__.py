"""The command line: `python -m pipeline run`, a command per stage, `status` and `lineage`."""

import datetime
import os

import click

from common import command_line
from model.config import ModelConfig
from pipeline import options
from pipeline.settings import DataConfig, TrainingConfig, load_preset
from pipeline.stages import names

PROMPT_LENGTH = 500


@click.group(context_settings=command_line.CONTEXT)
def commands():
    """From a raw corpus to a served character model, in names.

    Each stage reuses its last output while its inputs, parameters and code stand. A stage run by
    itself takes the newest artifacts of the stages before it.
    """


def _listed(text):
    return [part for part in text.split(",") if part]


@commands.command("run")
@options.corpus
@options.preset(DataConfig, ModelConfig, TrainingConfig)
@options.train
@options.serving
@click.option("--eval_streams", default=64, show_default=True, help="Streams of the evaluation.")
@click.option("--prompt", default="", help="What the sample at the end continues.")
@click.option(
    "--sample_characters", default=PROMPT_LENGTH, show_default=True, help="0 for no sample."
)
@options.batching
@options.beam
@options.stage
def run(
    store,
    text,
    preset,
    init_from,
    devices,
    model_name,
    serving_dir,
    eval_streams,
    prompt,
    sample_characters,
    batching,
    beam_options,
    **overrides,
):
    """Run every stage, serve the model, and print a text it has written.

    Options for Beam follow after `--`, as in `run -- --runner=FlinkRunner`.
    """
    settings = load_preset(preset, overrides)
    command_line.import_tensorflow()
    from pipeline import orchestration
    from pipeline.reports.report import print_warning
    from pipeline.reports.sample import print_sample

    served = orchestration.run_all(
        store,
        text,
        settings,
        serving_dir or os.path.join(store.root, "serving"),
        model_name,
        eval_streams,
        init_from,
        _listed(devices),
        batching,
        beam_options,
    )
    if served.not_blessed:
        print_warning(f"not pushed: {served.not_blessed}")
    if sample_characters:
        print_sample(served, prompt, sample_characters)


@commands.command("example_gen")
@options.corpus
@options.preset(DataConfig)
@options.beam
@options.stage
def example_gen(store, text, preset, beam_options, **overrides):
    """Shard a corpus into TFRecords, split in two."""
    from pipeline.stages import example_gen as stage

    stage.run(store, text, load_preset(preset, overrides).data, beam_options)


@commands.command("transform")
@options.preset(DataConfig)
@options.beam
@options.stage
def transform(store, preset, beam_options, **overrides):
    """Normalise the text of the examples, where --normalize or --lowercase asks for it."""
    data = load_preset(preset, overrides).data
    examples = store.latest(names.EXAMPLE_GEN)
    command_line.import_tensorflow()
    from pipeline.stages import transform as stage

    stage.run(store, examples, data, beam_options)


@commands.command("statistics_gen")
@options.preset(DataConfig)
@options.beam
@options.stage
def statistics_gen(store, preset, beam_options, **overrides):
    """Count characters, pairs and line lengths."""
    from pipeline.stages import statistics_gen as stage

    data = load_preset(preset, overrides).data
    examples = store.latest(names.TRANSFORM if data.transforms else names.EXAMPLE_GEN)
    stage.run(store, examples, data.character_unit, beam_options)


@commands.command("statistics")
@options.root
@click.option("--html", required=True, type=click.Path(dir_okay=False), help="The page to write.")
def statistics(root, html):
    """Write the statistics as a page: frequencies, entropy, lines, scripts and drift."""
    from pipeline.reports import statistics_page
    from pipeline.store.artifacts import Store

    statistics_page.write(Store(root).latest(names.STATISTICS_GEN), html)
    click.echo(html)


@commands.command("schema_gen")
@options.stage
def schema_gen(store):
    """Derive schema and vocabulary from the training statistics."""
    from pipeline.stages import schema_gen as stage

    stage.run(store, store.latest(names.STATISTICS_GEN))


@commands.command("example_validator")
@click.option("--corpus", default="", help="A new corpus to validate; default: the eval split.")
@options.stage
def example_validator(store, corpus):
    """Hold the eval split, or a new corpus, against the schema."""
    from pipeline.reports.report import print_anomalies
    from pipeline.stages import example_validator as stage

    schema = store.latest(names.SCHEMA_GEN)
    statistics = store.latest(names.STATISTICS_GEN)
    splits = ("eval",)
    if corpus:
        statistics, splits = stage.statistics_of_corpus(store, corpus, schema), ("train", "eval")
    anomalies = stage.run(store, statistics, schema, splits)
    print_anomalies(anomalies)
    stage.require_valid(anomalies)


@commands.command("trainer")
@options.preset(ModelConfig, TrainingConfig)
@options.train
@options.stage
def trainer(store, preset, init_from, devices, **overrides):
    """Train a model and export it; go on where an interrupted training stopped."""
    settings = load_preset(preset, overrides)
    schema = store.latest(names.SCHEMA_GEN)
    command_line.import_tensorflow()
    from pipeline.stages import trainer as stage

    examples = store.ancestor(schema, "statistics", "examples")
    stage.run(store, examples, schema, settings, init_from, _listed(devices))


def _base_path(store, serving_dir, model_name):
    """Where the newest model is served, or is to be."""
    name = model_name or store.latest(names.EXAMPLE_GEN).manifest.counters["corpus"]
    return os.path.join(serving_dir or os.path.join(store.root, "serving"), name)


@commands.command("evaluator")
@options.serving
@click.option("--eval_streams", default=64, show_default=True, help="Streams of the evaluation.")
@options.stage
def evaluator(store, serving_dir, model_name, eval_streams):
    """Measure the exported model on the eval split, against the one pushed last."""
    model = store.latest(names.TRAINER)
    command_line.import_tensorflow()
    from pipeline.stages import evaluator as stage
    from pipeline.store.lineage import pushed_before

    baseline = pushed_before(_base_path(store, serving_dir, model_name), model)
    examples = store.ancestor(model, "examples")
    statistics = store.ancestor(model, "schema", "statistics")
    stage.run(store, model, examples, statistics, baseline, eval_streams)


@commands.command("infra_validator")
@options.stage
def infra_validator(store):
    """Start a server on the exported model and ask it."""
    model = store.latest(names.TRAINER)
    command_line.import_tensorflow()
    from pipeline.stages import infra_validator as stage

    stage.run(store, model)


@commands.command("pusher")
@options.serving
@options.batching
@options.stage
def pusher(store, serving_dir, model_name, batching):
    """Copy the blessed model into the serving directory, as its next version."""
    model = store.latest(names.TRAINER)
    evaluation = store.latest(names.EVALUATOR)
    infra_blessing = store.latest(names.INFRA_VALIDATOR)
    command_line.import_tensorflow()
    from pipeline.stages import pusher as stage

    stage.require_blessed(model, evaluation, infra_blessing)
    base_path = _base_path(store, serving_dir, model_name)
    stage.run(store, model, evaluation, infra_blessing, base_path, batching)


@commands.command("status")
@options.root
def status(root):
    """Print the stages with state, age, time taken and main figure."""
    from pipeline.reports.report import print_status
    from pipeline.store.artifacts import Store

    store = Store(root)
    shown = list(names.ALWAYS)
    if store.paths(names.TRANSFORM):
        shown.insert(1, names.TRANSFORM)
    print_status(store, shown, datetime.datetime.now(datetime.UTC))


@commands.command("verify")
@click.option("--remove/--keep", default=False, help="Remove what is damaged; a run makes it anew.")
@options.stage
def verify(store, remove):
    """Hold every artifact against the checksums of its manifest."""
    from pipeline.data.records import describe_damage
    from pipeline.store import verification

    verification.verify(store, remove, describe_damage)


@commands.command("lineage")
@options.root
@options.serving
@click.option("--version", default=0, help="A pushed version; 0 for the newest.")
def lineage(root, serving_dir, model_name, version):
    """Say which corpus, records, checkpoint and metrics a pushed version came from."""
    command_line.import_tensorflow()
    from pipeline.reports.report import print_lineage
    from pipeline.store.artifacts import Store
    from pipeline.store.lineage import ancestors, find_version

    store = Store(root)
    pushed = find_version(_base_path(store, serving_dir, model_name), version)
    print_lineage(pushed, ancestors(store, pushed))


if __name__ == "__main__":
    command_line.main(commands)
