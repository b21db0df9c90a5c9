"""StatisticsGen: what is in the examples, as tensorflow-metadata's statistics.

Split-train/FeatureStats.pb     a DatasetFeatureStatisticsList with two features:

characters      how often each occurs (`rank_histogram`, labelled with the character's code), and
                the entropies of orders 0 and 1 in bits per character (`custom_stats`)
line_length     in characters, without the line feed
"""

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from common import files
from model.config import CharacterUnit
from model.errors import InputError
from model.text.vocabulary import character_name
from pipeline.data import runners
from pipeline.data.counts import Counting, Counts, Edges, Tallies, Tally, entropies, join
from pipeline.data.records import (
    SPLITS,
    damaged,
    read_index,
    read_records,
    shard_paths,
    split_directory,
)
from pipeline.stages.names import STATISTICS_GEN
from pipeline.store.artifacts import Artifact, Outcome, Store

STATISTICS = "FeatureStats.pb"
INVALID = "invalid.txt"
HISTOGRAM_BUCKETS = 20
QUANTILES = 10
TALLIES_KEPT = 16


class CountShard(beam.DoFn):
    """Counts the characters of one shard."""

    def __init__(self, unit: CharacterUnit):
        self._unit = unit
        self._bytes = runners.Counter(STATISTICS_GEN, "bytes")
        self._characters = runners.Counter(STATISTICS_GEN, "characters")
        self._records = runners.Counter(STATISTICS_GEN, "records")

    def process(self, shard: tuple[str, int, str]) -> Iterator[tuple[str, tuple[int, Counts]]]:
        """Yields the split, the shard's number and its counts."""
        split, number, path = shard
        counting, count, invalid = Counting(self._unit), 0, ""
        for record in read_records(path):
            count += 1
            try:
                codes = _codes(record.text, self._unit)
            except UnicodeDecodeError as error:
                invalid = invalid or f"{record.source}, byte {record.offset + error.start}"
                continue
            counting.add(codes)
            self._bytes.inc(len(record.text))
        counts = counting.counts(count, invalid)
        self._characters.inc(counts.total)
        self._records.inc(count)
        yield split, (number, counts)


def _codes(text, unit):
    """The bytes of a text, or its code points."""
    if unit == "bytes":
        return np.frombuffer(text, np.uint8)
    return np.frombuffer(text.decode("utf-8").encode("utf-32-le"), np.uint32)


class JoinCounts(beam.CombineFn):
    """Joins the counts of shards in their order, in memory for the edges of these alone."""

    def create_accumulator(self) -> tuple[list[Tallies], list[tuple[int, Edges]]]:
        """Tallies, few enough to keep, and the edges of the shards they are of."""
        return [], []

    def add_input(self, accumulator, numbered: tuple[int, Counts]):
        """Adds a shard."""
        tallies, edges = accumulator
        number, counts = numbered
        return self._few([*tallies, counts.tallies]), [*edges, (number, counts.edges)]

    def merge_accumulators(self, accumulators):
        """Puts the shards of several together."""
        tallies, edges = [], []
        for more_tallies, more_edges in accumulators:
            tallies = self._few(tallies + more_tallies)
            edges += more_edges
        return tallies, edges

    def compact(self, accumulator):
        """Adds up what goes to another worker."""
        tallies, edges = accumulator
        return [Tallies.sum(tallies)], edges

    def extract_output(self, accumulator) -> Counts:
        """The counts of all shards."""
        tallies, edges = accumulator
        return join(Tallies.sum(tallies), [edge for _, edge in sorted(edges)])

    def _few(self, tallies):
        """To add up many at once is faster than one by one."""
        return tallies if len(tallies) < TALLIES_KEPT else [Tallies.sum(tallies)]


class WriteStatistics(beam.DoFn):
    """Writes the statistics of a split."""

    def __init__(self, directory: str, unit: CharacterUnit):
        self._directory = directory
        self._unit = unit

    def process(self, counts_of_split: tuple[str, Counts]) -> None:
        """Writes `FeatureStats.pb`, or `invalid.txt` in its place where the text is not UTF-8."""
        split, counts = counts_of_split
        name, content = STATISTICS, to_proto(split, counts, self._unit).SerializeToString()
        if counts.edges.invalid:
            name, content = INVALID, counts.edges.invalid.encode()
        path = os.path.join(split_directory(self._directory, split), name)
        with files.open_file(path, "wb") as file:
            file.write(content)


def to_proto(
    split: str, counts: Counts, unit: CharacterUnit
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of one split."""
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
        if rank < HISTOGRAM_BUCKETS:
            strings.top_values.add(value=look, frequency=occurrences)
    for order, entropy in enumerate(entropies(counts)):
        characters.custom_stats.add(name=f"entropy_order_{order}_bits", num=entropy)
    _add_line_lengths(dataset.features.add(), counts)
    return statistics


def _add_line_lengths(feature, counts):
    """Statistics of the lengths of all lines, the last one included."""
    feature.type = statistics_pb2.FeatureNameStatistics.INT
    feature.path.step.append("line_length")
    edges = counts.edges
    ends = [edges.head] if counts.total else []
    if edges.broken and edges.tail:
        ends.append(edges.tail)
    lengths, occurrences = Tally.sum([counts.tallies.lines, Tally.of(np.array(ends, np.int64))])
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
    heights, edges = np.histogram(lengths, bins=HISTOGRAM_BUCKETS, weights=occurrences)
    histogram = stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for height, low, high in zip(heights, edges[:-1], edges[1:], strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=height)


def run(
    store: Store,
    examples: Artifact,
    character_unit: CharacterUnit = "bytes",
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Counts the characters of examples.

    Args:
      store: where artifacts are.
      examples: from ExampleGen.
      character_unit: whether a character is a byte or a Unicode code point.
      beam_options: options for Beam.

    Returns:
      The artifact with a `FeatureStats.pb` per split.

    Raises:
      InputError: if code points are asked for and the text is not UTF-8.
    """

    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])

    def write(directory: str) -> Outcome:
        shards = [
            (split, number, path)
            for split in SPLITS
            for number, path in enumerate(shard_paths(examples.path, split))
        ]
        for split in SPLITS:
            files.makedirs(split_directory(directory, split))
        pipeline = runners.pipeline(options)
        (
            pipeline
            | "ListShards" >> beam.Create(shards)
            | "CountShards" >> beam.ParDo(CountShard(character_unit))
            | "JoinCounts" >> beam.CombinePerKey(JoinCounts())
            | "WriteStatistics" >> beam.ParDo(WriteStatistics(directory, character_unit))
        )
        total = sum(s.bytes for split in SPLITS for s in read_index(examples.path, split))
        runners.run(pipeline, STATISTICS_GEN, "Counting", "bytes", total)
        _check_valid(directory)
        train, evaluation = (read(directory, split) for split in SPLITS)
        counters = {
            "train_characters": train.total,
            "eval_characters": evaluation.total,
            "distinct": len(train.occurrences),
            "entropy_order_0_bits": round(train.entropies[0], 4),
            "entropy_order_1_bits": round(train.entropies[1], 4),
        }
        figure = (
            f"{len(train.occurrences)} distinct characters, "
            f"{train.entropies[0]:.3f} bits each, {train.entropies[1]:.3f} given the one before"
        )
        return Outcome(counters, figure)

    for split in SPLITS:
        read_index(examples.path, split)
    return store.produce(
        STATISTICS_GEN, __name__, {"examples": examples}, {"character_unit": character_unit}, write
    )


def _check_valid(directory):
    for split in SPLITS:
        path = os.path.join(split_directory(directory, split), INVALID)
        if files.exists(path):
            place = files.read_text(path)
            raise InputError(
                f"invalid UTF-8 in {place}; mend the text, or use bytes with --character_unit bytes"
            )


class Statistics(NamedTuple):
    """What the later stages read from a `FeatureStats.pb`.

    Attributes:
      occurrences: of each character, by its code.
      entropies: of orders 0 and 1, in bits per character.
      lines: of their lengths, with a histogram.
      unit: what a character is.
    """

    occurrences: dict[int, int]
    entropies: tuple[float, float]
    lines: statistics_pb2.NumericStatistics
    unit: CharacterUnit

    @property
    def distinct(self) -> int:
        """The number of different characters."""
        return len(self.occurrences)

    @property
    def total(self) -> int:
        """The number of characters."""
        return sum(self.occurrences.values())


def read(directory: str, split: str) -> Statistics:
    """The statistics of one split.

    Raises:
      InputError: if they are damaged.
    """
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    path = os.path.join(split_directory(directory, split), STATISTICS)
    try:
        with files.open_file(path, "rb") as file:
            statistics.ParseFromString(file.read())
        characters, lines = statistics.datasets[0].features
    except (DecodeError, IndexError, ValueError) as error:
        raise damaged(path) from error
    buckets = characters.string_stats.rank_histogram.buckets
    occurrences = {int(bucket.label[2:], 16): round(bucket.sample_count) for bucket in buckets}
    unicode = any(bucket.label.startswith("U+") for bucket in buckets)
    return Statistics(
        occurrences,
        tuple(custom.num for custom in characters.custom_stats),
        lines.num_stats,
        "unicode" if unicode else "bytes",
    )
