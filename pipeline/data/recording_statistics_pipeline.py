"""The Beam transforms that measure recordings and write `pipeline.data.recording_statistics`."""

import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from model.speech.ctc import frames_needed
from model.speech.log_mel import LogMel, log_mel_spectrogram
from model.speech.wav import decode_wavs
from model.speech.wav_headers import WavLimits
from pipeline.data import runners
from pipeline.data.counts import Histogram
from pipeline.data.feature_statistics import add_numbers, add_strings, write_invalid
from pipeline.data.recording_statistics import BANDS, PERIODS_PER_SECOND
from pipeline.data.recordings import Recording, gathered, read_recordings
from pipeline.data.records import split_directory
from pipeline.data.split_statistics import Shard
from pipeline.data.statistics import STATISTICS

SILENT = 0.1
"""Standard deviation of the logarithm of a band's power, up to which the band has no sound."""


class RecordingCounts(NamedTuple):
    """What was counted of some recordings.

    Attributes:
      characters: Number of occurrences of each character of the transcripts.
      lengths: Number of transcripts by their number of characters.
      milliseconds: Number of recordings by their duration in milliseconds.
      frames: Number of frames of the spectrograms.
      sums: Sum of each band over the frames, float64 `[bands]`.
      squares: Sum of the squares, likewise.
      invalid: What is wrong with a recording; empty if nothing is.
    """

    characters: Counter[str]
    lengths: Counter[int]
    milliseconds: Counter[int]
    frames: int
    sums: np.ndarray
    squares: np.ndarray
    invalid: str = ""

    @classmethod
    def none(cls, bands: int) -> "RecordingCounts":
        """Returns the counts of no recordings."""
        return cls(
            characters=Counter(),
            lengths=Counter(),
            milliseconds=Counter(),
            frames=0,
            sums=np.zeros(bands),
            squares=np.zeros(bands),
        )

    @classmethod
    def sum(cls, bands: int, counts: Iterable["RecordingCounts"]) -> "RecordingCounts":
        """Returns the counts of all."""
        total = cls.none(bands)
        for one in counts:
            total.characters.update(one.characters)
            total.lengths.update(one.lengths)
            total.milliseconds.update(one.milliseconds)
            total = total._replace(
                frames=total.frames + one.frames,
                sums=total.sums + one.sums,
                squares=total.squares + one.squares,
                invalid=min(filter(None, (total.invalid, one.invalid)), default=""),
            )
        return total


class CountRecordings(beam.DoFn):
    """Counts the recordings of one shard."""

    def __init__(self, stage: str, spectrogram: LogMel, limits: WavLimits):
        """Creates the counters.

        Args:
          stage: Name of the stage, the namespace of the counters.
          spectrogram: Settings of the spectrogram.
          limits: What recordings are.
        """
        self._spectrogram = spectrogram
        self._limits = limits
        self._bytes = runners.Counter(stage, "bytes")
        self._recordings = runners.Counter(stage, "recordings")

    def process(self, shard: Shard) -> Iterator[tuple[str, RecordingCounts]]:
        """Yields the name of the split, with the counts."""
        split, _, path = shard
        counts = RecordingCounts.none(self._spectrogram.bands)
        spectrogram_of = _spectrogram_function(self._spectrogram)
        for part in gathered(read_recordings(path)):
            waves = decode_wavs({one.source: one.audio for one in part}, self._limits)
            for one, samples in zip(part, waves, strict=True):
                counts = self._counted(counts, one, samples, spectrogram_of(samples).numpy())
            self._bytes.inc(sum(len(one.audio) for one in part))
            self._recordings.inc(len(part))
        yield split, counts

    def _counted(
        self, counts: RecordingCounts, one: Recording, samples: np.ndarray, values: np.ndarray
    ) -> RecordingCounts:
        """Returns counts to which a recording is added.

        Args:
          counts: Counts, whose counters are changed in place.
          one: The recording.
          samples: Its samples.
          values: Its spectrogram, `[frames, bands]`.
        """
        needed, problem = frames_needed(one.transcript), ""
        if needed > len(values):
            problem = (
                f"{one.source} has {len(values)} frames, and the {len(one.transcript)} characters "
                f"of its transcript need {needed}; correct the transcript, or use a smaller "
                "--step_ms"
            )
        rate = self._limits.sample_rate
        counts.characters.update(one.transcript)
        counts.lengths[len(one.transcript)] += 1
        counts.milliseconds[len(samples) * 1000 // rate] += 1
        return counts._replace(
            frames=counts.frames + len(values),
            sums=counts.sums + values.sum(axis=0, dtype=np.float64),
            squares=counts.squares + np.square(values, dtype=np.float64).sum(axis=0),
            invalid=counts.invalid or problem,
        )


@functools.cache
def _spectrogram_function(settings: LogMel) -> Callable[[np.ndarray], tf.Tensor]:
    """Returns the function that computes spectrograms, traced once for recordings of any length."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float32)])
    def spectrogram_of(samples: tf.Tensor) -> tf.Tensor:
        return log_mel_spectrogram(samples, settings)

    return spectrogram_of


class JoinRecordingCounts(beam.CombineFn):
    """Sums the counts of shards."""

    def __init__(self, bands: int):
        """Takes the number of mel bands."""
        self._bands = bands

    def create_accumulator(self) -> RecordingCounts:
        """Returns the counts of no shard."""
        return RecordingCounts.none(self._bands)

    def add_input(self, accumulator: RecordingCounts, counts: RecordingCounts) -> RecordingCounts:
        """Adds a shard."""
        return self.merge_accumulators([accumulator, counts])

    def merge_accumulators(self, accumulators: Iterable[RecordingCounts]) -> RecordingCounts:
        """Sums the counts of several accumulators."""
        return RecordingCounts.sum(self._bands, accumulators)

    def extract_output(self, accumulator: RecordingCounts) -> RecordingCounts:
        """Returns the counts of all shards."""
        return accumulator


class WriteRecordingStatistics(beam.DoFn):
    """Writes the statistics of a split."""

    def __init__(self, directory: str):
        """Takes the directory of the statistics."""
        self._directory = directory

    def process(self, counts_of_split: tuple[str, RecordingCounts]) -> None:
        """Writes the files, or `invalid.txt` in their place if a recording is invalid."""
        split, counts = counts_of_split
        folder = split_directory(self._directory, split)
        if counts.invalid:
            write_invalid(folder, counts.invalid)
            return
        with files.open_file(os.path.join(folder, STATISTICS), "wb") as file:
            file.write(to_proto(split, counts).SerializeToString(deterministic=True))
        mean = counts.sums / counts.frames
        variance = np.maximum(counts.squares / counts.frames - mean**2, 0)
        # A band without sound, as above the microphone's range, is only centred: what varies in it
        # is rounding.
        scale = np.sqrt(variance)
        periods = Counter[int]()
        for milliseconds, number in counts.milliseconds.items():
            periods[milliseconds * PERIODS_PER_SECOND // 1000] += number
        content = {
            "mean": mean.tolist(),
            "scale": np.where(scale > SILENT, scale, 1).tolist(),
            "periods": sorted(periods.items()),
        }
        files.write_text(os.path.join(folder, BANDS), json.dumps(content) + "\n")


def to_proto(split: str, counts: RecordingCounts) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of one split as a protocol buffer.

    Args:
      split: Name of the split.
      counts: Counts of its recordings.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(name=split, num_examples=counts.lengths.total())
    transcripts = counts.lengths.total()
    add_strings(dataset.features.add(), "transcript", counts.characters, transcripts)
    for name, counter in (("characters", counts.lengths), ("milliseconds", counts.milliseconds)):
        add_numbers(dataset.features.add(), name, Histogram.of_counter(counter))
    return statistics
