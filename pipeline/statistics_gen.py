"""StatisticsGen: what is in the examples, as tensorflow-metadata's statistics.

Split-train/FeatureStats.pb     a DatasetFeatureStatisticsList with two features:

characters      how often each occurs (`rank_histogram`, labelled with the character's code), and
                the entropies of orders 0 and 1 in bits per character (`custom_stats`)
line_length     in characters, without the line feed
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from model.alphabet import name_of
from model.config import AlphabetKind
from model.errors import InputError
from pipeline import runners
from pipeline.artifacts import Artifact, Outcome, Store
from pipeline.records import SPLITS, parse, read_index, shard_paths, split_directory

STAGE = "StatisticsGen"
NEWLINE = ord("\n")
HISTOGRAM_BUCKETS = 20

gfile = tf.io.gfile


class Counts(NamedTuple):
    """What is counted in consecutive text, so that counts of neighbours can be joined.

    Attributes:
      characters: occurrences of each code.
      pairs: occurrences of each pair of neighbours, as `first << 32 | second`.
      lines: occurrences of each length among the lines that begin and end here.
      head: characters before the first line feed, or of the whole text if it has none.
      tail: characters after the last line feed.
      first: the first code; -1 where the text is empty.
      last: the last code; likewise.
      records: number of records.
      invalid: the first place that is not UTF-8, as "source, byte n"; empty where there is none.
    """

    characters: Counter
    pairs: Counter
    lines: Counter
    head: int = 0
    tail: int = 0
    first: int = -1
    last: int = -1
    records: int = 0
    invalid: str = ""

    @property
    def total(self) -> int:
        """The number of characters."""
        return self.characters.total()


def join(left: Counts, right: Counts) -> Counts:
    """The counts of two texts, one right after the other."""
    if left.first < 0 or right.first < 0:
        some = right if left.first < 0 else left
        return some._replace(
            records=left.records + right.records, invalid=left.invalid or right.invalid
        )
    pairs = left.pairs + right.pairs
    pairs[left.last << 32 | right.first] += 1
    lines = left.lines + right.lines
    left_has_line_feed = bool(left.characters[NEWLINE])
    right_has_line_feed = bool(right.characters[NEWLINE])
    if left_has_line_feed and right_has_line_feed:
        lines[left.tail + right.head] += 1
    return Counts(
        left.characters + right.characters,
        pairs,
        lines,
        left.head if left_has_line_feed else left.head + right.head,
        right.tail if right_has_line_feed else left.tail + right.tail,
        left.first,
        right.last,
        left.records + right.records,
        left.invalid or right.invalid,
    )


def count(codes: np.ndarray) -> Counts:
    """The counts of one block, given as codes below 2^31."""
    if not len(codes):
        return Counts(Counter(), Counter(), Counter(), records=1)
    breaks = np.flatnonzero(codes == NEWLINE)
    lines = _tally(np.diff(breaks) - 1)
    head, tail = (breaks[0], len(codes) - 1 - breaks[-1]) if len(breaks) else [len(codes)] * 2
    wide = codes.astype(np.int64)
    pairs = wide[:-1] << 32 | wide[1:]
    return Counts(
        _tally(codes), _tally(pairs), lines, int(head), int(tail), int(codes[0]), int(codes[-1]), 1
    )


def _tally(values):
    if values.dtype == np.uint8:
        occurrences = np.bincount(values, minlength=256)
        keys = np.flatnonzero(occurrences)
        return Counter(dict(zip(keys.tolist(), occurrences[keys].tolist(), strict=True)))
    keys, occurrences = np.unique(values, return_counts=True)
    return Counter(dict(zip(keys.tolist(), occurrences.tolist(), strict=True)))


class CountShard(beam.DoFn):
    """Counts the characters of one shard."""

    def __init__(self, kind: AlphabetKind):
        self._kind = kind
        self._characters = beam.metrics.Metrics.counter("StatisticsGen", "characters")

    def process(self, shard: tuple[str, int, str]) -> Iterator[tuple[str, tuple[int, Counts]]]:
        """Yields the split, the shard's number and its counts."""
        split, number, path = shard
        total = Counts(Counter(), Counter(), Counter())
        for record in tf.data.TFRecordDataset([path]).as_numpy_iterator():
            text, source, offset = parse(record)
            invalid = ""
            if self._kind == "unicode":
                try:
                    codes = np.frombuffer(text.decode("utf-8").encode("utf-32-le"), np.uint32)
                except UnicodeDecodeError as error:
                    codes = np.zeros(0, np.uint32)
                    invalid = f"{source}, byte {offset + error.start}"
            else:
                codes = np.frombuffer(text, np.uint8)
            total = join(total, count(codes)._replace(invalid=invalid))
        self._characters.inc(total.total)
        yield split, (number, total)


class WriteStatistics(beam.DoFn):
    """Joins the counts of a split's shards and writes its statistics."""

    def __init__(self, directory: str, kind: AlphabetKind):
        self._directory = directory
        self._kind = kind

    def process(self, split_counts: tuple[str, Iterable[tuple[int, Counts]]]) -> None:
        """Writes `FeatureStats.pb`, or `invalid.txt` in its place where the text is not UTF-8."""
        split, numbered = split_counts
        total = Counts(Counter(), Counter(), Counter())
        for _, counts in sorted(numbered, key=lambda pair: pair[0]):
            total = join(total, Counts(*counts))
        directory = split_directory(self._directory, split)
        name, content = "FeatureStats.pb", to_proto(split, total, self._kind).SerializeToString()
        if total.invalid:
            name, content = "invalid.txt", total.invalid.encode()
        with gfile.GFile(os.path.join(directory, name), "wb") as file:
            file.write(content)


def to_proto(
    split: str, counts: Counts, kind: AlphabetKind
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of one split."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(name=split, num_examples=counts.records)
    characters = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    characters.path.step.append("characters")
    strings = characters.string_stats
    strings.common_stats.num_non_missing = counts.records
    strings.common_stats.tot_num_values = counts.total
    strings.unique = len(counts.characters)
    strings.avg_length = 1.0
    for rank, (symbol, occurrences) in enumerate(counts.characters.most_common()):
        code, look = name_of(kind, symbol).split("\t")
        strings.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=code, sample_count=occurrences
        )
        if rank < HISTOGRAM_BUCKETS:
            strings.top_values.add(value=look, frequency=occurrences)
    for order, entropy in enumerate(entropies(counts)):
        characters.custom_stats.add(name=f"entropy_order_{order}_bits", num=entropy)
    _add_line_lengths(dataset.features.add(), counts)
    return statistics


def entropies(counts: Counts) -> tuple[float, float]:
    """Entropy of a character alone, and of one given the one before, in bits.

    H_0 = -sum_a p(a) log2 p(a);  H_1 = -sum_ab p(ab) log2(p(ab) / p(a .)), empirical frequencies.
    """

    def information(occurrences):
        values = np.array(list(occurrences), np.float64)
        return float(np.sum(values * np.log2(values))) if len(values) else 0.0

    def entropy_sum(occurrences):
        total = sum(occurrences)
        return (total * math.log2(total) if total else 0.0) - information(occurrences)

    firsts: Counter = Counter()
    for pair, occurrences in counts.pairs.items():
        firsts[pair >> 32] += occurrences
    pairs = counts.pairs.total()
    conditional = information(firsts.values()) - information(counts.pairs.values())
    return (
        entropy_sum(counts.characters.values()) / max(counts.total, 1),
        conditional / max(pairs, 1),
    )


def _add_line_lengths(feature, counts):
    """Statistics of the lengths of all lines, the last one included."""
    feature.type = statistics_pb2.FeatureNameStatistics.INT
    feature.path.step.append("line_length")
    lines = Counter(counts.lines)
    if counts.total:
        lines[counts.head] += 1
        if counts.characters[NEWLINE] and counts.tail:
            lines[counts.tail] += 1
    stats = feature.num_stats
    lengths = np.array(sorted(lines), np.int64)
    occurrences = np.array([lines[length] for length in lengths.tolist()], np.int64)
    number = int(occurrences.sum())
    stats.common_stats.num_non_missing = stats.common_stats.tot_num_values = number
    if not number:
        return
    mean = float(np.average(lengths, weights=occurrences))
    stats.mean = mean
    stats.std_dev = math.sqrt(np.average((lengths - mean) ** 2, weights=occurrences))
    stats.num_zeros = lines[0]
    stats.min, stats.max = int(lengths[0]), int(lengths[-1])
    stats.median = int(lengths[np.searchsorted(np.cumsum(occurrences), (number + 1) // 2)])
    heights, edges = np.histogram(lengths, bins=HISTOGRAM_BUCKETS, weights=occurrences)
    histogram = stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for height, low, high in zip(heights, edges[:-1], edges[1:], strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=height)


def run(
    store: Store,
    examples: Artifact,
    alphabet: AlphabetKind = "bytes",
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Counts the characters of examples.

    Args:
      store: where artifacts are.
      examples: from ExampleGen.
      alphabet: whether a character is a byte or a Unicode code point.
      beam_options: options for Beam.

    Returns:
      The artifact with a `FeatureStats.pb` per split.

    Raises:
      InputError: if code points are asked for and the text is not UTF-8.
    """

    options = runners.beam_options(beam_options)

    def write(directory: str) -> Outcome:
        shards = [
            (split, number, path)
            for split in SPLITS
            for number, path in enumerate(shard_paths(examples.path, split))
        ]
        for split in SPLITS:
            gfile.makedirs(split_directory(directory, split))
        with beam.Pipeline(options=options) as pipeline:
            (
                pipeline
                | "ListShards" >> beam.Create(shards)
                | "SpreadShards" >> beam.Reshuffle()
                | "CountShards" >> beam.ParDo(CountShard(alphabet))
                | "GatherCounts" >> beam.GroupByKey()
                | "WriteStatistics" >> beam.ParDo(WriteStatistics(directory, alphabet))
            )
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
    return store.produce(STAGE, __name__, {"examples": examples}, {"alphabet": alphabet}, write)


def _check_valid(directory):
    for split in SPLITS:
        path = os.path.join(split_directory(directory, split), "invalid.txt")
        if gfile.exists(path):
            with gfile.GFile(path) as file:
                place = file.read()
            raise InputError(
                f"invalid UTF-8 in {place}; mend the text, or use bytes with --alphabet bytes"
            )


class Statistics(NamedTuple):
    """What the later stages read from a `FeatureStats.pb`.

    Attributes:
      occurrences: of each character, by its code.
      entropies: of orders 0 and 1, in bits per character.
      kind: what a character is.
    """

    occurrences: dict[int, int]
    entropies: tuple[float, float]
    kind: AlphabetKind

    @property
    def total(self) -> int:
        """The number of characters."""
        return sum(self.occurrences.values())


def read(directory: str, split: str) -> Statistics:
    """The statistics of one split."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    with gfile.GFile(os.path.join(split_directory(directory, split), "FeatureStats.pb"), "rb") as f:
        statistics.ParseFromString(f.read())
    characters = statistics.datasets[0].features[0]
    buckets = characters.string_stats.rank_histogram.buckets
    occurrences = {int(bucket.label[2:], 16): round(bucket.sample_count) for bucket in buckets}
    unicode = any(bucket.label.startswith("U+") for bucket in buckets)
    return Statistics(
        occurrences,
        tuple(custom.num for custom in characters.custom_stats),
        "unicode" if unicode else "bytes",
    )
