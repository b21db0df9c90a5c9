"""The command line: `python -m experiments list`, `run`, `point`, `tune` and `report`."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import click

from common import command_line, files
from common.commands import TensorFlowGroup, json_option
from experiments.framework.scale import Scale
from model.errors import nearest
from pipeline.settings import CORPUS_HELP
from serving.base_path import SAVED_MODEL

if TYPE_CHECKING:
    from experiments.framework.experiment import Experiment

ALL = "all"
PROBING = "cells"
"""Name of the experiment that probes exports."""
SCALES = get_args(Scale)
DEFAULT_ROOT = "runs/experiments"


@click.group(cls=TensorFlowGroup, example="python -m experiments run parity --scale small")
def commands() -> None:
    """Rerun the experiments of the literature on Grid LSTM at a scale that fits the machine.

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


def _data_option(command: Callable) -> Callable:
    return click.option(
        "--data",
        type=click.Path(exists=True, file_okay=False),
        help="Folder with local copies of data sets, each in its original files or in a folder of "
        "its name; default: they are downloaded once into the cache.",
    )(command)


def _jobs_option(command: Callable) -> Callable:
    return click.option(
        "--jobs",
        type=click.IntRange(1),
        help="Number of points measured at once; default: one per core, or one on a GPU.",
    )(command)


def _folder(root: str, scale: Scale, name: str) -> pathlib.Path:
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


def _require_data_sets(experiments: list["Experiment"], scale: Scale, data: str | None) -> None:
    """Checks the data sets of all experiments before the first begins."""
    from experiments.data import datasets

    datasets.require(
        dict.fromkeys(name for one in experiments for name in one.data_sets.get(scale, ())), data
    )


def _require_saved_models(paths: tuple[str, ...], names: list[str]) -> None:
    """Checks that exports that are named exist, and that an experiment probes them."""
    from model.errors import InputError

    if paths and PROBING not in names:
        raise InputError(f"--saved_model is for the experiment {PROBING}; leave it out")
    for path in paths:
        if not files.exists(os.path.join(path, SAVED_MODEL)):
            raise InputError(f"{path} is no SavedModel; give the directory of a version")


@commands.command("list", example="python -m experiments list --json")
@_root_option
@json_option
def list_experiments(root: str, as_json: bool) -> None:
    """List the experiments, and the scales at which they have results."""
    from experiments.framework.results import RESULTS

    rows: list[dict[str, Any]] = []
    for experiment in _all():
        scales = [s for s in SCALES if (_folder(root, s, experiment.name) / RESULTS).exists()]
        rows.append({"experiment": experiment.name, "title": experiment.title, "results": scales})
    _print_rows(rows, as_json)


@commands.command("run", example="python -m experiments run parity highway --scale small")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_scale_option
@_root_option
@_corpus_option
@_data_option
@_jobs_option
@click.option(
    "--saved_model", multiple=True, help="Export that `cells` probes; default: exports of its own."
)
def run(
    names: tuple[str, ...],
    scale: Scale,
    root: str,
    corpus: str,
    data: str | None,
    jobs: int | None,
    saved_model: tuple[str, ...],
) -> None:
    """Run experiments, or `all`; one that was interrupted resumes.

    Artifacts under --root are reused, so the same command twice measures once.
    """
    from common.progress import output
    from experiments.framework import measuring, results
    from experiments.framework.experiment import Inputs
    from pipeline.corpora.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    chosen = [_find(name, ALL) for name in dict.fromkeys(names) if name != ALL]
    chosen = _all() if ALL in names else chosen
    inputs = Inputs(text=resolve_mixture([corpus]), saved_models=saved_model, data=data)
    _require_data_sets(chosen, scale, data)
    _require_saved_models(saved_model, [one.name for one in chosen])
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        for experiment in chosen:
            measurements = measuring.measure(experiment, scale, inputs, store, workers)
            folder = _folder(root, scale, experiment.name)
            results.write(measurements, folder)
            output.print(
                " ".join(experiment.summarize(measurements.tables).sentences), markup=False
            )
            output.print(str(folder), markup=False)
    _write_report(scale, root)


@commands.command(
    "point",
    example='python -m experiments point parity layers=5 bits=40 "model=grid, tied" '
    "--scale small --seed 7",
)
@click.argument("name")
@click.argument("labels", nargs=-1, metavar="LABEL=VALUE...")
@_scale_option
@_root_option
@_corpus_option
@_data_option
@_jobs_option
@click.option("--seed", type=click.IntRange(0), default=0, help="First seed.")
@json_option
def point(
    name: str,
    labels: tuple[str, ...],
    scale: Scale,
    root: str,
    corpus: str,
    data: str | None,
    jobs: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure some points of an experiment, for instance with another seed, and print the outcomes.

    The results of `run` are not changed.
    """
    from experiments.framework import measuring
    from experiments.framework.experiment import Inputs
    from pipeline.corpora.corpus import resolve_mixture
    from pipeline.store.artifacts import Store

    experiment = _find(name)
    inputs = Inputs(text=resolve_mixture([corpus]), first_seed=seed, data=data)
    _require_data_sets([experiment], scale, data)
    points = measuring.select_points(experiment.points(scale, inputs), labels)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), measuring.Workers(jobs) as workers:
        experiment.prepare(store, scale, inputs)
        tables, _ = measuring.measure_points(points, store, workers, name)
    _print_rows(tables[experiment.outcomes], as_json)


@commands.command("tune", example="python -m experiments tune demo --trials 20 --seconds 60")
@click.argument("preset", metavar="PRESET")
@click.option(
    "--trials",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of trainings.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 1e6),
    default=60.0,
    show_default=True,
    help="Seconds of training of each trial, without compilation.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the settings that are tried.",
)
@_root_option
@_corpus_option
def tune(preset: str, trials: int, seconds: float, seed: int, root: str, corpus: str) -> None:
    """Search learning rate, batch size and window of a preset by trainings of equal time.

    A search that was interrupted resumes, and one with more --trials goes on.
    """
    from common.progress import output, progress_bar
    from experiments.characters import tuning
    from pipeline.corpora.corpus import resolve_mixture
    from pipeline.preset_files import load_preset, to_toml
    from pipeline.store.artifacts import Store

    settings = load_preset(preset, {"seed": seed})
    text = resolve_mixture([corpus])
    # Trials of other settings, another corpus or another seed belong to another search.
    searched = hashlib.sha256(f"{to_toml(settings)}{text.fingerprint}".encode()).hexdigest()
    name = f"{pathlib.Path(preset).stem}-{seconds:g}s-{searched[:12]}"
    folder = pathlib.Path(root, "tuning", name)
    store = Store(os.path.join(root, "artifacts"))
    with store.writing(), progress_bar("Searching", unit="trials") as progress:
        done = tuning.search(store, text, preset, trials, seconds, folder, seed, progress)
    output.print(tuning.table(done, preset, seconds), markup=False)
    output.print(str(folder), markup=False)


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Prints rows as a table, or as a list of JSON objects."""
    import rich.table

    from common.progress import output

    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = rich.table.Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    output.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(value) if isinstance(value, list) else str(value)


@commands.command("report", example="python -m experiments report --scale small")
@_scale_option
@_root_option
def write_report(scale: Scale, root: str) -> None:
    """Write the report of all experiments that have results, with their plots."""
    _write_report(scale, root)


def _write_report(scale: Scale, root: str) -> None:
    from experiments.framework import report, results
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
