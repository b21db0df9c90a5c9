"""Runs Beam pipelines: parses the options for Beam, and shows the counters of a run."""

import contextlib
import copy
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.metrics.execution import MetricsEnvironment
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.metrics.metricbase import MetricName
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner

from common import files
from common.progress import progress_bar
from model.errors import InputError
from pipeline.settings import nearest

RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PrismRunner")
SECONDS_BETWEEN_LOOKS = 0.5


class Counter:
    """A counter of Beam's that can be read while a bundle runs, and not only after it."""

    def __init__(self, namespace: str, name: str):
        """Creates the counter.

        Args:
          namespace: Name of the stage.
          name: Name of the counter.
        """
        self._name = namespace, name
        self._of_bundles = Metrics.counter(namespace, name)
        # Counters of bundles reach an in-process runner at the end of the bundle.
        self._of_process = Metrics.DelegatingCounter(MetricName(namespace, name), process_wide=True)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # A counter of a process, pickled, would come back as a counter of bundles.
        return Counter, self._name

    def inc(self, number: int = 1) -> None:
        """Adds a number, 1 by default."""
        self._of_bundles.inc(number)
        self._of_process.inc(number)


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Parses options for Beam.

    Args:
      arguments: Options as on a command line, such as `--runner=FlinkRunner`.

    Raises:
      InputError: If one of them is no option, or there is no such runner.
    """
    for argument in arguments:
        if not argument.startswith("--"):
            raise InputError(
                f"{argument} is no option; a corpus is given with --corpus, and options for Beam "
                "as --name=value after --"
            )
    options = PipelineOptions(list(arguments))
    runner = options.view_as(StandardOptions).runner or RUNNERS[0]
    try:
        create_runner(runner)
    except (AttributeError, ImportError, ValueError) as error:
        raise InputError(f"Beam has no runner {runner}{nearest(runner, RUNNERS)}") from error
    return options


def require_visible(options: PipelineOptions, paths: Iterable[str]) -> None:
    """Checks that the workers of a runner can read and write some paths.

    Args:
      options: Options that name the runner.
      paths: Paths of files or directories.

    Raises:
      InputError: If the workers run on other machines, and a path is local to this one.
    """
    name = options.view_as(StandardOptions).runner
    local = next(filter(files.is_local, paths), None)
    if name == "DataflowRunner" and local:
        raise InputError(f"{name}'s workers cannot see {local}; put corpus and --root on gs://")


def pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Returns a pipeline without transforms, on the runner that the options name.

    DirectRunner stands for the runner within this process. Beam's own choice under that name would
    first try to download another program, and depend on whether that succeeds.
    """
    name = options.view_as(StandardOptions).runner or RUNNERS[0]
    if name != RUNNERS[0]:
        return beam.Pipeline(options=options)
    return beam.Pipeline(FnApiRunner(), options)


def run(pipeline: beam.Pipeline, stage: str, doing: str, unit: str, total: int) -> None:
    """Runs a pipeline to its end, with a progress bar and all counters beside it.

    Args:
      pipeline: Pipeline to run.
      stage: Name of the stage, the namespace of the counters.
      doing: Name of the progress bar.
      unit: Counter that the bar follows.
      total: Value of that counter at the end.

    Raises:
      InputError: On invalid user input, even if a worker has found it.
      OSError: If a worker cannot read or write a file.
    """
    with progress_bar(doing, unit) as progress:

        def show(counters: dict[str, int]) -> None:
            done = counters.pop(unit, 0)
            note = ", ".join(f"{number:,} {name}" for name, number in sorted(counters.items()))
            progress(done, total, note.replace("_", " "))

        try:
            with _shown(lambda: _of_process(stage), show):
                result = pipeline.run()
            while not PipelineState.is_terminal(result.state):
                # A result caches the first counters that it returns; a copy has no cache yet.
                show(_of_result(copy.copy(result), stage))
                time.sleep(SECONDS_BETWEEN_LOOKS)
            result.wait_until_finish()
        except RuntimeError as error:
            raise _original(error) from error


@contextlib.contextmanager
def _shown(
    counters: Callable[[], dict[str, int]], show: Callable[[dict[str, int]], None]
) -> Iterator[None]:
    """Shows counters periodically while the body of the context runs."""
    before, done = counters(), threading.Event()

    def since() -> dict[str, int]:
        return {name: number - before.get(name, 0) for name, number in counters().items()}

    def look() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            show(since())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    show(since())


def _of_process(stage: str) -> dict[str, int]:
    """Returns the counters of DoFns that run in this process."""
    cumulative = MetricsEnvironment.process_wide_container().get_cumulative()
    found = {}
    for key, number in cumulative.counters.items():
        if key.metric.namespace == stage:
            found[key.metric.name] = number
    return found


def _of_result(result: PipelineResult, stage: str) -> dict[str, int]:
    """Returns the counters that workers elsewhere have reported."""
    found: dict[str, int] = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace(stage))["counters"]:
        name = counter.key.metric.name
        found[name] = found.get(name, 0) + (counter.committed or counter.attempted or 0)
    return found


def _original(error: RuntimeError) -> Exception:
    """Returns the InputError or OSError that a worker raised; any other error itself."""
    if found := re.search(r"InputError: (.*?)(?: \[while running|\n|$)", str(error)):
        return InputError(found[1])
    errno = r"Error: \[Errno (\d+)\] ([^:\n]*?)(?:: '(.*?)')?(?: \[while running|\n|$)"
    if found := re.search(errno, str(error)):
        return OSError(int(found[1]), found[2], found[3])
    return error
