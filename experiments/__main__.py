"""The command line: `python -m experiments list`, `run`, `point` and `report`."""

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import click

from common import command_line
from experiments.scale import Scale
from pipeline.settings import CORPUS_HELP, nearest

if TYPE_CHECKING:
    from experiments.experiment import Experiment

ALL = "all"
SCALES = get_args(Scale)
DEFAULT_ROOT = "runs/experiments"


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands() -> None:
    """Reproduce the experiments of the Grid LSTM's authors at a scale that fits the machine.

    `tiny` is a smoke test, `small` is for two cores, `full` is the size of the original, for days
    on GPUs.
    """


def _root_option(command: Callable) -> Callable:
    return click.option(
        "--root", default=DEFAULT_ROOT, show_default=True, help="Directory of all results."
    )(command)


def _scale_option(command: Callable) -> Callable:
    return click.option(
        "--scale", type=click.Choice(SCALES), default=SCALES[0], show_default=True, help="Scale."
    )(command)


def _corpus_option(command: Callable) -> Callable:
    return click.option(
        "--corpus",
        default="stdlib",
        show_default=True,
        help=f"Corpus of the experiments on texts: {CORPUS_HELP}.",
    )(command)


def _jobs_option(command: Callable) -> Callable:
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        help="Number of points measured at once; default: one per core, or one on a GPU.",
    )(command)


def _folder(root: str, scale: str, name: str) -> pathlib.Path:
    return pathlib.Path(root, scale, name)


def _find(name: str, *others: str) -> "Experiment":
    """Returns the experiment of a name.

    Args:
      name: Name of the experiment.
      others: Further valid names to suggest where it does not exist.
    """
    from experiments.catalog import EXPERIMENTS
    from model.errors import InputError

    if name not in EXPERIMENTS:
        raise InputError(f"there is no experiment {name}{nearest(name, [*EXPERIMENTS, *others])}")
    return EXPERIMENTS[name]


def _all() -> list["Experiment"]:
    from experiments.catalog import EXPERIMENTS

    return list(EXPERIMENTS.values())


@commands.command("list")
@_root_option
def list_experiments(root: str) -> None:
    """List the experiments, and the scales at which they have results."""
    import rich.table

    from common.progress import console
    from experiments.results import RESULTS

    table = rich.table.Table("experiment", "title", "results", box=None)
    for experiment in _all():
        scales = [s for s in SCALES if (_folder(root, s, experiment.name) / RESULTS).exists()]
        table.add_row(experiment.name, experiment.title, ", ".join(scales))
    console.print(table)


@commands.command("run")
@click.argument("name")
@_scale_option
@_root_option
@_corpus_option
@_jobs_option
@click.option(
    "--saved_model", multiple=True, help="Export that `cells` probes; default: exports of its own."
)
def run(
    name: str, scale: str, root: str, corpus: str, jobs: int | None, saved_model: tuple[str, ...]
) -> None:
    """Run an experiment, or `all`; one that was interrupted resumes.

    Artifacts under --root are reused, so the same command twice measures once.
    """
    from common.progress import console
    from experiments import measuring, results
    from experiments.experiment import Inputs
    from pipeline.data.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    chosen = _all() if name == ALL else [_find(name, ALL)]
    inputs = Inputs(text=resolve_mixture([corpus]), saved_models=saved_model)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        for experiment in chosen:
            measurements = measuring.measure(experiment, scale, inputs, store, workers)
            folder = _folder(root, scale, experiment.name)
            results.write(measurements, folder)
            console.print(
                " ".join(experiment.summarize(measurements.tables).sentences), markup=False
            )
            console.print(str(folder), markup=False)
    _write_report(scale, root)


@commands.command("point")
@click.argument("name")
@click.argument("labels", nargs=-1, metavar="LABEL=VALUE...")
@_scale_option
@_root_option
@_corpus_option
@_jobs_option
@click.option("--seed", type=click.IntRange(0), default=0, help="First seed.")
def point(
    name: str,
    labels: tuple[str, ...],
    scale: str,
    root: str,
    corpus: str,
    jobs: int | None,
    seed: int,
) -> None:
    """Measure some points of an experiment, for instance with another seed, and print the outcomes.

    The results of `run` are not changed.

    Example: point parity layers=5 bits=40 "model=grid, tied" --scale small --seed 7
    """
    from common.progress import console
    from experiments import measuring
    from experiments.experiment import Inputs
    from pipeline.data.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    experiment = _find(name)
    inputs = Inputs(text=resolve_mixture([corpus]), first_seed=seed)
    points = measuring.select_points(experiment.points(scale, inputs), labels)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        experiment.prepare(store, scale, inputs)
        tables, _ = measuring.measure_points(points, store, workers, name)
    console.print(_table(tables[experiment.outcomes]))


def _table(rows: list[dict[str, Any]]) -> Any:
    """Returns rows as a table for the terminal."""
    import rich.table

    table = rich.table.Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


@commands.command("report")
@_scale_option
@_root_option
def write_report(scale: str, root: str) -> None:
    """Write the report of all experiments that have results, with their plots."""
    _write_report(scale, root)


def _write_report(scale: str, root: str) -> None:
    from experiments import report, results
    from model.errors import InputError

    stories = []
    for experiment in _all():
        folder = _folder(root, scale, experiment.name)
        if (folder / results.RESULTS).exists():
            stories.append(report.make_story(experiment, results.read(folder), folder))
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
