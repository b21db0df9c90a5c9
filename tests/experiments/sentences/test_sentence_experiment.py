"""The experiment on sentences: the data, a training that collapses or is killed, and the report."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from experiments.framework.experiment import Inputs
from experiments.sentences import (
    sentence_nets,
    sentence_report,
    sentence_samples,
    sentence_text,
    sentence_training,
    sentence_trial,
    sentences,
)
from experiments.sentences.sentence_nets import NetConfig, Sizes
from experiments.sentences.sentence_samples import Imputed
from experiments.sentences.sentence_text import SentenceConfig
from experiments.sentences.sentence_training import SentenceTrainConfig
from experiments.sentences.sentence_trial import TrialConfig
from experiments.words import word_text
from experiments.words.word_text import Parts, TextConfig
from model.errors import InputError
from model.sentences import diagnostics
from model.text.vocabulary import PADDING
from model.text.word_vocabulary import END
from pipeline.corpora.corpus import resolve_mixture
from pipeline.store.artifacts import Store
from pipeline.training.training_log import read_scalars

TEXT = SentenceConfig("generated", words=600, least_count=2, max_words=7, held_out=12)
SIZES = Sizes(units=6, layers=1, latent=3)
CONFIG = SentenceTrainConfig(epochs=3, batch_size=8, annealing=0.5)
AUTOENCODER = NetConfig("stacked", "stacked")
TRIAL = TrialConfig(TEXT, SIZES, CONFIG, samples=3)


def net_of(text, net=AUTOENCODER, sizes=SIZES):
    tf.keras.utils.set_random_seed(int(generator().integers(1 << 30)))
    return sentence_nets.build(net, sizes, text.vocabulary.size, CONFIG.batch_size)


def parts_of(*lines):
    words = [word for line in lines for word in [*line.split(), "\n"]]
    return Parts(words, words, words)


def cut(parts, **options):
    text = word_text.encode(parts, TextConfig("corpus", 99, 1))
    return sentence_text.cut(text, TEXT._replace(**options))


def test_sentences_are_the_lines_that_are_short_enough():
    parts = parts_of("a b", "b a b a", "a", "b b b")
    found = cut(parts._replace(train=[*parts.train, "b", "a"]), max_words=3, held_out=2)
    texts = sentence_text.texts_of(found.vocabulary, found.train)
    assert texts == ["a b", "a", "b b b"] and found.left_out == 1
    assert found.train.shape == (3, 8) and found.train.dtype == np.int32
    ends = np.argmax(found.train == END, axis=1)
    assert ends.tolist() == [2, 1, 3] and np.all(found.train[0, 3:] == PADDING)
    assert sentence_text.texts_of(found.vocabulary, found.test) == ["a b", "a"]


def test_batches_hold_each_sentence_in_a_shape_that_does_not_change():
    ids = np.full((23, 16), PADDING, np.int32)
    for row, length in zip(ids, generator().integers(1, 17, 23), strict=True):
        row[:length] = 5
    for random in (None, generator()):
        places = list(sentence_text.batches(ids, 4, random))
        assert set(np.concatenate(places)) == set(range(23))
        for group in places:
            rows = sentence_text.trimmed(ids, group)
            assert rows.shape in ((4, 8), (4, 16))
            lengths = np.count_nonzero(rows != PADDING, axis=1)
            assert np.all(lengths > rows.shape[1] - 8)  # those of one width lie together

    def lengths_and_places(rows, seed):
        del seed
        return tf.math.count_nonzero(rows != PADDING, axis=1), tf.cast(rows[:, 0], tf.float32)

    counts, first = sentence_training.by_batches(lengths_and_places, ids, 4, 0)
    np.testing.assert_array_equal(counts, np.count_nonzero(ids != PADDING, axis=1))
    np.testing.assert_array_equal(first, ids[:, 0])


@pytest.mark.parametrize(
    "content,said",
    [
        ("no end here " * 200, "has no line of 1 to 7 words; give a text with a sentence per line"),
        ("same\n" * 200, r"the vocabulary has 1 word\(s\)"),
        (" \n" * 9, "the text has no words"),
    ],
)
def test_a_corpus_that_has_no_sentences_is_refused_before_any_training(tmp_path, content, said):
    (tmp_path / "text.txt").write_text(content)
    store = Store(str(tmp_path / "root"))
    inputs = Inputs(text=resolve_mixture([str(tmp_path / "text.txt")]))
    with store.writing(), pytest.raises(InputError, match=said) as caught:
        sentences.EXPERIMENT.prepare(store, "tiny", inputs)
    assert "\n" not in str(caught.value)


def test_validation_is_that_of_whole_sentences():
    text = sentence_text.load(TEXT)
    net = net_of(text)
    measure = sentence_training.measuring_function(net, is_inputless=False)
    found = sentence_training.validate(measure, text.test, 8, seed=3)
    posterior = net.encode(tf.constant(text.test))
    mean, log_variance = (np.array(one, float) for one in posterior)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    assert found.latent.divergence == pytest.approx(divergence.mean(), rel=1e-5)
    logits = net(tf.constant(text.test), posterior.mean)
    logs = tf.nn.log_softmax(tf.transpose(logits, [1, 0, 2]))
    picked = tf.gather(logs, np.maximum(text.test, 0), batch_dims=2)
    near = -np.sum(np.where(text.test != PADDING, picked, 0), axis=1).mean() + divergence.mean()
    assert found.loss == pytest.approx(near, rel=0.1)  # of z near its mean


def test_a_posterior_that_collapses_is_told_in_one_line(tmp_path, capsys):
    """Without annealing, of a decoder that has no use for the latent vector yet."""
    text, net = sentence_text.load(TEXT), None
    config = SentenceTrainConfig(epochs=2, batch_size=8, annealing=0.0, learning_rate=0.02)
    net = net_of(text)
    for kernel in (net.encoder.kernel, *net.decoder.contexts[0].weights):
        kernel.assign(0.01 * kernel)
    rows = sentence_training.train(str(tmp_path), net, text, config, seed=1)
    told = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    assert len(told) == 1 and told[0].startswith(
        "warning: the posterior has collapsed after pass 1"
    )
    assert "anneal for longer, lower the keep rate, or give free bits" in told[0]
    assert rows[0]["information"] < diagnostics.COLLAPSED
    scalars = read_scalars(str(tmp_path), "validation")
    assert list(scalars["latent/weight_of_kl"].values()) == [1.0, 1.0]
    for column, tag in sentence_training.SCALARS.items():
        logged = list(scalars[tag].values())
        np.testing.assert_allclose(logged, [row[column] for row in rows], rtol=1e-5, err_msg=tag)


@pytest.mark.slow
def test_free_bits_cost_nothing(tmp_path):
    text, last = sentence_text.load(TEXT), {}
    for free in (0.0, 1.0):
        config = SentenceTrainConfig(
            epochs=10, batch_size=8, annealing=0.0, learning_rate=0.02, free_bits=free
        )
        folder = str(tmp_path / f"{free:g}")
        rows = sentence_training.train(folder, net_of(text), text, config, seed=1)
        last[free] = rows[-1]["divergence"]
    assert last[0.0] < 0.5 and last[1.0] > 1.5


@pytest.mark.slow
@pytest.mark.parametrize("net", [AUTOENCODER, NetConfig("stacked")])
def test_a_training_that_was_killed_resumes_to_the_same_weights(tmp_path, monkeypatch, net):
    text = sentence_text.load(TEXT)
    sizes = SIZES._replace(layers=2, dropout=0.2)

    def train(folder):
        tf.keras.utils.set_random_seed(4)
        (tmp_path / folder).mkdir(exist_ok=True)
        made = sentence_nets.build(net, sizes, text.vocabulary.size, CONFIG.batch_size)
        return made, sentence_training.train(str(tmp_path / folder), made, text, CONFIG, seed=3)

    expected, rows = train("whole")
    assert rows[-1]["loss"] < rows[0]["loss"]
    one_pass = sentence_training._one_pass

    def killed(step, text, config, weight_of, seed, done):
        if seed[1] == 2:
            raise KeyboardInterrupt
        return one_pass(step, text, config, weight_of, seed, done)

    monkeypatch.setattr(sentence_training, "_one_pass", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed")
    monkeypatch.undo()
    found, resumed = train("killed")
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for row, other in zip(resumed, rows, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-4)


def test_a_classifier_tells_other_words_and_not_the_same():
    letters = [chr(code) for code in range(ord("a"), ord("k"))]
    ends = [str(generator().choice(letters)) for _ in range(400)]
    same = Imputed(["x"] * 400, ends, list(generator().permutation(ends)))
    assert sentence_samples.adversarial_error(same, same) == pytest.approx(0.5, abs=0.08)
    other = Imputed(["x"] * 400, ends, [one.upper() for one in ends])
    assert sentence_samples.adversarial_error(other, other) == 0


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The measurements of a language model and of an autoencoder, as a run has them."""
    store = Store(str(tmp_path_factory.mktemp("root")))
    tables = {}
    with store.writing():
        for net in (NetConfig("stacked"), AUTOENCODER):
            for rate in (1.0, 0.0):
                train = SentenceTrainConfig(epochs=2, batch_size=8, keep_rate=rate)
                config = TRIAL._replace(train=train)
                found = sentence_trial.measure(store, net, 0, config)
                assert sentence_trial.measure(store, net, 0, config).tables == found.tables
                labels = {
                    "model": sentence_report.VAE if net.encoder else sentence_report.LANGUAGE_MODEL,
                    "encoder": net.encoder,
                    "decoder": net.decoder,
                    "keep_rate": rate,
                    "annealing": 0.5 if net.encoder else 0.0,
                    "seed": 0,
                }
                for name, rows in found.tables.items():
                    tables.setdefault(name, []).extend({**labels, **row} for row in rows)
    return tables


@pytest.mark.slow
def test_files_hold_what_the_tables_say(measured):
    text = sentence_text.load(TEXT)
    for net in measured["nets"]:
        folder = pathlib.Path(net["files"])
        with np.load(folder / sentence_trial.BOUNDS) as saved:
            assert saved["bound"].shape == (len(text.test),) == (net["tested"],)
            assert net["bound"] == pytest.approx(float(saved["bound"].mean()))
            below = saved["weighted_bound"] <= saved["bound"]
            assert np.all(below) and net["weighted_bound"] <= net["bound"]
        assert (net["divergence"] > 0) == bool(net["encoder"])
        assert (folder / "net.weights.h5").exists() and not (folder / "checkpoints").exists()
        assert (net["adversarial_error"] is None) == (net["keep_rate"] == 0)


@pytest.mark.slow
def test_a_net_is_its_weights(measured):
    """Those that are stored, from which the test part comes to the same bounds."""
    text = sentence_text.load(TEXT)
    for net in measured["nets"]:
        parts = NetConfig(net["decoder"], net["encoder"])
        made = sentence_nets.build(parts, SIZES, text.vocabulary.size, 8)
        made.load_weights(pathlib.Path(net["files"]) / sentence_trial.WEIGHTS)
        train = SentenceTrainConfig(epochs=2, batch_size=8, keep_rate=net["keep_rate"])
        found = sentence_trial.bounds_of(made, text.test, TRIAL._replace(train=train), 0)
        assert found.bound.mean() == pytest.approx(net["bound"], rel=1e-5)


@pytest.mark.slow
def test_lines_begin_and_end_with_their_sentences(measured):
    text = sentence_text.load(TEXT)
    given = sentence_text.texts_of(text.vocabulary, text.test)
    lines = [row for row in measured["homotopies"] if row["pair"] == 0]
    assert [row["place"] for row in lines] == list(range(sentence_samples.POINTS + 2))
    assert (lines[0]["sentence"], lines[-1]["sentence"]) == tuple(given[:2])
    for row in measured["imputed"]:
        assert f"{row['beginning']} {row['end']}" in given


@pytest.mark.slow
def test_the_report_compares_with_the_language_models(measured):
    summary = sentence_report.summarize(measured)
    kinds = [(row[0], row[3]) for row in summary.rows]
    plain, own = sentence_report.LANGUAGE_MODEL, sentence_report.VAE
    assert kinds == [(plain, "1"), (plain, "0"), (own, "1"), (own, "0")]
    assert len(summary.header) == len(summary.rows[0])
    said = " ".join(summary.sentences)
    assert "With all words before the next one, the language model comes to" in said
    assert "Without inputs, the language model" in said
    assert any("From one sentence to another" in heading for heading in summary.texts)
    for plot in sentences.EXPERIMENT.plots:
        figure = plot.draw(measured)
        looks = {line.get_linestyle() for line in figure.axes[0].lines}
        assert len(looks) in (0, 2)  # legible without colour
    bars = sentences.EXPERIMENT.plots[0].draw(measured).axes[0].containers[1]
    assert all(bar.get_hatch() for bar in bars)


@pytest.mark.parametrize("scale", sentences.SCALES)
def test_points_are_those_of_the_paper_and_of_other_cores(scale):
    points = sentences.points(scale, Inputs(text=None))
    comparison = sentences.SCALES[scale]
    labels = [dict(point.labels) for point in points]
    assert len({json.dumps(one) for one in labels}) == len(labels)
    cores = {(one["encoder"], one["decoder"]) for one in labels}
    assert {("stacked", "stacked"), ("grid", "stacked"), ("stacked", "grid")} <= cores
    assert {one["keep_rate"] for one in labels if one["encoder"]} == set(comparison.keep_rates)
    for point, one in zip(points, labels, strict=True):
        train = point.measure.keywords["config"].train
        assert train.keep_rate == one["keep_rate"]
        if one["encoder"]:
            assert train.annealing == one["annealing"]
    not_annealed = [one for one in labels if one["encoder"] and not one["annealing"]]
    assert len(not_annealed) == comparison.seeds


def test_cores_have_as_many_parameters():
    sizes = Sizes(units=40, layers=1, latent=4)
    counts = [
        sentence_nets.build(NetConfig(core), sizes, 200, 8).count_params()
        for core in ("stacked", "grid")
    ]
    assert counts[1] == pytest.approx(counts[0], rel=0.03)


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda: SentenceTrainConfig(epochs=0), "epochs is 0"),
        (lambda: SentenceTrainConfig(1, keep_rate=1.5), "keep_rate is 1.5; it must be from 0 to 1"),
        (lambda: SentenceTrainConfig(1, annealing=-1), "annealing is -1; it must be from 0 to 1"),
        (lambda: SentenceTrainConfig(1, free_bits=-1), "free_bits is -1"),
        (lambda: sentence_nets.build(NetConfig("gird"), SIZES, 9, 2), "decoder is 'gird'; it must"),
    ],
)
def test_options_out_of_range_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
