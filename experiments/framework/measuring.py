"""Measures the points of an experiment, as many at once as there are cores.

The nets of experiments are small: two of them train faster on a core each than one after the other
on both cores. Results do not depend on the number of cores.
"""

import datetime
import multiprocessing
import os
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import Any, NamedTuple

from common import code_version
from common.machine import machine
from common.progress import progress_bar
from experiments.framework import worker
from experiments.framework.experiment import Experiment, Inputs, Measurement, Point, Tables
from experiments.framework.results import Results
from experiments.framework.scale import Scale
from model.errors import InputError
from model.execution.planner import visible_device
from pipeline.store.artifacts import Store

MAX_WORKER_BYTES = 3 << 30
"""Largest resident memory of a worker that is kept for the next experiment."""


class Workers:
    """Processes that measure points, one on each core; with a single job, this process does.

    TensorFlow keeps what it has compiled for as long as a process lives. Between two experiments,
    processes that have grown large are therefore replaced.
    """

    def __init__(self, jobs: int | None):
        """Configures the workers, which start with the first points.

        Args:
          jobs: Number of points measured at once; None for the number of cores, or 1 on a GPU. A
            single job uses all cores, or the GPU.
        """
        cores = sorted(os.sched_getaffinity(0))
        jobs = jobs or (1 if visible_device() == "accelerator" else len(cores))
        self._cores = cores[:jobs]
        self._pool: Executor | None = None
        self._largest = 0
        self._others = set(multiprocessing.active_children())

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, error_type: type | None, *_: Any) -> None:
        # Who interrupts a run does not want to wait for points that take minutes. What fits and
        # trainings have written resumes; an error of one point lets its neighbours end.
        if error_type is not None and not issubclass(error_type, Exception):
            for process in set(multiprocessing.active_children()) - self._others:
                process.kill()
        self._end(cancel=error_type is not None)

    def run(
        self, difficulty_sweeps: Sequence["DifficultySweep"], root: str
    ) -> Iterator["SweepResult"]:
        """Measures sweeps of points, and yields the result of each as it is done.

        Args:
          difficulty_sweeps: Sweeps to measure.
          root: Root of the store.
        """
        if len(self._cores) < 2:
            for sweep in difficulty_sweeps:
                yield _run_sweep(sweep, root)
            return
        if self._largest > MAX_WORKER_BYTES:
            self._end()
        self._pool = self._pool or self._start_pool()
        futures = [self._pool.submit(_run_sweep, sweep, root) for sweep in difficulty_sweeps]
        for future in as_completed(futures):
            result = future.result()
            self._largest = max(self._largest, result.memory)
            yield result

    def _start_pool(self) -> Executor:
        context = multiprocessing.get_context("spawn")
        free_cores = context.Queue()
        for core in self._cores:
            free_cores.put(core)
        return ProcessPoolExecutor(len(self._cores), context, worker.start, (free_cores,))

    def _end(self, cancel: bool = False) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=cancel)
        self._pool, self._largest = None, 0


def measure(
    experiment: Experiment, scale: Scale, inputs: Inputs, store: Store, workers: Workers
) -> Results:
    """Measures all points of an experiment; artifacts that the store already holds are reused.

    Args:
      experiment: The experiment.
      scale: Its scale.
      inputs: The user's choices.
      store: Store of the artifacts, held by this process.
      workers: Workers that measure.
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


def select_points(points: Sequence[Point], labels: Sequence[str]) -> list[Point]:
    """Returns the points that have all of some labels.

    Args:
      points: Points to choose from.
      labels: Labels as `name=value`.

    Raises:
      InputError: If there are none.
    """
    required = dict(label.partition("=")[::2] for label in labels)
    selected = []
    for point in points:
        shown = {name: str(value) for name, value in point.labels.items()}
        if required.items() <= shown.items():
            selected.append(point)
    if not selected:
        choices = []
        for name in points[0].labels:
            values = dict.fromkeys(str(point.labels[name]) for point in points)
            choices.append(f"{name}={'|'.join(values)}")
        raise InputError(f"no point is labelled {' '.join(labels)}; there are {'; '.join(choices)}")
    return selected


def measure_points(
    points: Sequence[Point], store: Store, workers: Workers, title: str
) -> tuple[Tables, float]:
    """Measures points.

    Args:
      points: Points to measure.
      store: Store of the artifacts, held by this process.
      workers: Workers that measure.
      title: Title of the progress bar.

    Returns:
      The tables of all points, with the labels of a point as columns of its rows, and the sum of
      the seconds that the points took.
    """
    measured: dict[int, Measurement] = {}
    done = 0
    with progress_bar(title, "points") as progress:
        progress(0, len(points))
        for result in workers.run(_difficulty_sweeps(points), store.root):
            done += len(result.difficulty_sweep)
            measured.update(result.measured)
            progress(done, len(points))
    tables: Tables = {}
    for number in sorted(measured):
        for table, rows in measured[number].tables.items():
            labels = points[number].labels
            tables.setdefault(table, []).extend({**labels, **row} for row in rows)
    return tables, sum(point.seconds for point in measured.values())


DifficultySweep = Sequence[tuple[int, Point]]
"""Numbered points, of which none is measured after one that failed."""


class SweepResult(NamedTuple):
    """The result of a sweep.

    Attributes:
      difficulty_sweep: Points of the sweep.
      measured: Measurements by the numbers of the points, up to the first that failed.
      memory: Peak resident memory of the process, in bytes.
    """

    difficulty_sweep: DifficultySweep
    measured: dict[int, Measurement]
    memory: int


def _difficulty_sweeps(points: Sequence[Point]) -> list[DifficultySweep]:
    """Returns the numbered points, grouped by sweep."""
    sweeps: dict[str, list[tuple[int, Point]]] = {}
    for number, point in enumerate(points):
        sweeps.setdefault(point.difficulty_sweep or str(number), []).append((number, point))
    return list(sweeps.values())


def _run_sweep(difficulty_sweep: DifficultySweep, root: str) -> SweepResult:
    """Measures the points of a sweep until one fails."""
    store, measured = Store(root), {}
    for number, point in difficulty_sweep:
        measured[number] = point.measure(store)
        if point.failed(measured[number].tables):
            break
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return SweepResult(difficulty_sweep=difficulty_sweep, measured=measured, memory=memory)
