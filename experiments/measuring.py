"""Measures the points of an experiment, as many at once as there are cores.

The nets of experiments are small: one core each serves two of them better than both cores serve
one after the other, and what comes out does not depend on how many there are.
"""

import contextlib
import datetime
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed

from experiments import worker
from experiments.experiment import Experiment, Inputs, Measured, Point, Tables
from experiments.results import Results
from experiments.scale import Scale
from model.errors import InputError
from model.execution import visible_device
from pipeline import code_version
from pipeline.artifacts import Store
from pipeline.machine import machine
from pipeline.progress import progress_bar


@contextlib.contextmanager
def workers(jobs: int | None) -> Iterator[Executor | None]:
    """A process on each core; None where this one is to measure point after point.

    Args:
      jobs: points at once; None for the number of cores. One uses all cores, or the GPU.
    """
    cores = sorted(os.sched_getaffinity(0))
    jobs = jobs or (1 if visible_device() == "accelerator" else len(cores))
    cores = cores[:jobs]
    if len(cores) < 2:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for core in cores:
        free.put(core)
    with ProcessPoolExecutor(len(cores), context, worker.begin, (free,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def measure(
    experiment: Experiment, scale: Scale, inputs: Inputs, store: Store, pool: Executor | None
) -> Results:
    """Measures all points; what is in the store already is read from there.

    Args:
      experiment: the experiment.
      scale: its scale.
      inputs: what the user has chosen.
      store: where artifacts are, held by this process.
      pool: from `workers`.
    """
    experiment.prepare(store, scale, inputs)
    points = experiment.points(scale, inputs)
    tables, seconds = measure_points(points, store, pool, experiment.name)
    return Results(
        experiment=experiment.name,
        scale=scale,
        commit=code_version.commit(),
        machine=machine(),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        tables=tables,
    )


def labelled(points: Sequence[Point], labels: Sequence[str]) -> list[Point]:
    """The points that have all of some labels.

    Args:
      points: to choose from.
      labels: as `name=value`.

    Raises:
      InputError: if none has.
    """
    wanted = dict(label.partition("=")[::2] for label in labels)
    found = [
        point
        for point in points
        if wanted.items() <= {name: str(value) for name, value in point.labels.items()}.items()
    ]
    if not found:
        known = {
            name: dict.fromkeys(point.labels[name] for point in points) for name in points[0].labels
        }
        told = "; ".join(f"{name}={'|'.join(map(str, values))}" for name, values in known.items())
        raise InputError(f"no point is labelled {' '.join(labels)}; there are {told}")
    return found


def measure_points(
    points: Sequence[Point], store: Store, pool: Executor | None, title: str
) -> tuple[Tables, float]:
    """Measures points, and returns their tables, labelled, and the seconds that they took.

    Args:
      points: what to measure.
      store: where artifacts are, held by this process.
      pool: from `workers`.
      title: what the progress bar is called.
    """
    found: dict[int, Measured] = {}
    done = 0
    with progress_bar(title, "points") as progress:
        progress(0, len(points))
        ladders = _ladders(points)
        if pool is None:
            finished = (_climb(ladder, store.root) for ladder in ladders)
        else:
            futures = [pool.submit(_climb, ladder, store.root) for ladder in ladders]
            finished = (future.result() for future in as_completed(futures))
        for ladder, measured in finished:
            done += len(ladder)
            found.update(measured)
            progress(done, len(points))
    tables: Tables = {}
    for number in sorted(found):
        for table, rows in found[number].tables.items():
            labels = points[number].labels
            tables.setdefault(table, []).extend({**labels, **row} for row in rows)
    return tables, sum(one.seconds for one in found.values())


Ladder = Sequence[tuple[int, Point]]


def _ladders(points: Sequence[Point]) -> list[Ladder]:
    """The numbered points, those of a ladder together."""
    ladders: dict[str, list[tuple[int, Point]]] = {}
    for number, point in enumerate(points):
        ladders.setdefault(point.ladder or str(number), []).append((number, point))
    return list(ladders.values())


def _climb(ladder: Ladder, root: str) -> tuple[Ladder, dict[int, Measured]]:
    """The measurements of a ladder's points, up to the first that failed."""
    store, found = Store(root), {}
    for number, point in ladder:
        found[number] = point.measure(store)
        if point.failed(found[number].tables):
            break
    return ladder, found
