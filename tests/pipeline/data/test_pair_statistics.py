"""Statistics of pairs: counted by Beam as by plain Python, whatever the shards."""

from collections import Counter

import pytest
from parallel_texts import pairs, tsv
from seeds import generator

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.data import pair_statistics
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, pair_statistics_gen, word_schema_gen


def statistics_of(store, path, shards=3):
    examples = example_gen.run(
        store,
        corpus.resolve(str(path)),
        DataConfig(train_fraction=0.8, shards=shards),
        cut_between="line",
    )
    return pair_statistics_gen.run(store, examples)


@pytest.mark.parametrize("shards", [1, 4])
def test_words_and_lengths_are_counted(private_store, tmp_path, shards):
    rows = pairs(generator(), 300)
    (tmp_path / "pairs.tsv").write_text(tsv(rows))
    artifact = statistics_of(private_store, tmp_path / "pairs.tsv", shards)
    both = [pair_statistics.read(artifact.path, split) for split in ("train", "eval")]
    train = rows[: both[0].pairs]
    assert len(rows) - len(train) == both[1].pairs and 230 < len(train) < 250
    for side in range(2):
        expected = Counter(word for row in train for word in row[side].split())
        assert both[0].words[side] == expected
        counts = list(both[0].words[side].values())
        assert counts == sorted(counts, reverse=True)
    lengths = Counter(tuple(len(side.split()) for side in row) for row in train)
    assert both[0].lengths == lengths


@pytest.mark.parametrize(
    "content,message",
    [
        ("one\tun\n" * 50 + "two\n" + "one\tun\n" * 50, r"pairs.tsv, byte 350: a line has 0 tabs"),
        ("\tun\n" * 100, "the training split has no pair of sentences"),
        ("one\tun\n" + "x" * 70_000 + "\ty\n" * 2, "a line is longer than 65,536 bytes"),
    ],
)
def test_bad_lines_are_named(private_store, tmp_path, content, message):
    (tmp_path / "pairs.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        statistics_of(private_store, tmp_path / "pairs.tsv")
    assert private_store.paths("PairStatisticsGen") == []


def test_words_that_are_rare_are_unknown(private_store, tmp_path):
    (tmp_path / "pairs.tsv").write_text(tsv([("one one two", "un un")] * 40))
    statistics = statistics_of(private_store, tmp_path / "pairs.tsv")
    count = pair_statistics.read(statistics.path, "train").words[0]["two"]
    schema = word_schema_gen.run(private_store, statistics, least_count=count + 1)
    source, target = word_schema_gen.read_vocabularies(schema.path)
    assert source.words == ("one",) and target.words == ("un",)
    assert schema.manifest.properties["source_unknown"] == pytest.approx(1 / 3, abs=1e-6)
    with pytest.raises(InputError, match=r"no source word occurs 1000 times .* --least_count"):
        word_schema_gen.run(private_store, statistics, least_count=1000)
