"""Measures the points of an experiment, as many at once as there are cores.

The nets of experiments are small: one core each serves two of them better than both cores serve
one after the other, and what comes out does not depend on how many there are.
"""

import datetime
import multiprocessing
import os
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import NamedTuple

from common import code_version
from common.machine import machine
from common.progress import progress_bar
from experiments import worker
from experiments.experiment import Experiment, Inputs, Measured, Point, Tables
from experiments.results import Results
from experiments.scale import Scale
from model.errors import InputError
from model.execution.planner import visible_device
from pipeline.store.artifacts import Store

LARGE = 3 << 30  # bytes


class Workers:
    """A process on each core, or none where this one is to measure point after point.

    TensorFlow keeps what it has compiled for as long as a process lives. So new ones take the place
    of those that have grown large, between two experiments.
    """

    def __init__(self, jobs: int | None):
        """Takes how many points to measure at once; None for the number of cores.

        One uses all cores, or the GPU.
        """
        cores = sorted(os.sched_getaffinity(0))
        jobs = jobs or (1 if visible_device() == "accelerator" else len(cores))
        self._cores = cores[:jobs]
        self._pool: Executor | None = None
        self._largest = 0

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._end(cancel=kind is not None)

    def run(
        self, difficulty_sweeps: Sequence["DifficultySweep"], root: str
    ) -> Iterator["SweepResult"]:
        """Measures sweeps of points, and yields each as it is done.

        Args:
          difficulty_sweeps: the points.
          root: of the store.
        """
        if len(self._cores) < 2:
            yield from (
                _run_sweep(difficulty_sweep, root) for difficulty_sweep in difficulty_sweeps
            )
            return
        if self._largest > LARGE:
            self._end()
        self._pool = self._pool or self._begun()
        for future in as_completed(
            [self._pool.submit(_run_sweep, one, root) for one in difficulty_sweeps]
        ):
            result = future.result()
            self._largest = max(self._largest, result.memory)
            yield result

    def _begun(self):
        context = multiprocessing.get_context("spawn")
        free = context.Queue()
        for core in self._cores:
            free.put(core)
        return ProcessPoolExecutor(len(self._cores), context, worker.begin, (free,))

    def _end(self, cancel=False):
        if self._pool:
            self._pool.shutdown(cancel_futures=cancel)
        self._pool, self._largest = None, 0


def measure(
    experiment: Experiment, scale: Scale, inputs: Inputs, store: Store, workers: Workers
) -> Results:
    """Measures all points; what is in the store already is read from there.

    Args:
      experiment: the experiment.
      scale: its scale.
      inputs: what the user has chosen.
      store: where artifacts are, held by this process.
      workers: who measures.
    """
    experiment.prepare(store, scale, inputs)
    points = experiment.points(scale, inputs)
    tables, seconds = measure_points(points, store, workers, experiment.name)
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
    points: Sequence[Point], store: Store, workers: Workers, title: str
) -> tuple[Tables, float]:
    """Measures points, and returns their tables, labelled, and the seconds that they took.

    Args:
      points: what to measure.
      store: where artifacts are, held by this process.
      workers: who measures.
      title: what the progress bar is called.
    """
    found: dict[int, Measured] = {}
    done = 0
    with progress_bar(title, "points") as progress:
        progress(0, len(points))
        for result in workers.run(_difficulty_sweeps(points), store.root):
            done += len(result.difficulty_sweep)
            found.update(result.measured)
            progress(done, len(points))
    tables: Tables = {}
    for number in sorted(found):
        for table, rows in found[number].tables.items():
            labels = points[number].labels
            tables.setdefault(table, []).extend({**labels, **row} for row in rows)
    return tables, sum(one.seconds for one in found.values())


DifficultySweep = Sequence[tuple[int, Point]]
"""Numbered points, of which none is measured after one that failed."""


class SweepResult(NamedTuple):
    """What came of a sweep.

    Attributes:
      difficulty_sweep: the points.
      measured: by their numbers, up to the first that failed.
      memory: the most that has been resident in the process, in bytes.
    """

    difficulty_sweep: DifficultySweep
    measured: dict[int, Measured]
    memory: int


def _difficulty_sweeps(points: Sequence[Point]) -> list[DifficultySweep]:
    """The numbered points, those of a sweep together."""
    difficulty_sweeps: dict[str, list[tuple[int, Point]]] = {}
    for number, point in enumerate(points):
        difficulty_sweeps.setdefault(point.difficulty_sweep or str(number), []).append(
            (number, point)
        )
    return list(difficulty_sweeps.values())


def _run_sweep(difficulty_sweep: DifficultySweep, root: str) -> SweepResult:
    """Measures a sweep."""
    store, found = Store(root), {}
    for number, point in difficulty_sweep:
        found[number] = point.measure(store)
        if point.failed(found[number].tables):
            break
    return SweepResult(
        difficulty_sweep, found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    )
