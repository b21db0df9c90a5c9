"""The Beam transforms that count the characters of shards and write the statistics of splits.

`FeatureStats.pb` holds two features:

characters      number of occurrences of each (`rank_histogram`, labelled with the character's
                code), and the entropies of orders 0 and 1 in bits per character (`custom_stats`)
line_length     in characters, without the line feed
"""

import os
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from model.config import CharacterUnit
from model.text.vocabulary import character_name
from pipeline.data import runners
from pipeline.data.counts import (
    Histogram,
    TextCounter,
    TextCounts,
    TextEdges,
    TextHistograms,
    codes_of,
    entropies,
    join,
)
from pipeline.data.feature_statistics import SHOWN, add_numbers, write_invalid
from pipeline.data.records import read_records, split_directory
from pipeline.data.statistics import STATISTICS

TALLIES_KEPT = 16

Accumulator = tuple[list[TextHistograms], list[tuple[int, TextEdges]]]


class CountShard(beam.DoFn):
    """TextCounts the characters of one shard."""

    def __init__(self, stage: str, unit: CharacterUnit):
        self._unit = unit
        self._bytes = runners.Counter(stage, "bytes")
        self._characters = runners.Counter(stage, "characters")
        self._records = runners.Counter(stage, "records")

    def process(self, shard: tuple[str, int, str]) -> Iterator[tuple[str, tuple[int, TextCounts]]]:
        """Yields the name of the split, and the number of the shard with its counts."""
        split, number, path = shard
        counting, count, invalid = TextCounter(self._unit), 0, ""
        for record in read_records(path):
            count += 1
            try:
                codes = codes_of(record.text, self._unit)
            except UnicodeDecodeError as error:
                invalid = invalid or f"{record.source}, byte {record.offset + error.start}"
                continue
            counting.add(codes)
            self._bytes.inc(len(record.text))
        counts = counting.counts(count, invalid)
        self._characters.inc(counts.total)
        self._records.inc(count)
        yield split, (number, counts)


class JoinCounts(beam.CombineFn):
    """Joins the counts of shards in their order; only the edges of these take memory."""

    def create_accumulator(self) -> Accumulator:
        """Returns an empty list of tallies, which stays short, and one of the shards' edges."""
        return [], []

    def add_input(self, accumulator: Accumulator, numbered: tuple[int, TextCounts]) -> Accumulator:
        """Adds a shard."""
        tallies, edges = accumulator
        number, counts = numbered
        return self._few([*tallies, counts.tallies]), [*edges, (number, counts.edges)]

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Concatenates the shards of several accumulators."""
        tallies: list[TextHistograms] = []
        edges: list[tuple[int, TextEdges]] = []
        for more_tallies, more_edges in accumulators:
            tallies = self._few(tallies + more_tallies)
            edges += more_edges
        return tallies, edges

    def compact(self, accumulator: Accumulator) -> Accumulator:
        """Sums the tallies before they are sent to another worker."""
        tallies, edges = accumulator
        return [TextHistograms.sum(tallies)], edges

    def extract_output(self, accumulator: Accumulator) -> TextCounts:
        """Returns the counts of all shards."""
        tallies, edges = accumulator
        return join(TextHistograms.sum(tallies), [edge for _, edge in sorted(edges)])

    def _few(self, tallies: list[TextHistograms]) -> list[TextHistograms]:
        """Sums tallies once there are many, which is faster than one by one."""
        return tallies if len(tallies) < TALLIES_KEPT else [TextHistograms.sum(tallies)]


class WriteStatistics(beam.DoFn):
    """Writes the statistics of a split."""

    def __init__(self, directory: str, unit: CharacterUnit):
        self._directory = directory
        self._unit = unit

    def process(self, counts_of_split: tuple[str, TextCounts]) -> None:
        """Writes `FeatureStats.pb`, or `invalid.txt` instead if the text is not UTF-8."""
        split, counts = counts_of_split
        folder = split_directory(self._directory, split)
        if counts.edges.invalid:
            write_invalid(folder, counts.edges.invalid)
            return
        with files.open_file(os.path.join(folder, STATISTICS), "wb") as file:
            file.write(to_proto(split, counts, self._unit).SerializeToString())


def to_proto(
    split: str, counts: TextCounts, unit: CharacterUnit
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of one split as a protocol buffer.

    Args:
      split: Name of the split.
      counts: TextCounts of its text.
      unit: Unit of text that is one character.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(name=split, num_examples=counts.edges.records)
    characters = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    characters.path.step.append("characters")
    strings = characters.string_stats
    strings.common_stats.num_non_missing = counts.edges.records
    strings.common_stats.tot_num_values = counts.total
    strings.unique = len(counts.tallies.characters.values)
    strings.avg_length = 1.0
    most_common = np.argsort(-counts.tallies.characters.occurrences, kind="stable")
    for rank, place in enumerate(most_common):
        code_point, occurrences = (int(column[place]) for column in counts.tallies.characters)
        code, look = character_name(unit, code_point).split("\t")
        strings.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=code, sample_count=occurrences
        )
        if rank < SHOWN:
            strings.top_values.add(value=look, frequency=occurrences)
    for order, entropy in enumerate(entropies(counts)):
        characters.custom_stats.add(name=f"entropy_order_{order}_bits", num=entropy)
    _add_line_lengths(dataset.features.add(), counts)
    return statistics


def _add_line_lengths(feature: statistics_pb2.FeatureNameStatistics, counts: TextCounts) -> None:
    """Adds statistics of the lengths of all lines, the last one included."""
    first_and_last = [counts.edges.head] if counts.total else []
    if counts.edges.broken and counts.edges.tail:
        first_and_last.append(counts.edges.tail)
    lengths = Histogram.sum(
        [counts.tallies.lines, Histogram.of(np.array(first_and_last, np.int64))]
    )
    add_numbers(feature, "line_length", lengths)
