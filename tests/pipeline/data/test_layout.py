"""Splits, mixtures and shards: no text is lost or doubled, and the options are followed."""

import itertools
import json

import numpy as np
import pytest
from conftest import records_of, text_of, write_folder
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.corpora.corpus import Source, resolve_mixture
from pipeline.data import layout
from pipeline.data.layout import Segment
from pipeline.data.records import Shard, index_text
from pipeline.settings import DataConfig
from pipeline.stages import example_gen
from pipeline.store.artifacts import Store


def up_to_code_point(whole, end):
    while whole[end] & 0xC0 == 0x80:
        end += 1
    return whole[:end]


segments = st.lists(st.integers(1, 50), min_size=1, max_size=9).map(
    lambda sizes: [Segment(f"{n}", "", 5, 5 + size, 60) for n, size in enumerate(sizes)]
)


@given(segments, st.integers(1, 20))
def test_shards_are_the_segments_in_order(given_segments, count):
    plans = layout.shards("train", given_segments, count)
    assert [plan.index for plan in plans] == list(range(count))
    sizes = [sum(segment.length for segment in plan.segments) for plan in plans]
    assert max(sizes) - min(sizes) <= 1
    whole = []
    for segment in itertools.chain.from_iterable(plan.segments for plan in plans):
        if whole and whole[-1].source == segment.source:
            assert whole[-1].end == segment.start
            segment = segment._replace(start=whole.pop().start)
        whole.append(segment)
    assert whole == given_segments


@pytest.mark.parametrize(
    "size,count", [(1, 1), (10**6, 1), (10**7, 1), (10**8, 11), (10**10, 75), (10**12, 7451)]
)
def test_shards_grow_with_the_text(size, count):
    assert len(layout.shards("train", [Segment("a", "", 0, size, size)], 0)) == count


@pytest.mark.parametrize("shards", [1, 2, 11])
def test_the_text_does_not_depend_on_the_number_of_shards(private_store, tmp_path, shards):
    folder = write_folder(tmp_path / "texts", [300_001, 5, 70_000])
    artifact = example_gen.run(
        private_store, corpus.resolve(str(folder)), DataConfig(shards=shards)
    )
    whole = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    train = text_of(artifact, "train")
    assert train + text_of(artifact, "eval") == whole
    assert int(len(whole) * 0.95) <= len(train) <= int(len(whole) * 0.95) + 3


def test_splitting_by_document_keeps_files_whole(private_store, tmp_path):
    folder = write_folder(tmp_path / "texts", [40_000, 40_000, 1_000, 30_000])
    data = DataConfig(split_by="document", train_fraction=0.7)
    artifact = example_gen.run(private_store, corpus.resolve(str(folder)), data)
    names = {split: {r.source for r in records_of(artifact, split)} for split in ("train", "eval")}
    assert names == {"train": {"a00.txt", "a01.txt"}, "eval": {"a02.txt", "a03.txt"}}
    assert text_of(artifact, "eval") == b"".join(
        (folder / name).read_bytes() for name in sorted(names["eval"])
    )


def test_splitting_by_hash_is_stable_when_files_are_added(tmp_path):
    sources = [Source(f"{number}.txt", "", 100) for number in range(400)]
    few, many = (layout.split(some, "hash", 0.8) for some in (sources[::2], sources))
    for before, after in zip(few, many, strict=True):
        assert {s.source for s in before} == {s.source for s in after} & {
            source.name for source in sources[::2]
        }
    assert sorted([*many[0], *many[1]]) == sorted(map(layout.whole, sources))
    assert 0.7 < len(many[0]) / 400 < 0.9


def test_splitting_by_hash_does_not_depend_on_the_mixture(private_store, tmp_path):
    texts = write_folder(tmp_path / "texts", [2_000] * 20, "a")
    others = write_folder(tmp_path / "others", [2_000] * 20, "b")
    data = DataConfig(split_by="hash", train_fraction=0.5)
    alone = example_gen.run(private_store, resolve_mixture([str(texts)]), data)
    mixed = example_gen.run(private_store, resolve_mixture([str(others), str(texts)]), data)
    trained, of_mixture = (
        {record.source for record in records_of(artifact, "train")} for artifact in (alone, mixed)
    )
    prefix = "1-texts/"
    found = {one.removeprefix(prefix) for one in of_mixture if one.startswith(prefix)}
    assert found and found <= trained  # the mixture ends with its shorter part


@pytest.mark.parametrize(
    "lengths,weights",
    [([0, 100], [1, 1]), ([10, 10_000_000], [1, 1]), ([100, 100], [1.0, 1e-9])],
)
def test_a_mixture_that_would_not_end_is_refused(lengths, weights):
    corpora = [
        [layout.whole(Source(f"{n}.txt", "", length))] if length else []
        for n, length in enumerate(lengths)
    ]
    with pytest.raises(InputError, match="repeated more than 10,000 times until the others end"):
        layout.mix(corpora, weights, "all_exhausted")
    layout.mix(corpora, weights, "first_exhausted")


def test_shards_are_in_order_beyond_five_digits():
    shard = Shard("", 1, 1, 1, 0, None, None, "")
    names = [f"data_tfrecord-{n:05d}-of-100002" for n in (100_001, 9_999, 10_000, 100_000, 0)]
    listed = json.loads(index_text([shard._replace(name=name) for name in names]))
    assert [int(one["name"].split("-")[1]) for one in listed] == [
        0, 9_999, 10_000, 100_000, 100_001
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["document", "hash"])
def test_a_single_file_cannot_be_split_by_files(private_store, tmp_path, by):
    folder = write_folder(tmp_path / "texts", [1000])
    with pytest.raises(InputError, match="use --split_by position"):
        example_gen.run(private_store, corpus.resolve(str(folder)), DataConfig(split_by=by))
    assert not (tmp_path / "root" / "ExampleGen").exists()


@pytest.mark.parametrize("until", ["first_exhausted", "all_exhausted"])
def test_a_mixture_has_the_shares_of_its_weights(private_store, tmp_path, until):
    large = write_folder(tmp_path / "large", [9_000_000], "a")
    small = write_folder(tmp_path / "small", [1_700_000, 1_500_000], "b")
    mixture = resolve_mixture([str(large), str(small)], [1, 2], until)
    data = DataConfig(train_fraction=0.9, shards=7)
    artifact = example_gen.run(private_store, mixture, data)
    read = records_of(artifact, "train")
    assert example_gen.Properties.read(artifact).corpus == "large-small"
    sizes = np.zeros(2)
    texts = {"0-large/": b"", "1-small/": b""}
    for record in read:
        prefix = record.source[:8]
        sizes[list(texts).index(prefix)] += len(record.text)
        texts[prefix] += record.text
        assert abs(sizes[1] - 2 * sizes[0]) <= 2 * layout.MIXED + layout.BLOCK
    wholes = [
        b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        for folder in (large, small)
    ]
    trained = [up_to_code_point(whole, int(len(whole) * 0.9)) for whole in wholes]
    if until == "first_exhausted":
        assert texts["1-small/"][: len(trained[1])] == trained[1]
        assert trained[0].startswith(texts["0-large/"])
    else:
        assert texts["0-large/"] == trained[0]
        repeated = texts["1-small/"]
        assert len(repeated) > 4 * len(trained[1])
        assert (trained[1] * 9).startswith(repeated)


def test_a_mixture_is_deterministic(tmp_path):
    folders = [write_folder(tmp_path / name, [3_000_000], name) for name in "abc"]
    artifacts = []
    for root in ("one", "two"):
        store = Store(str(tmp_path / root))
        with store.writing():
            mixture = resolve_mixture(list(map(str, folders)), [0.5, 0.3, 0.2])
            artifacts.append(example_gen.run(store, mixture))
    assert artifacts[0].manifest.checksums == artifacts[1].manifest.checksums
    assert artifacts[0].fingerprint == artifacts[1].fingerprint


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [1.0, 0.0], [1.0, float("nan")]])
def test_invalid_weights_are_refused(tmp_path, weights):
    folder = str(write_folder(tmp_path / "texts", [1000]))
    with pytest.raises(InputError, match="weight"):
        resolve_mixture([folder, folder], weights)


@pytest.mark.parametrize("shards", [1, 3])
def test_documents_end_with_an_empty_line_if_wanted(private_store, tmp_path, shards):
    folder = tmp_path / "texts"
    folder.mkdir()
    contents = {"a": "one", "b": "two\n", "c": "three\n\n", "d": "\n", "e": "é\n\n\n", "f": "end"}
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    added = {"a": "\n\n", "b": "\n", "d": "\n", "f": "\n\n"}
    for separate in (False, True):
        data = DataConfig(train_fraction=0.5, shards=shards, separate_documents=separate)
        examples = example_gen.run(private_store, corpus.resolve(str(folder)), data)
        found = dict.fromkeys(contents, "")
        for split in ("train", "eval"):
            for record in records_of(examples, split):
                found[record.source.rpartition("/")[2]] += record.text.decode("utf-8")
        expected = {k: v + added.get(k, "") for k, v in contents.items()} if separate else contents
        assert found == expected
