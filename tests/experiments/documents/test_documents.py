"""The comparison of language models of documents: texts, nets, coherence, and the report."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from experiments.data.data_files import DataFile, DataSet
from experiments.documents import (
    document_coherence,
    document_nets,
    document_text,
    document_training,
    document_trial,
    documents,
    documents_report,
)
from experiments.documents.document_nets import ATTENTION, CONTEXTS, GRID, NETS, SENTENCE, Sizes
from experiments.documents.document_text import DocumentConfig
from experiments.framework.experiment import Inputs
from model.errors import InputError
from model.text.word_vocabulary import END, PADDING
from pipeline.corpora.corpus import resolve_mixture
from pipeline.store.artifacts import Store

SIZES = Sizes(parameters=6_000, batch_size=3, window=8, sentences=3, words=6)
CONFIG = DocumentConfig("corpus", documents=9, held_out=4, max_sentences=4, max_words=3)
VOCABULARY = 20
EACH = [*CONTEXTS, pytest.param(GRID, marks=pytest.mark.slow)]


def random_documents(count, sentences=5):
    random = generator()
    return [
        [
            random.integers(END + 1, VOCABULARY, random.integers(1, SIZES.words)).astype(np.int32)
            for _ in range(random.integers(2, sentences + 1))
        ]
        for _ in range(count)
    ]


def make_net(name, units=6):
    tf.keras.utils.set_random_seed(int(generator().integers(1 << 30)))
    return document_nets.build(name, units, VOCABULARY, SIZES)


def test_documents_are_cut_into_sentences_and_words():
    part = document_text.cut(
        [["one two, three", "", "a"], ["alone"], ["x y", "z", "z", "z", "z", "z"]], 9, CONFIG
    )
    assert part.documents == [[["one", "two", ","], ["a"]], [["x", "y"], ["z"], ["z"], ["z"]]]
    assert part.characters == len("one two,\n") + len("a\n") + len("x y\nz\nz\nz\n")


def test_chapters_are_documents_and_verses_sentences(tmp_path, monkeypatch):
    lines = [
        f"Book {at // 5}\t{at}\t{verse}\tverse {verse} of {at}"
        for at in range(20)
        for verse in (1, 2, 3)
    ]
    content = "\n".join(lines).encode()
    (tmp_path / "en-web.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"en-web.tsv unpacks to .*; replace it by the published"):
        document_text.datasets.read("bible", str(tmp_path))
    file = DataFile("en-web.tsv", "", len(content), hashlib.sha256(content).hexdigest())
    bible = DataSet((file,), "public domain", "the tests")
    monkeypatch.setitem(document_text.datasets.DATA_SETS, "bible", bible)
    config = CONFIG._replace(source="bible", documents=99, max_words=9)
    text = document_text.load(config, str(tmp_path))
    assert [len(part) for part in (text.train, text.validation, text.test)] == [16, 2, 2]
    assert [len(document) for document in text.train] == [3] * 16
    assert text.vocabulary.text(text.train[0][1]) == "verse 2 of 0"
    with pytest.raises(InputError, match=r"holds no en-web.tsv of bible.*by --data$"):
        document_text.datasets.read("bible", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"not published .*; name a folder with it by --data"):
        document_text.datasets.read("bible")
    document_text.datasets.require(["bible"])
    for folder, source in ((None, "corpus"), (str(tmp_path), "bible")):
        inputs = Inputs(text=None, data=folder)
        assert documents.comparison_at("small", inputs).trial.text.source == source


def test_files_are_documents(tmp_path):
    for name in "abcdefghijklmnopqrst":
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n\n{name} two\n", encoding="utf-8")
    store = Store(str(tmp_path / "root"))
    with store.writing():
        examples = documents.examples_of(store, resolve_mixture([str(tmp_path / "*.txt")]), CONFIG)
    read = [*document_text.files_of(examples.path, "train")]
    assert read[0] == ["a one", "", "a two"] and len(read) > 15


@pytest.mark.parametrize("name", EACH)
def test_losses_do_not_depend_on_batches_and_on_what_follows(name):
    net, texts = make_net(name), random_documents(7)
    found = net.sentence_losses(texts)
    for document, losses in zip(texts, found, strict=True):
        assert losses.shape == (len(document),) and np.all(losses > 0)
    alone = net.sentence_losses(texts[3:4])
    np.testing.assert_allclose(alone[0], found[3], rtol=1e-4)
    # A sentence has the probability that it has in a document that ends with it.
    begun = net.sentence_losses([document[:1] for document in texts])
    np.testing.assert_allclose(np.concatenate(begun), [one[0] for one in found], rtol=1e-4)


@pytest.mark.parametrize("name", EACH)
def test_models_but_that_of_sentences_are_told_of_all_words_before(name):
    net = make_net(name)
    (document,) = [[np.array([5, 6, 7, 8], np.int32), np.array([9, 10], np.int32)]]
    base = net.sentence_losses([document])[0]
    for place in range(4):
        changed = [document[0].copy(), document[1]]
        changed[0][place] = 15
        other = net.sentence_losses([changed])[0]
        assert (abs(other[1] - base[1]) > 1e-6) == (name != SENTENCE), place


def test_the_grid_does_not_see_what_it_predicts():
    net = make_net(GRID)
    inputs, _ = net.block(random_documents(2, sentences=3), 2, 3)
    inputs[:, :, :4] = np.where(inputs[:, :, :4] == PADDING, 5, inputs[:, :, :4])
    before = net(inputs).numpy()
    changed = inputs.copy()
    changed[:, 1, 2] = np.where(inputs[:, 1, 2] == 17, 16, 17)
    after = net(changed).numpy()
    is_same = np.all(np.abs(before - after) < 1e-6, axis=-1)
    assert is_same[:, 0].all() and is_same[:, 1, :2].all()
    assert not is_same[:, 1, 2].any() and not is_same[:, 2, 0].any()


@pytest.mark.parametrize("name", [GRID, ATTENTION, SENTENCE])
def test_batches_hold_all_words_once(name):
    net, texts = make_net(name), random_documents(30)
    batches = list(net.batches(texts, [0, 1]))
    counted = sum(int(np.count_nonzero(one.targets)) for one in batches)
    total = document_training.words_in(texts)
    assert 0.8 * total < counted <= total
    again = list(net.batches(texts, [0, 1]))
    np.testing.assert_array_equal(batches[0].inputs, again[0].inputs)
    assert batches[0].begins


@pytest.mark.slow
def test_nets_have_about_as_many_parameters():
    for name in NETS:
        units = document_nets.width_of(name, VOCABULARY, SIZES)
        net = document_nets.build(name, units, VOCABULARY, SIZES)
        count = sum(int(np.prod(one.shape)) for one in net.trainable_variables)
        assert 0.7 < count / SIZES.parameters < 1.3, (name, count)
    with pytest.raises(InputError, match="no model ccDCL; did you mean ccDCLM"):
        document_nets.build("ccDCL", 4, VOCABULARY, SIZES)


def test_coherence_counts_orders_that_are_less_likely():
    losses = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [2.0, 1.0, 1.5], [1e3, 1e3, 1e3 + 1e-4]])
    found = document_coherence.compare(losses)
    assert found.likelier == pytest.approx((2 + 1 + 0 + 1) / 8) and found.ties == 0.25
    assert (found.documents, found.above, found.below) == (4, 1, 1)
    for above, below in ((9, 1), (3, 3), (0, 7), (8, 4)):
        count = above + below
        signs = np.array([bin(one).count("1") for one in range(1 << count)])
        expected = np.mean(np.abs(signs - count / 2) >= abs(above - count / 2))
        assert document_coherence.sign_test(above, below) == pytest.approx(expected)
    assert document_coherence.sign_test(2000, 1000) < 1e-9
    orders = document_coherence.shuffles(3, 50, [1])
    assert all(sorted(one) == [0, 1, 2] and list(one) != [0, 1, 2] for one in orders)
    assert len({tuple(one) for one in orders}) == 5


def test_a_model_of_sentences_finds_all_orders_equally_likely():
    texts = random_documents(8)
    found = document_coherence.measure(make_net(SENTENCE), texts, sentences=3, orders=4)
    assert (found.likelier, found.ties, found.above, found.below) == (0.5, 1.0, 0, 0)
    assert found.documents == sum(len(one) >= 3 for one in texts)
    other = document_coherence.measure(make_net("ccDCLM"), texts, sentences=3, orders=4)
    assert other.ties == 0


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The measurements of all nets, as a run has them."""
    folder = tmp_path_factory.mktemp("texts")
    for at in range(30):
        lines = [f"line {(at + n) % 7} of {at % 5}" for n in range(4 + at % 3)]
        (folder / f"{at:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    config = documents.SCALES["tiny"].trial
    config = config._replace(sizes=config.sizes._replace(batch_size=2, window=8))
    store = Store(str(tmp_path_factory.mktemp("root")))
    tables = {}
    with store.writing():
        for name in NETS:
            text = resolve_mixture([str(folder)])
            found = documents.measure(store, name, 0, config, text, None)
            for table, rows in found.tables.items():
                labels = {"model": name, "seed": 0}
                tables.setdefault(table, []).extend({**labels, **row} for row in rows)
    return tables


@pytest.mark.slow
def test_files_hold_what_the_tables_say(measured):
    assert [row["model"] for row in measured["nets"]] == list(NETS)
    for net in measured["nets"]:
        folder = pathlib.Path(net["files"])
        found = json.loads((folder / document_trial.COHERENCE).read_text())
        rows = [row for row in measured["coherence"] if row["model"] == net["model"]]
        assert [row["likelier"] for row in rows] == [row["likelier"] for row in found]
        assert net["perplexity"] < 1.2 * net["vocabulary"] and net["bits"] > 0
        assert not (folder / "checkpoints").exists()
    maps = measured["attention"]
    assert {row["model"] for row in maps} == {ATTENTION}
    for step in {row["step"] for row in maps}:
        assert sum(row["share"] for row in maps if row["step"] == step) == pytest.approx(
            1, abs=1e-3
        )
    sentence = [row for row in measured["coherence"] if row["model"] == SENTENCE]
    assert all(row["likelier"] == 0.5 for row in sentence)


@pytest.mark.slow
def test_the_report_has_all_models(measured):
    summary = documents_report.summarize(measured)
    assert [row[0] for row in summary.rows] == list(NETS)
    assert len(summary.sentences) == 2 + len(CONTEXTS)
    assert "50.0%" in summary.rows[0] and summary.rows[0][-2] == "1"
    for plot in documents.EXPERIMENT.plots:
        assert plot.draw(measured).axes


def test_a_text_that_is_too_short_is_refused(tmp_path):
    for at in range(4):
        (tmp_path / f"{at}.txt").write_text("a b\nc d\n" if at else "a\n", encoding="utf-8")
    store = Store(str(tmp_path / "root"))
    with store.writing(), pytest.raises(InputError, match=r"give .* by --corpus") as error:
        documents.prepare(store, "tiny", Inputs(resolve_mixture([str(tmp_path / "*.txt")])))
    assert "\n" not in str(error.value)
