"""Batches of pairs: every usable pair once, encoded as the vocabularies say, in a seeded order."""

from collections import Counter

import pytest
import tensorflow as tf
from parallel_texts import pairs, tsv
from seeds import generator

from model.errors import InputError
from model.text.word_vocabulary import END
from pipeline.corpora import corpus
from pipeline.data import pair_statistics
from pipeline.data.pair_batches import (
    PairedSplit,
    Vocabularies,
    require_pairs,
    steps_per_epoch,
    target_length,
)
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, pair_statistics_gen, word_schema_gen
from pipeline.store.artifacts import Store

MOST = 4


@pytest.fixture(scope="module")
def rows():
    """Pairs, some of which are too long or incomplete."""
    made = pairs(generator(), 400)
    return [*made[:200], ("one", ""), ("", "un"), *made[200:]]


@pytest.fixture(scope="module")
def stages(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.tsv").write_text(tsv(rows))
    store = Store(str(folder / "root"))
    with store.writing():
        examples = example_gen.run(
            store,
            corpus.resolve(str(folder / "pairs.tsv")),
            DataConfig(train_fraction=0.8, shards=3),
            cut_between="line",
        )
        statistics = pair_statistics_gen.run(store, examples)
        schema = word_schema_gen.run(store, statistics)
    return examples, statistics, schema


@pytest.fixture(scope="module")
def split(stages):
    examples, _, schema = stages
    vocabularies = Vocabularies(*word_schema_gen.read_vocabularies(schema.path))
    return PairedSplit(examples.path, "train", vocabularies, MOST), vocabularies


def usable(stages, rows):
    """The pairs of the training split that batches hold."""
    train = stages[1].manifest.properties["train_pairs"]
    complete = [row for row in rows if all(row)][:train]
    return [row for row in complete if max(len(side.split()) for side in row) <= MOST]


def texts(vocabularies, batches):
    for sources, targets in batches:
        for source, target in zip(sources.numpy(), targets.numpy(), strict=True):
            yield vocabularies.source.text(source), vocabularies.target.text(target)


def test_a_pass_has_every_usable_pair_once(stages, split, rows):
    batches, vocabularies = list(split[0].training_batches(16, seed=1, epoch=0)), split[1]
    assert Counter(texts(vocabularies, batches)) == Counter(usable(stages, rows))
    for sources, targets in batches:
        assert tf.reduce_all(sources != 0), "sources of one length"
        words = tf.math.count_nonzero(targets, axis=1) - 1
        assert {target_length(int(one)) for one in words} == {targets.shape[1]}
        assert tf.reduce_all(tf.gather(targets, words, axis=1, batch_dims=1) == END)


def test_the_number_of_steps_is_known_from_the_statistics(stages, split):
    lengths = pair_statistics.read(stages[1].path, "train").lengths
    for size in (1, 7, 1000):
        batches = split[0].training_batches(size, seed=1, epoch=2)
        assert sum(1 for _ in batches) == steps_per_epoch(lengths, size, MOST)


def test_seed_and_pass_decide_the_order(split):
    tf.random.set_seed(5)

    def order(seed, epoch):
        return list(texts(split[1], split[0].training_batches(16, seed, epoch)))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert sorted(order(1, 0)) == sorted(order(2, 1))


def test_records_hold_whole_lines_whatever_the_shards(stages, rows):
    from conftest import records_of

    for name in ("train", "eval"):
        for record in records_of(stages[0], name):
            assert record.text.endswith(b"\n")
    text = b"".join(r.text for n in ("train", "eval") for r in records_of(stages[0], n))
    assert text.decode() == tsv(rows)


def test_sentences_that_are_all_too_long_are_refused(stages):
    lengths = pair_statistics.read(stages[1].path, "eval").lengths
    require_pairs(lengths, MOST, "eval")
    with pytest.raises(InputError, match="no pair of the eval split has at most 1 words"):
        require_pairs(lengths, 1, "eval")
