"""Runs Beam pipelines: parses the options for Beam, and shows the counters of a run."""

import argparse
import contextlib
import copy
import difflib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import apache_beam as beam
import grpc
from apache_beam.metrics.execution import MetricsEnvironment
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.metrics.metricbase import MetricName
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner

from common import files
from common.progress import progress_bar
from model.errors import InputError, nearest

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
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        options_class._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    options = PipelineOptions(list(arguments))
    runner = options.view_as(StandardOptions).runner or RUNNERS[0]
    for argument in unknown:
        _check_unknown(argument, runner, parser)
    try:
        create_runner(runner)
    except (AttributeError, ImportError, ValueError) as error:
        raise InputError(f"Beam has no runner {runner}{nearest(runner, RUNNERS)}") from error
    return options


class _OptionParser(_BeamArgumentParser):
    """A parser that raises an InputError in place of printing its usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"an option for Beam is wrong: {message}; see Beam's PipelineOptions")


def _check_unknown(argument: str, runner: str, parser: argparse.ArgumentParser) -> None:
    """Refuses an option that Beam's classes do not declare.

    Job servers of other runners declare options of their own, so there only those are refused that
    look like a misspelt one.
    """
    name = argument.split("=")[0]
    declared = [option for option in parser._option_string_actions if option.startswith("--")]
    close = difflib.get_close_matches(name, declared, n=1, cutoff=0.8)
    if close or runner == RUNNERS[0]:
        advice = f"; did you mean {close[0]}?" if close else "; see Beam's PipelineOptions"
        raise InputError(f"Beam has no option {name}{advice}")


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
        except (RuntimeError, grpc.RpcError, ValueError) as error:
            original = _original(error)
            name = pipeline.options.view_as(StandardOptions).runner or RUNNERS[0]
            if original is error and name != RUNNERS[0]:
                first = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise InputError(
                    f"{name} cannot run the stage: {first}; check its options, and that it runs"
                ) from error
            raise original from error


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


def _original(error: Exception) -> Exception:
    """Returns the InputError or OSError that a worker raised; any other error itself."""
    if found := re.search(r"InputError: (.*?)(?: \[while running|\n|$)", str(error)):
        return InputError(found[1])
    errno = r"Error: \[Errno (\d+)\] ([^:\n]*?)(?:: '(.*?)')?(?: \[while running|\n|$)"
    if found := re.search(errno, str(error)):
        return OSError(int(found[1]), found[2], found[3])
    return error
