"""Translation: parallel text, batches, nets of as many parameters, training and the report."""

import json
import pathlib

import keras
import numpy as np
import pytest
import sacrebleu
import tensorflow as tf
from grids import error
from seeds import generator

from experiments.data import datasets
from experiments.translation import (
    translation,
    translation_bleu,
    translation_data,
    translation_nets,
    translation_report,
    translation_training,
    translation_trial,
)
from experiments.translation.translation_data import TARGET_STEP, EncodedPairs
from experiments.translation.translation_nets import BASELINE, REENCODER, Sizes
from experiments.translation.translation_training import TrainConfig
from model.errors import InputError
from model.text.word_vocabulary import BEGIN, END, WordVocabulary
from model.translation.beam_search import Translations, beam_search
from pipeline.store.artifacts import Store


def test_empty_and_long_sides_are_skipped_and_counted():
    ours = b"a b\n\nc\nd e f g\nx\n"
    theirs = b"A  B\nB\n \nD\nA B C D E\n"
    found = translation_data.read_pairs({"t.x": ours, "t.y": theirs}, "t.x", "t.y", max_words=3)
    assert found.sources == ["a b"] and found.targets == ["A B"]
    assert "2 pairs with an empty side, the first at t.x, line 2" in found.skipped
    assert "2 pairs of more than 3 words, the first at t.x, line 4" in found.skipped


@pytest.mark.parametrize(
    "ours,theirs,said",
    [
        (b"a\nb\n", b"A\n", "t.x, line 2: t.y has no such line"),
        (b"a\n", b"A\nB", "t.y, line 2: t.x has no such line"),
        (b"a\n\xff\n", b"A\nB\n", "t.x, line 2 is not UTF-8"),
    ],
)
def test_files_that_do_not_match_are_refused(ours, theirs, said):
    with pytest.raises(InputError, match=said) as caught:
        translation_data.read_pairs({"t.x": ours, "t.y": theirs}, "t.x", "t.y")
    assert "\n" not in str(caught.value)


def test_the_parts_of_the_data_set_are_read(monkeypatch):
    files = {
        f"{part}.{side}": f"{part} {side}\n".encode()
        for part in ("train", "dev", "test")
        for side in ("ja", "en")
    }
    monkeypatch.setattr(datasets, "read", lambda *_: files)
    corpus = translation_data.load.__wrapped__("tanaka-ja-en")
    assert corpus.dev.sources == ["dev ja"] and corpus.test.targets == ["test en"]
    names = {file.name for file in datasets.DATA_SETS["tanaka-ja-en"].files}
    assert names == set(files)


@pytest.fixture
def pairs():
    """Pairs of which each source is its number in unary, and each target a mark of it."""
    random = generator()
    sources, targets = [], []
    for number in range(200):
        sources.append([4 + number] * random.integers(1, 5))
        targets.append([4 + number] * random.integers(1, 8) + [END])
    return EncodedPairs(
        translation_data._padded(sources, 1), translation_data._padded(targets, TARGET_STEP)
    )


def test_batches_have_one_source_length_and_all_pairs(pairs):
    seen = []
    for source, target in translation_data.training_batches(pairs, 8, seed=3):
        assert source.shape[0] == target.shape[0] <= 8
        assert np.count_nonzero(source) == tf.size(source)
        lengths = np.count_nonzero(target, axis=1)
        assert target.shape[1] - TARGET_STEP < lengths.min()
        assert lengths.max() <= target.shape[1]
        np.testing.assert_array_equal(source[:, 0], target[:, 0])
        seen += source[:, 0].numpy().tolist()
    assert sorted(seen) == list(range(4, 204))

    def order(seed):
        batches = translation_data.training_batches(pairs, 8, seed)
        return [source[:, 0].numpy().tolist() for source, _ in batches]

    assert order(3) == order(3) != order(4)


@pytest.mark.parametrize("name", translation_nets.NETS)
def test_nets_step_as_they_are_called(name):
    """What a search adds up is what a training lowers; and nets have as many parameters."""
    units = translation_nets.width_of(name, 30, 20, 5_000)
    net = translation_nets.build(name, Sizes(30, 20, units, dropout=0.3))
    assert net.count_params() == pytest.approx(5_000, rel=0.1)
    source = generator().integers(4, 30, size=[2, 3]).astype(np.int32)
    target = np.array([[BEGIN, 5, 9, 7], [BEGIN, 4, 4, 12]], np.int32)
    expected = net([source, target])
    state = net.initial_state(source)
    for place in range(4):
        logits, state = net.step(target[:, place], state)
        assert error(logits, expected[:, place]) < 1e-5
    changed = source.copy()
    changed[0, -1] = 4 + (changed[0, -1] - 3) % 26
    assert error(net([changed, target])[0], expected[0]) > 1e-4
    assert np.isfinite(beam_search(net, source, 2, 3).scores).all()


def test_padded_targets_change_no_loss():
    net = translation_nets.build(REENCODER, Sizes(20, 20, 4))
    measure = translation_training.loss_function(net)
    source, target = np.array([[5, 6]], np.int32), np.array([[7, 8, END]], np.int32)
    nats, words = measure(source, target)
    padded, count = measure(source, np.pad(target, [(0, 0), (0, 4)]))
    logits = net([source, np.array([[BEGIN, 7, 8]])]).numpy()[0].astype(float)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    assert float(nats) == pytest.approx(-logs[range(3), target[0]].sum(), rel=1e-5)
    assert float(padded) == pytest.approx(float(nats), rel=1e-5) and words == count == 3


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [BASELINE, REENCODER])
def test_a_training_that_was_killed_resumes_to_the_same_weights(tmp_path, monkeypatch, name):
    """In the third of three passes, with dropout; each target is its source."""
    words = generator().integers(4, 8, size=[96, 2]).astype(np.int32)
    pairs = EncodedPairs(words, np.pad(words, [(0, 0), (0, 1)], constant_values=END))
    weights = translation_nets.build(name, Sizes(8, 8, 8)).get_weights()

    def train(folder, seed=1):
        keras.utils.set_random_seed(seed)  # of the dropout, unless a checkpoint has its state
        tf.io.gfile.makedirs(str(tmp_path / folder))
        net = translation_nets.build(name, Sizes(8, 8, 8, dropout=0.1))
        net.set_weights(weights)
        config = TrainConfig(3, batch_size=16, learning_rate=0.02)
        args = str(tmp_path / folder), net, pairs, pairs, config, 5
        return net, translation_training.train(*args)

    whole, rows = train("whole")
    assert rows[-1]["dev_perplexity"] < 0.95 * rows[0]["dev_perplexity"]
    measure, calls = translation_training.perplexity, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KilledError
        return measure(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(translation_training, "perplexity", killed)
        train("killed")
    net, again = train("killed", seed=2)
    assert [row["epoch"] for row in again] == [1, 2, 3]
    for one, other in zip(net.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_decoding_keeps_the_order_of_the_sentences():
    """Sentences are translated by length, but come back in their own order."""
    sources = np.array([[5, 6, 0], [7, 0, 0], [4, 5, 6], [4, 0, 0]], np.int32)

    def copy(ids):
        return Translations(ids[:, None], tf.zeros([tf.shape(ids)[0], 1]))

    decoded = translation_training.decode(copy, sources)
    assert decoded.ids == [[5, 6], [7], [4, 5, 6], [4]]
    assert decoded.sentences_per_second > 0


def test_bleu_is_that_of_the_formula_and_of_the_files():
    hypotheses = ["the cat sat on the mat .", "a dog ran"]
    references = ["the cat sat on a mat .", "a dog ran away"]
    counts = [(6 + 3, 10), (4 + 2, 8), (2 + 1, 6), (1, 4)]
    logs = np.mean([np.log(right / all_) for right, all_ in counts])
    expected = 100 * np.exp(min(0, 1 - 11 / 10) + logs)
    assert translation_bleu.bleu(hypotheses, references) == pytest.approx(expected)
    again = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="none", force=True)
    assert again.score == pytest.approx(expected)


@pytest.mark.slow
def test_the_smallest_trial_has_all_that_the_report_shows(tmp_path):
    """The tables of a net stand for those of the Reencoder, too, which takes longer to build."""
    config = translation.SCALES["tiny"].trial
    config = config._replace(parameters=2_000, train=TrainConfig(1, batch_size=64))
    store = Store(str(tmp_path))
    with store.writing():
        measured = translation_trial.measure(store, BASELINE, 0, config, None)
        again = translation_trial.measure(store, BASELINE, 0, config, None)
    assert again.tables == measured.tables
    (row,) = measured.tables["nets"]
    folder = pathlib.Path(row["files"])
    hypotheses, references = (
        (folder / name).read_text().splitlines() for name in ("hypotheses.txt", "references.txt")
    )
    assert len(hypotheses) == len(references) == 100
    assert not (folder / "checkpoints").exists()
    tables = {
        name: [
            {"model": model, "seed": 0, **row} for model in (REENCODER, BASELINE) for row in rows
        ]
        for name, rows in measured.tables.items()
    }
    assert translation_report.mean_bleu(tables, BASELINE) == pytest.approx(
        translation_bleu.bleu(hypotheses, references)
    )
    assert json.dumps(tables)
    summary = translation_report.summarize(tables)
    assert [cells[0] for cells in summary.rows] == [REENCODER, BASELINE]
    for plot in translation.EXPERIMENT.plots:
        assert plot.draw(tables).axes


def test_alignments_name_the_words_of_both_sides():
    vocabularies = translation_data.Vocabularies(
        WordVocabulary(("a", "b", "c")), WordVocabulary(("x", "y"))
    )
    net = translation_nets.build(REENCODER, Sizes(7, 6, 4))
    sources = np.array([[4, 5, 0, 0, 0, 0], [4, 5, 6, 3, 4, 0]], np.int32)
    rows = translation_trial.alignment_rows(net, vocabularies, sources, [[4], [5, 4, 5, 4, 4]])
    assert len(rows) == 25 and {row["number"] for row in rows} == {1}
    assert [row["source_word"] for row in rows[:5]] == ["a", "b", "c", "<unk>", "a"]
    assert [row["target_word"] for row in rows[::5]] == ["y", "x", "y", "x", "x"]
    assert all(row["norm"] > 0 for row in rows)
    labelled = [{"model": REENCODER, "seed": 0, **row} for row in rows]
    (axis,) = translation_report.draw_alignments({"alignments": labelled}).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["y", "x", "y", "x", "x"]
    np.testing.assert_allclose(axis.images[0].get_array().max(axis=1), 1)


def test_nets_are_told_apart_by_the_bootstrap():
    words = generator().integers(0, 50, size=[60, 8])
    references = [" ".join(map(str, row)) for row in words]
    worse = [" ".join(map(str, [*row[:4], *row[:3:-1]])) for row in words]
    found = translation_bleu.compared({"good": references, "bad": worse}, references, "bad")
    assert found["bad"].p_value is None and found["good"].p_value < 0.01
    assert found["good"].bleu == pytest.approx(100) and 0 < found["bad"].bleu < 60
    same = translation_bleu.compared({"one": worse, "bad": worse}, references, "bad")
    assert same["one"].p_value == 1


def test_the_report_leaves_out_sentences_of_the_training_part():
    def row(model, number, hypothesis, in_training=False):
        return {
            "model": model, "seed": 0, "number": number, "source": "x " * (number + 4),
            "reference": "a b c d e", "hypothesis": hypothesis, "greedy_hypothesis": "a b c d",
            "in_training": in_training,
        }  # fmt: skip

    rows = [row(REENCODER, 0, "a b c d e", True), row(REENCODER, 5, "e d c b a")]
    assert translation_report.mean_bleu({"nets": rows, "sentences": rows}, REENCODER) > 10
    unseen = translation_report.mean_bleu({"nets": rows, "sentences": rows}, REENCODER, unseen=True)
    assert unseen == pytest.approx(translation_bleu.bleu(["e d c b a"], ["a b c d e"]))
    by_length = translation_report.bleu_by_length({"sentences": rows}, REENCODER)
    assert by_length == {"1-6": 100.0, "7-9": pytest.approx(unseen)}
