"""The statistics of a split, as the stages after StatisticsGen read them.

Split-train/FeatureStats.pb     a DatasetFeatureStatisticsList of tensorflow-metadata with the
                                features `characters` and `line_length`
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from model.config import CharacterUnit
from pipeline.data.records import SPLITS, damaged, split_directory

STATISTICS = "FeatureStats.pb"
INVALID = "invalid.txt"
QUANTILES = 10


class Statistics(NamedTuple):
    """The statistics of one split.

    Attributes:
      occurrences: Number of occurrences of each character, by its code.
      entropies: Entropies of orders 0 and 1, in bits per character.
      lines: Statistics of the lengths of the lines, with a histogram.
      unit: Unit of text that is one character.
    """

    occurrences: dict[int, int]
    entropies: tuple[float, float]
    lines: statistics_pb2.NumericStatistics
    unit: CharacterUnit

    @property
    def distinct(self) -> int:
        """The number of distinct characters."""
        return len(self.occurrences)

    @property
    def total(self) -> int:
        """The number of characters."""
        return sum(self.occurrences.values())


def read(directory: str, split: str) -> Statistics:
    """Reads the statistics of one split.

    Args:
      directory: Directory of a StatisticsGen artifact.
      split: Name of the split.

    Raises:
      InputError: If they are damaged.
    """
    characters, lines = read_features(directory, split, ("characters", "line_length"))
    occurrences = occurrences_of(characters)
    unicode = any(code.startswith("U+") for code in occurrences)
    return Statistics(
        occurrences={int(code[2:], 16): count for code, count in occurrences.items()},
        entropies=tuple(custom.num for custom in characters.custom_stats),
        lines=lines.num_stats,
        unit="unicode" if unicode else "bytes",
    )


def read_features(
    directory: str, split: str, names: Iterable[str]
) -> list[statistics_pb2.FeatureNameStatistics]:
    """Reads the statistics of features of one split.

    Args:
      directory: Directory of the statistics of all splits.
      split: Name of the split.
      names: Names of the features.

    Returns:
      The statistics of each, in the order of the names.

    Raises:
      InputError: If they are damaged.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    path = os.path.join(split_directory(directory, split), STATISTICS)
    try:
        with files.open_file(path, "rb") as file:
            statistics.ParseFromString(file.read())
        features = {one.path.step[0]: one for one in statistics.datasets[0].features}
        return [features[name] for name in names]
    except (DecodeError, IndexError, KeyError, ValueError) as error:
        raise damaged(path) from error


def occurrences_of(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, int]:
    """Returns the number of occurrences of each string of a feature, from the most frequent on.

    Args:
      feature: Statistics of the feature.
    """
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: round(bucket.sample_count) for bucket in buckets}


def invalid_place(directory: str) -> str:
    """Returns what the statistics of a split say is invalid in its text; empty if nothing is.

    Args:
      directory: Directory of the statistics of all splits.
    """
    for split in SPLITS:
        path = os.path.join(split_directory(directory, split), INVALID)
        if files.exists(path):
            return files.read_text(path)
    return ""
