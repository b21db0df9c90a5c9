"""The statistics of recordings: their durations, their transcripts, and the bands they sound in.

Split-train/FeatureStats.pb     a DatasetFeatureStatisticsList of tensorflow-metadata: of
                                `transcript` the number of occurrences of each character
                                (`rank_histogram`), of `characters` the distribution of the number
                                of characters of a transcript, of `milliseconds` that of the
                                durations
Split-train/bands.json          the mean and the standard deviation of each mel band over all
                                frames, and the number of recordings by their durations in periods
                                of half a second: [periods, recordings] each
"""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from common import files
from pipeline.data.records import damaged, split_directory
from pipeline.data.statistics import occurrences_of, read_features

BANDS = "bands.json"

PERIODS_PER_SECOND = 2
"""Recordings of as many whole periods make batches together."""


class RecordingStatistics(NamedTuple):
    """The statistics of one split.

    Attributes:
      characters: Number of occurrences of each character of the transcripts, from the most frequent
        to the least.
      periods: Number of recordings by their number of whole periods.
      mean: Mean of each band over all frames, float32 `[bands]`.
      scale: Standard deviation of each band, likewise.
      seconds: Duration of all recordings.
    """

    characters: dict[str, int]
    periods: Mapping[int, int]
    mean: np.ndarray
    scale: np.ndarray
    seconds: float

    @property
    def recordings(self) -> int:
        """The number of recordings."""
        return sum(self.periods.values())


def read(directory: str, split: str) -> RecordingStatistics:
    """Reads the statistics of one split.

    Args:
      directory: Directory of a RecordingStatisticsGen artifact.
      split: Name of the split.

    Raises:
      InputError: If they are damaged.
    """
    transcript, milliseconds = read_features(directory, split, ("transcript", "milliseconds"))
    numbers = milliseconds.num_stats
    path = os.path.join(split_directory(directory, split), BANDS)
    try:
        content = json.loads(files.read_text(path))
        return RecordingStatistics(
            characters=occurrences_of(transcript),
            periods={int(number): int(count) for number, count in content["periods"]},
            mean=np.array(content["mean"], np.float32),
            scale=np.array(content["scale"], np.float32),
            seconds=numbers.mean * numbers.common_stats.num_non_missing / 1000,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path) from error
