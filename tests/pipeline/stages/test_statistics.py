"""Statistics, schema and validation, compared with plain Python."""

import itertools
import math
from collections import Counter

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from conftest import text_of, words
from google.protobuf import text_format
from seeds import generator
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.corpora.discovery import Rules
from pipeline.data import statistics as split_statistics
from pipeline.data.records import Record, shard_paths
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, example_validator, schema_gen, statistics_gen


def make(store, tmp_path, text, character_unit="bytes", train_fraction=0.9):
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    examples = example_gen.run(
        store, corpus.resolve(str(path)), DataConfig(train_fraction=train_fraction, shards=4)
    )
    return examples, statistics_gen.run(store, examples, character_unit)


def test_records_are_the_corpus_with_provenance(private_store, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    contents = {f"{name}.txt": generator().bytes(200_000) for name in "abc"}
    contents["a.txt"] = b"\x80\x80" + contents["a.txt"]  # no code point begins there
    for name, content in contents.items():
        (folder / name).write_bytes(content.replace(b"\0", b"\1"))
    examples = example_gen.run(
        private_store,
        corpus.resolve(str(folder), Rules(allow_binary=True)),
        DataConfig(train_fraction=0.7, shards=3),
    )
    assert text_of(examples, "train") + text_of(examples, "eval") == b"".join(
        content.replace(b"\0", b"\1") for content in contents.values()
    )
    features = {
        **dict.fromkeys(("text", "source"), tf.io.FixedLenFeature([], tf.string)),
        **dict.fromkeys(("offset", "length", "crc32c"), tf.io.FixedLenFeature([], tf.int64)),
    }
    for split in ("train", "eval"):
        for record in tf.data.TFRecordDataset(shard_paths(examples.path, split)):
            read = tf.io.parse_single_example(record, features)
            text, source, offset, length, crc = (read[name].numpy() for name in features)
            original = (folder / source.decode()).read_bytes()
            assert original[offset : offset + length] == text
            assert crc == google_crc32c.value(text)


def test_code_points_are_never_cut(private_store, tmp_path):
    text = "".join(generator().choice(list("aß漢𝄞"), 100_000)).encode()
    examples, _ = make(private_store, tmp_path, text, train_fraction=0.31415)
    for split in ("train", "eval"):
        for record in tf.data.TFRecordDataset(shard_paths(examples.path, split)):
            Record.parse(record.numpy()).text.decode("utf-8")


@pytest.mark.parametrize("character_unit", ["bytes", "unicode"])
def test_statistics_match_the_text(private_store, tmp_path, character_unit):
    text = (words(None, 150_000) + "é漢\n\n\nlast").replace("r", "ü").encode()
    examples, statistics = make(private_store, tmp_path, text, character_unit)
    train = text_of(examples, "train")
    symbols = list(train) if character_unit == "bytes" else [ord(c) for c in train.decode()]
    read = split_statistics.read(statistics.path, "train")
    counts = Counter(symbols)
    assert (read.occurrences, read.unit) == (counts, character_unit)

    def entropy(counter):
        total = counter.total()
        return -sum(n / total * math.log2(n / total) for n in counter.values())

    pairs, firsts = Counter(itertools.pairwise(symbols)), Counter(symbols[:-1])
    expected = entropy(counts), entropy(pairs) - entropy(firsts)
    np.testing.assert_allclose(read.entropies, expected, rtol=1e-9)

    proto = statistics_pb2.DatasetFeatureStatisticsList()
    with open(f"{statistics.path}/Split-train/FeatureStats.pb", "rb") as file:
        proto.ParseFromString(file.read())
    lines = proto.datasets[0].features[1].num_stats
    decoded = train.decode("latin-1" if character_unit == "bytes" else "utf-8")
    lengths = [len(line) for line in decoded.removesuffix("\n").split("\n")]
    assert (lines.min, lines.max) == (min(lengths), max(lengths))
    assert lines.common_stats.num_non_missing == len(lengths)
    np.testing.assert_allclose([lines.mean, lines.std_dev], [np.mean(lengths), np.std(lengths)])


def test_the_position_of_invalid_utf8_is_named(private_store, tmp_path):
    text = words(2, 100_000).encode()
    with pytest.raises(InputError, match=r"text\.txt, byte 70001;"):
        make(private_store, tmp_path, text[:70_001] + b"\xff" + text[70_001:], "unicode")
    assert not list((tmp_path / "root" / "StatisticsGen").glob("*"))


def validate(store, tmp_path, text):
    _, statistics = make(store, tmp_path, text)
    schema = schema_gen.run(store, statistics)
    return schema, example_validator.run(store, statistics, schema)


def test_a_text_like_the_training_text_is_valid(private_store, tmp_path):
    schema, anomalies = validate(private_store, tmp_path, words(3, 50_000).encode())
    assert example_validator.Properties.read(anomalies).report == []
    example_validator.require_valid(anomalies)
    with open(schema.file("schema.pbtxt")) as file:
        domain = text_format.Parse(file.read(), schema_pb2.Schema()).feature[0].string_domain
    assert [chr(int(v, 16)) for v in domain.value] == sorted(set(words(3, 45_000)))


@pytest.mark.parametrize(
    "tail,problem,severity",
    [
        (b"\xf0" * 100, "unseen characters", "ERROR"),
        (b"\xf0", "unseen characters", "WARNING"),
        (b"e" * 5000, "drift", "WARNING"),
    ],
)
def test_anomalies(private_store, tmp_path, tail, problem, severity):
    text = words(4, 50_000).encode()
    _, anomalies = validate(private_store, tmp_path, text[: -len(tail)] + tail)
    (line,) = [
        line for line in example_validator.Properties.read(anomalies).report if problem in line
    ]
    assert line.startswith(severity)
    proto = anomalies_pb2.Anomalies()
    with open(anomalies.file("Split-eval", "SchemaDiff.pb"), "rb") as file:
        proto.ParseFromString(file.read())
    info = proto.anomaly_info["characters"]
    assert anomalies_pb2.AnomalyInfo.Severity.Name(info.severity) == severity
    if severity == "ERROR":
        with pytest.raises(InputError, match=problem):
            example_validator.require_valid(anomalies)
