"""What the statistics of all kinds of examples are written with.

The statistics of a feature are a `FeatureNameStatistics` of tensorflow-metadata, which Facets and
TensorFlow Data Validation show.
"""

import itertools
import math
import os
from collections import Counter

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from pipeline.data.counts import Histogram
from pipeline.data.statistics import INVALID, QUANTILES

SHOWN = 20
"""Number of most frequent strings that viewers of statistics show."""

BUCKETS = 20
"""Number of buckets of a histogram of integers."""


def add_strings(
    feature: statistics_pb2.FeatureNameStatistics,
    name: str,
    occurrences: Counter[str],
    present: int,
    missing: int = 0,
) -> None:
    """Adds the statistics of strings, with the number of occurrences of each.

    Args:
      feature: Statistics of the feature, empty.
      name: Name of the feature.
      occurrences: Number of occurrences of each string.
      present: Number of examples that have the feature.
      missing: Number of examples that lack it. Default 0.
    """
    feature.type = statistics_pb2.FeatureNameStatistics.STRING
    feature.path.step.append(name)
    stats = feature.string_stats
    stats.common_stats.num_non_missing = present
    stats.common_stats.num_missing = missing
    stats.common_stats.tot_num_values = occurrences.total()
    stats.unique = len(occurrences)
    ranked = sorted(occurrences.items(), key=lambda one: (-one[1], one[0]))
    for rank, (string, count) in enumerate(ranked):
        stats.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=string, sample_count=count
        )
        if rank < SHOWN:
            stats.top_values.add(value=string, frequency=count)


def add_numbers(
    feature: statistics_pb2.FeatureNameStatistics, name: str, histogram: Histogram
) -> None:
    """Adds the statistics of integers, with quantiles and a histogram.

    Args:
      feature: Statistics of the feature, empty.
      name: Name of the feature.
      histogram: Number of occurrences of each integer.
    """
    feature.type = statistics_pb2.FeatureNameStatistics.INT
    feature.path.step.append(name)
    lengths, occurrences = histogram
    stats = feature.num_stats
    number = int(occurrences.sum())
    stats.common_stats.num_non_missing = stats.common_stats.tot_num_values = number
    if not number:
        return
    mean = float(np.average(lengths, weights=occurrences))
    stats.mean = mean
    stats.std_dev = math.sqrt(np.average((lengths - mean) ** 2, weights=occurrences))
    stats.num_zeros = int(occurrences[lengths == 0].sum())
    stats.min, stats.max = int(lengths[0]), int(lengths[-1])
    up_to = np.cumsum(occurrences)
    stats.median = int(lengths[np.searchsorted(up_to, (number + 1) // 2)])
    ends = lengths[np.searchsorted(up_to, np.ceil(number * np.arange(QUANTILES + 1) / QUANTILES))]
    quantiles = stats.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
    for low, high in itertools.pairwise(ends):
        quantiles.buckets.add(low_value=low, high_value=high, sample_count=number / QUANTILES)
    heights, edges = np.histogram(lengths, bins=BUCKETS, weights=occurrences)
    heights_of = stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for height, (low, high) in zip(heights, itertools.pairwise(edges), strict=True):
        heights_of.buckets.add(low_value=low, high_value=high, sample_count=height)


def write_invalid(folder: str, problem: str) -> None:
    """Writes what is invalid in a split, in place of its statistics.

    Args:
      folder: Directory of the split.
      problem: What is wrong, and where.
    """
    # Names of files may hold bytes that are not UTF-8.
    content = problem.encode("utf-8", "backslashreplace")
    with files.open_file(os.path.join(folder, INVALID), "wb") as file:
        file.write(content)
