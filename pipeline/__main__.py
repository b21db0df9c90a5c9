"""The command line: `python -m pipeline run`, a command per stage, `status` and `lineage`."""

import datetime
import functools
import os
from typing import get_args

import click

from model import command_line
from model.config import ModelConfig
from pipeline import stages
from pipeline.settings import (
    CORPUS_HELP,
    DataConfig,
    MixUntil,
    TrainingConfig,
    load_preset,
    preset_names,
)

DEFAULT_ROOT = "runs"
DEFAULT_PRESET = "demo"
DEFAULT_CORPUS = "stdlib"
PROMPT_LENGTH = 500


@click.group(context_settings=command_line.CONTEXT)
def commands():
    """From a raw corpus to a served character model, in stages.

    Each stage reuses its last output while its inputs, parameters and code stand. A stage run by
    itself takes the newest artifacts of the stages before it.
    """


def _root_option(command):
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all artifacts."
    )(command)


def _serving_options(command):
    for option in (
        click.option("--model_name", default="", help="Default: the name of the corpus."),
        click.option("--serving_dir", default="", help="Default: `serving` under the root."),
    ):
        command = option(command)
    return command


def _batching_options(command):
    """How a pushed model is to merge requests, where that is to be otherwise than exported."""
    helps = {
        "num_batch_threads": (1, "Merged batches that run at once; as exported by default."),
        "batch_timeout_micros": (0, "How long a row waits for others; as exported by default."),
        "max_batch_size": (1, "Most rows of a merged batch of requests; as exported by default."),
    }

    @functools.wraps(command)
    def wrapper(*arguments, **options):
        given = {name: options.pop(name) for name in helps}
        batching = {name: value for name, value in given.items() if value is not None}
        return command(*arguments, batching=batching, **options)

    for name, (least, help_text) in helps.items():
        wrapper = click.option(f"--{name}", type=click.IntRange(least), help=help_text)(wrapper)
    return wrapper


def _corpus_options(command):
    """Gives a command the mixture that its options describe."""

    @functools.wraps(command)
    def wrapper(corpus, weights, mix_until, **options):
        from pipeline.corpus import resolve_mixture

        return command(text=resolve_mixture(corpus, weights, mix_until), **options)

    for option in (
        click.option(
            "--mix_until",
            type=click.Choice(get_args(MixUntil)),
            default=get_args(MixUntil)[0],
            show_default=True,
            help="Whether a mixture ends with the first corpus that ends, or with the last, those "
            "that end earlier beginning anew.",
        ),
        click.option(
            "--weights",
            multiple=True,
            type=float,
            help="The share of each --corpus in the mixture, in any unit; equal by default.",
        ),
        click.option(
            "--corpus",
            multiple=True,
            default=[DEFAULT_CORPUS],
            show_default=True,
            help=f"The text: {CORPUS_HELP}. Given several times, a mixture.",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper


def _beam_arguments(command):
    return click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)(command)


def _preset_options(*configs):
    """--preset, and an option for every parameter of the given parts of one."""

    def decorate(command):
        for config in reversed(configs):
            command = command_line.options_of(config)(command)
        return click.option(
            "--preset",
            default=DEFAULT_PRESET,
            show_default=True,
            help=f"One of {', '.join(preset_names())}, or a .toml file.",
        )(command)

    return decorate


def _stage(command):
    """Gives a command the store of its --root, with a report of every artifact."""

    @functools.wraps(command)
    def wrapper(root, **options):
        from model.errors import InputError
        from pipeline.artifacts import Store
        from pipeline.report import report
        from pipeline.workers import this_worker

        worker = this_worker()
        if not (worker.is_chief or command.__name__ == "trainer"):
            raise InputError(
                f"this is worker {worker.index} of a training, and only its first one runs other "
                "stages than trainer"
            )
        store = Store(root, report, leads=worker.is_chief)
        with store.writing():
            return command(store, **options)

    return _root_option(wrapper)


def _train_options(command):
    for option in (
        click.option("--init_from", default="", help="Trainer artifact to take weights from."),
        click.option(
            "--devices",
            default="",
            help="Comma-separated devices, such as gpu:0,gpu:1; all GPUs or the CPU by default.",
        ),
    ):
        command = option(command)
    return command


def _listed(text):
    return [part for part in text.split(",") if part]


@commands.command("run")
@_corpus_options
@_preset_options(DataConfig, ModelConfig, TrainingConfig)
@_train_options
@_serving_options
@click.option("--eval_streams", default=64, show_default=True, help="Streams of the evaluation.")
@click.option("--prompt", default="", help="What the sample at the end continues.")
@click.option(
    "--sample_characters", default=PROMPT_LENGTH, show_default=True, help="0 for no sample."
)
@_batching_options
@_beam_arguments
@_stage
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
    from pipeline.report import print_warning
    from pipeline.sample import print_sample

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
@_corpus_options
@_preset_options(DataConfig)
@_beam_arguments
@_stage
def example_gen(store, text, preset, beam_options, **overrides):
    """Shard a corpus into TFRecords, split in two."""
    from pipeline import example_gen as stage

    stage.run(store, text, load_preset(preset, overrides).data, beam_options)


@commands.command("transform")
@_preset_options(DataConfig)
@_beam_arguments
@_stage
def transform(store, preset, beam_options, **overrides):
    """Normalise the text of the examples, where --normalize or --lowercase asks for it."""
    data = load_preset(preset, overrides).data
    examples = store.latest(stages.EXAMPLE_GEN)
    command_line.import_tensorflow()
    from pipeline import transform as stage

    stage.run(store, examples, data, beam_options)


@commands.command("statistics_gen")
@_preset_options(DataConfig)
@_beam_arguments
@_stage
def statistics_gen(store, preset, beam_options, **overrides):
    """Count characters, pairs and line lengths."""
    from pipeline import statistics_gen as stage

    data = load_preset(preset, overrides).data
    examples = store.latest(stages.TRANSFORM if data.transforms else stages.EXAMPLE_GEN)
    stage.run(store, examples, data.alphabet, beam_options)


@commands.command("statistics")
@_root_option
@click.option("--html", required=True, type=click.Path(dir_okay=False), help="The page to write.")
def statistics(root, html):
    """Write the statistics as a page: frequencies, entropy, lines, scripts and drift."""
    from pipeline import statistics_page
    from pipeline.artifacts import Store

    statistics_page.write(Store(root).latest(stages.STATISTICS_GEN), html)
    click.echo(html)


@commands.command("schema_gen")
@_stage
def schema_gen(store):
    """Derive schema and vocabulary from the training statistics."""
    from pipeline import schema_gen as stage

    stage.run(store, store.latest(stages.STATISTICS_GEN))


@commands.command("example_validator")
@click.option("--corpus", default="", help="A new corpus to validate; default: the eval split.")
@_stage
def example_validator(store, corpus):
    """Hold the eval split, or a new corpus, against the schema."""
    from pipeline import example_validator as stage
    from pipeline.report import print_anomalies

    schema = store.latest(stages.SCHEMA_GEN)
    statistics = store.latest(stages.STATISTICS_GEN)
    splits = ("eval",)
    if corpus:
        statistics, splits = stage.statistics_of_corpus(store, corpus, schema), ("train", "eval")
    anomalies = stage.run(store, statistics, schema, splits)
    print_anomalies(anomalies)
    stage.require_valid(anomalies)


@commands.command("trainer")
@_preset_options(ModelConfig, TrainingConfig)
@_train_options
@_stage
def trainer(store, preset, init_from, devices, **overrides):
    """Train a model and export it; go on where an interrupted training stopped."""
    settings = load_preset(preset, overrides)
    schema = store.latest(stages.SCHEMA_GEN)
    command_line.import_tensorflow()
    from pipeline import trainer as stage

    examples = store.ancestor(schema, "statistics", "examples")
    stage.run(store, examples, schema, settings, init_from, _listed(devices))


def _base_path(store, serving_dir, model_name):
    """Where the newest model is served, or is to be."""
    name = model_name or store.latest(stages.EXAMPLE_GEN).manifest.counters["corpus"]
    return os.path.join(serving_dir or os.path.join(store.root, "serving"), name)


@commands.command("evaluator")
@_serving_options
@click.option("--eval_streams", default=64, show_default=True, help="Streams of the evaluation.")
@_stage
def evaluator(store, serving_dir, model_name, eval_streams):
    """Measure the exported model on the eval split, against the one pushed last."""
    model = store.latest(stages.TRAINER)
    command_line.import_tensorflow()
    from pipeline import evaluator as stage
    from pipeline import pusher

    baseline = pusher.pushed_before(_base_path(store, serving_dir, model_name), model)
    examples = store.ancestor(model, "examples")
    statistics = store.ancestor(model, "schema", "statistics")
    stage.run(store, model, examples, statistics, baseline, eval_streams)


@commands.command("infra_validator")
@_stage
def infra_validator(store):
    """Start a server on the exported model and ask it."""
    model = store.latest(stages.TRAINER)
    command_line.import_tensorflow()
    from pipeline import infra_validator as stage

    stage.run(store, model)


@commands.command("pusher")
@_serving_options
@_batching_options
@_stage
def pusher(store, serving_dir, model_name, batching):
    """Copy the blessed model into the serving directory, as its next version."""
    model = store.latest(stages.TRAINER)
    evaluation = store.latest(stages.EVALUATOR)
    infra_blessing = store.latest(stages.INFRA_VALIDATOR)
    command_line.import_tensorflow()
    from pipeline import pusher as stage

    stage.require_blessed(model, evaluation, infra_blessing)
    base_path = _base_path(store, serving_dir, model_name)
    stage.run(store, model, evaluation, infra_blessing, base_path, batching)


@commands.command("status")
@_root_option
def status(root):
    """Print the stages with state, age, time taken and main figure."""
    from pipeline.artifacts import Store
    from pipeline.report import print_status

    store = Store(root)
    shown = list(stages.ALWAYS)
    if store.paths(stages.TRANSFORM):
        shown.insert(1, stages.TRANSFORM)
    print_status(store, shown, datetime.datetime.now(datetime.UTC))


@commands.command("verify")
@click.option("--remove/--keep", default=False, help="Remove what is damaged; a run makes it anew.")
@_stage
def verify(store, remove):
    """Hold every artifact against the checksums of its manifest."""
    from pipeline import verification

    verification.verify(store, remove)


@commands.command("lineage")
@_root_option
@_serving_options
@click.option("--version", default=0, help="A pushed version; 0 for the newest.")
def lineage(root, serving_dir, model_name, version):
    """Say which corpus, records, checkpoint and metrics a pushed version came from."""
    command_line.import_tensorflow()
    from pipeline import orchestration
    from pipeline.artifacts import Store
    from pipeline.report import print_lineage

    store = Store(root)
    base_path = _base_path(store, serving_dir, model_name)
    pushed = orchestration.find_version(*os.path.split(base_path), version)
    print_lineage(pushed, orchestration.lineage(store, pushed))


if __name__ == "__main__":
    command_line.main(commands)
