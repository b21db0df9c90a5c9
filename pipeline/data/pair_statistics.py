"""The statistics of pairs of sentences: the words of both sides, and how long they are.

Split-train/FeatureStats.pb     a DatasetFeatureStatisticsList of tensorflow-metadata: of `source`
                                and `target` the number of occurrences of each word
                                (`rank_histogram`), of `source_words` and `target_words` the
                                distribution of the number of words of a sentence
Split-train/lengths.json        the number of pairs by the numbers of words of both sides:
                                [source, target, pairs] each
"""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from common import files
from pipeline.data.records import damaged, split_directory
from pipeline.data.sentence_pairs import SIDES
from pipeline.data.statistics import occurrences_of, read_features

LENGTHS = "lengths.json"

Lengths = Mapping[tuple[int, int], int]
"""Number of pairs by the numbers of words of both sides."""


class PairStatistics(NamedTuple):
    """The statistics of one split.

    Attributes:
      words: Number of occurrences of each word, of each side, from the most frequent to the least.
      lengths: Number of pairs by the numbers of words of both sides.
    """

    words: tuple[dict[str, int], dict[str, int]]
    lengths: Lengths

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return sum(self.lengths.values())


def read(directory: str, split: str) -> PairStatistics:
    """Reads the statistics of one split.

    Args:
      directory: Directory of a PairStatisticsGen artifact.
      split: Name of the split.

    Raises:
      InputError: If they are damaged.
    """
    source, target = map(occurrences_of, read_features(directory, split, SIDES))
    path = os.path.join(split_directory(directory, split), LENGTHS)
    try:
        rows = json.loads(files.read_text(path))
        lengths = {(int(first), int(second)): int(number) for first, second, number in rows}
    except (TypeError, ValueError) as error:
        raise damaged(path) from error
    return PairStatistics((source, target), lengths)
