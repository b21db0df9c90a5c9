"""The Beam transforms that count the words of pairs and write `pipeline.data.pair_statistics`."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from model.errors import InputError
from pipeline.data import runners, sentence_pairs
from pipeline.data.counts import Histogram
from pipeline.data.feature_statistics import add_numbers, add_strings, write_invalid
from pipeline.data.pair_statistics import LENGTHS
from pipeline.data.records import read_records, split_directory
from pipeline.data.sentence_pairs import SIDES, PairCounts
from pipeline.data.split_statistics import Shard
from pipeline.data.statistics import STATISTICS


class CountPairs(beam.DoFn):
    """Counts the pairs of one shard."""

    def __init__(self, stage: str):
        """Creates the counters.

        Args:
          stage: Name of the stage, the namespace of the counters.
        """
        self._bytes = runners.Counter(stage, "bytes")
        self._pairs = runners.Counter(stage, "pairs")
        self._incomplete = runners.Counter(stage, "incomplete_pairs")

    def process(self, shard: Shard) -> Iterator[tuple[str, tuple[PairCounts, str]]]:
        """Yields the name of the split, with the counts and the first line that is no pair."""
        split, _, path = shard
        counts, invalid = [], ""
        for record in read_records(path):
            try:
                counts.append(sentence_pairs.count(sentence_pairs.pairs_of(record)))
            except InputError as error:
                invalid = str(error)
                break
            self._bytes.inc(len(record.text))
        total = PairCounts.sum(counts)
        self._pairs.inc(total.pairs)
        self._incomplete.inc(total.incomplete)
        yield split, (total, invalid)


class JoinPairCounts(beam.CombineFn):
    """Sums the counts of shards; of the lines that are no pairs one is kept."""

    def create_accumulator(self) -> tuple[PairCounts, str]:
        """Returns the counts of no shard."""
        return PairCounts.none(), ""

    def add_input(
        self, accumulator: tuple[PairCounts, str], counts: tuple[PairCounts, str]
    ) -> tuple[PairCounts, str]:
        """Adds a shard."""
        return self.merge_accumulators([accumulator, counts])

    def merge_accumulators(
        self, accumulators: Iterable[tuple[PairCounts, str]]
    ) -> tuple[PairCounts, str]:
        """Sums the counts of several accumulators."""
        counts, invalid = zip(*accumulators, strict=True)
        return PairCounts.sum(counts), min(filter(None, invalid), default="")

    def extract_output(self, accumulator: tuple[PairCounts, str]) -> tuple[PairCounts, str]:
        """Returns the counts of all shards."""
        return accumulator


class WritePairStatistics(beam.DoFn):
    """Writes the statistics of a split."""

    def __init__(self, directory: str):
        """Takes the directory of the statistics."""
        self._directory = directory

    def process(self, counts_of_split: tuple[str, tuple[PairCounts, str]]) -> None:
        """Writes the files, or `invalid.txt` in their place if a line is no pair."""
        split, (counts, invalid) = counts_of_split
        folder = split_directory(self._directory, split)
        if invalid:
            write_invalid(folder, invalid)
            return
        with files.open_file(os.path.join(folder, STATISTICS), "wb") as file:
            file.write(to_proto(split, counts).SerializeToString(deterministic=True))
        rows = sorted([*lengths, number] for lengths, number in counts.lengths.items())
        files.write_text(os.path.join(folder, LENGTHS), json.dumps(rows) + "\n")


def to_proto(split: str, counts: PairCounts) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of one split as a protocol buffer.

    Args:
      split: Name of the split.
      counts: Counts of its pairs.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(name=split, num_examples=counts.pairs)
    for side, (name, words) in enumerate(zip(SIDES, counts.words, strict=True)):
        add_strings(dataset.features.add(), name, words, counts.pairs, counts.incomplete)
        lengths = Counter[int]()
        for both, number in counts.lengths.items():
            lengths[both[side]] += number
        add_numbers(dataset.features.add(), f"{name}_words", Histogram.of_counter(lengths))
    return statistics
