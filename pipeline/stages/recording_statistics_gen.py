"""RecordingStatisticsGen: measures recordings and counts the characters of their transcripts.

Split-train/FeatureStats.pb     see `pipeline.data.recording_statistics`
"""

import dataclasses
from collections.abc import Sequence

from common.quiet_tensorflow import import_tensorflow
from model.errors import InputError
from pipeline.data.records import SPLITS
from pipeline.settings import RecognitionConfig
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "RecordingStatisticsGen"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a RecordingStatisticsGen artifact.

    Attributes:
      train_recordings: Number of recordings of the training split.
      eval_recordings: Number of recordings of the eval split.
      train_seconds: Duration of the recordings of the training split, in seconds.
      eval_seconds: Duration of those of the eval split, in seconds.
      distinct: Number of distinct characters of the transcripts of the training split.
    """

    train_recordings: int
    eval_recordings: int
    train_seconds: float
    eval_seconds: float
    distinct: int


def plan(context: RunContext, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(examples, context.settings.recognition)


def execute(context: RunContext, examples: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, examples, context.settings.recognition, context.beam_options)


def _cache_key(examples: Fingerprinted, recognition: RecognitionConfig) -> CacheKey:
    spectrogram = ("sample_rate", "window_ms", "step_ms", "bands", "max_seconds")
    parameters = {name: dataclasses.asdict(recognition)[name] for name in spectrogram}
    return CacheKey.of(NAME, __name__, {"examples": examples}, parameters)


def run(
    store: Store,
    examples: Artifact,
    recognition: RecognitionConfig = RecognitionConfig(),  # noqa: B008  it cannot be changed
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Computes the spectrograms of recordings, and counts characters.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen, of recordings.
      recognition: What recordings are, and the settings of the spectrogram.
      beam_options: Options for Beam, as on its own command lines.

    Returns:
      The artifact with the statistics of each split.

    Raises:
      InputError: If a recording is shorter than its transcript needs.
    """
    import_tensorflow()
    from pipeline.data import recording_statistics, runners
    from pipeline.data.recording_statistics_pipeline import (
        CountRecordings,
        JoinRecordingCounts,
        WriteRecordingStatistics,
    )
    from pipeline.data.spectrograms import limits_of, log_mel_of
    from pipeline.data.split_statistics import write_statistics

    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])
    spectrogram, limits = log_mel_of(recognition), limits_of(recognition)

    def write(directory: str) -> Outcome:
        problem = write_statistics(
            NAME,
            examples.path,
            directory,
            options,
            CountRecordings(NAME, spectrogram, limits),
            JoinRecordingCounts(recognition.bands),
            WriteRecordingStatistics(directory),
            "Measuring",
        )
        if problem:
            raise InputError(problem)
        train, evaluation = (recording_statistics.read(directory, split) for split in SPLITS)
        properties = Properties(
            train_recordings=train.recordings,
            eval_recordings=evaluation.recordings,
            train_seconds=round(train.seconds, 2),
            eval_seconds=round(evaluation.seconds, 2),
            distinct=len(train.characters),
        )
        summary = (
            f"{train.recordings:,} and {evaluation.recordings:,} recordings of "
            f"{train.seconds:,.0f} and {evaluation.seconds:,.0f} s; {properties.distinct} distinct "
            "characters"
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(examples, recognition), write)
