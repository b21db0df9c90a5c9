"""Options for Beam's runners, as a user gives them."""

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from model.errors import InputError
from pipeline.settings import nearest

RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PrismRunner")


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """The options in `arguments`, such as `--runner=FlinkRunner`.

    Raises:
      InputError: if one of them is no option, or there is no such runner.
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
