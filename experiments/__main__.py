"""The command line: `python -m experiments list`, `run`, `point` and `report`."""

import os
import pathlib
from typing import get_args

import click

from common import command_line
from experiments.scale import Scale
from pipeline.settings import CORPUS_HELP, nearest

ALL = "all"
SCALES = get_args(Scale)
DEFAULT_ROOT = "runs/experiments"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands():
    """The experiments of the Grid LSTM's authors, rerun at a size that fits the machine.

    `tiny` shows that everything works, `small` is for two cores, `full` is the size of the
    original, for GPUs and days.
    """


def _root_option(command):
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all results."
    )(command)


def _scale_option(command):
    return click.option(
        "--scale", type=click.Choice(SCALES), default=SCALES[0], show_default=True, help="The size."
    )(command)


def _corpus_option(command):
    return click.option(
        "--corpus", default="stdlib", show_default=True, help=f"For those on texts: {CORPUS_HELP}."
    )(command)


def _jobs_option(command):
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        help="Points measured at once; default: one per core, or one where there is a GPU.",
    )(command)


def _folder(root, scale, name) -> pathlib.Path:
    return pathlib.Path(root, scale, name)


def _named(name, *others):
    """The experiment of a name; `others` are names that would be right besides."""
    from experiments.catalog import EXPERIMENTS
    from model.errors import InputError

    if name not in EXPERIMENTS:
        raise InputError(f"there is no experiment {name}{nearest(name, [*EXPERIMENTS, *others])}")
    return EXPERIMENTS[name]


def _all():
    from experiments.catalog import EXPERIMENTS

    return list(EXPERIMENTS.values())


@commands.command("list")
@_root_option
def list_experiments(root):
    """List the experiments, and at which scales there are results."""
    import rich.table

    from common.progress import console
    from experiments.results import RESULTS

    table = rich.table.Table("experiment", "asks", "results", box=None)
    for experiment in _all():
        found = [s for s in SCALES if (_folder(root, s, experiment.name) / RESULTS).exists()]
        table.add_row(experiment.name, experiment.title, ", ".join(found))
    console.print(table)


@commands.command("run")
@click.argument("name")
@_scale_option
@_root_option
@_corpus_option
@_jobs_option
@click.option(
    "--saved_model", multiple=True, help="An export to look into, for `cells`; default: its own."
)
def run(name, scale, root, corpus, jobs, saved_model):
    """Run an experiment, or `all`; one that was interrupted goes on where it was.

    Training goes on with what --root holds, so the same command twice measures once.
    """
    from common.progress import console
    from experiments import measuring, results
    from experiments.experiment import Inputs
    from pipeline.data.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    chosen = _all() if name == ALL else [_named(name, ALL)]
    inputs = Inputs(resolve_mixture([corpus]), saved_model)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        for experiment in chosen:
            found = measuring.measure(experiment, scale, inputs, store, workers)
            folder = _folder(root, scale, experiment.name)
            results.write(found, folder)
            console.print(" ".join(experiment.summarize(found.tables).sentences), markup=False)
            console.print(str(folder), markup=False)
    _write_report(scale, root)


@commands.command("point")
@click.argument("name")
@click.argument("labels", nargs=-1, metavar="LABEL=VALUE...")
@_scale_option
@_root_option
@_corpus_option
@_jobs_option
@click.option("--seed", type=click.IntRange(0), default=0, help="Where the seeds begin.")
def point(name, labels, scale, root, corpus, jobs, seed):
    """Measure some points of an experiment, say with another seed, and print what came of them.

    The results of `run` stay as they are.

    Example: point parity layers=5 bits=40 "model=grid, tied" --scale small --seed 7
    """
    from common.progress import console
    from experiments import measuring
    from experiments.experiment import Inputs
    from pipeline.data.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    experiment = _named(name)
    inputs = Inputs(resolve_mixture([corpus]), first_seed=seed)
    points = measuring.labelled(experiment.points(scale, inputs), labels)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        experiment.prepare(store, scale, inputs)
        tables, _ = measuring.measure_points(points, store, workers, name)
    console.print(_table(tables[experiment.outcomes]))


def _table(rows):
    import rich.table

    table = rich.table.Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


@commands.command("report")
@_scale_option
@_root_option
def write_report(scale, root):
    """Write the page that tells what the experiments have found, with their plots."""
    _write_report(scale, root)


def _write_report(scale, root):
    from experiments import report, results
    from model.errors import InputError

    stories = []
    for experiment in _all():
        folder = _folder(root, scale, experiment.name)
        if (folder / results.RESULTS).exists():
            stories.append(report.story(experiment, results.read(folder), folder))
    if not stories:
        raise InputError(
            f"{os.path.join(root, scale)} holds no results; run `python -m experiments run all "
            f"--scale {scale}` first"
        )
    folder = pathlib.Path(root, scale)
    report.write(stories, scale, folder)
    click.echo(folder / report.PAGES[0])


if __name__ == "__main__":
    command_line.main(commands)
