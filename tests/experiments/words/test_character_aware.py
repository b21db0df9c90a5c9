"""The comparison of words and characters: what is measured by frequency, neighbours, the report."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

from experiments.framework.experiment import Inputs
from experiments.words import character_aware, character_aware_report, word_text, word_trial
from experiments.words.word_nets import INPUTS, TABLE, Sizes
from experiments.words.word_text import Parts, TextConfig
from experiments.words.word_training import WordTrainConfig
from experiments.words.word_trial import UNKNOWN_BIN, UNSEEN, TrialConfig
from model.errors import InputError
from pipeline.corpora.corpus import resolve_mixture
from pipeline.store.artifacts import Store

TRIAL = TrialConfig(
    text=TextConfig("generated", words=1_500, least_count=2, max_length=10),
    sizes=Sizes(parameters=8_000, layers=1, maps_per_width=2, widths=(1, 2, 3)),
    train=WordTrainConfig(epochs=2, batch_size=4, window=10),
)


def test_perplexities_by_frequency_are_those_of_their_words():
    train = ["a"] * 12 + ["b", "b", "c"]
    text = word_text.encode(Parts(train, [], ["a", "new"]), TextConfig("corpus", 99, 2))
    a, b, c, new = (text.words.index(word) for word in ("a", "b", "c", "new"))
    inputs, targets = np.array([[a, b, new, c]]), np.array([[b, c, a, new]])
    losses = np.log(np.array([[2.0, 3.0, 5.0, 27.0]]))
    rows = word_trial.by_frequency(text, losses, inputs, targets)
    found = {(row["side"], row["occurrences"]): row for row in rows}
    expected = {
        ("target", UNKNOWN_BIN): (2, 9.0),  # c, which occurs once, and new
        ("target", "1-9"): (1, 2.0),
        ("target", "10-99"): (1, 5.0),
        ("input", UNSEEN): (1, 5.0),
        ("input", "1-9"): (2, 9.0),  # after b, and after c, which no vocabulary has
        ("input", "10-99"): (1, 2.0),
    }
    assert {place: row["words"] for place, row in found.items()} == {
        place: words for place, (words, _) in expected.items()
    }
    for place, (_, perplexity) in expected.items():
        assert found[place]["perplexity"] == pytest.approx(perplexity)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The measurements of two kinds of input, and their labels, as a run has them."""
    store = Store(str(tmp_path_factory.mktemp("root")))
    tables = {}
    with store.writing():
        for inputs in ("characters, 1 highway", TABLE):
            found = word_trial.measure(store, inputs, "stacked", 0, TRIAL)
            again = word_trial.measure(store, inputs, "stacked", 0, TRIAL)
            assert again.tables == found.tables
            labels = {"core": "stacked", "model": inputs, "seed": 0}
            for name, rows in found.tables.items():
                tables.setdefault(name, []).extend({**labels, **row} for row in rows)
    return tables


def test_files_hold_what_the_tables_say(measured):
    text = word_text.load(TRIAL.text)
    for net in measured["nets"]:
        folder = pathlib.Path(net["files"])
        with np.load(folder / word_trial.LOSSES) as saved:
            losses = saved["losses"].astype(float)
            np.testing.assert_array_equal(saved["targets"].ravel(), text.test[: losses.size])
        assert net["perplexity"] == pytest.approx(math.exp(losses.mean()), rel=1e-5)
        assert net["vocabulary"] == text.vocabulary.size
        assert (folder / "words.txt").read_text(encoding="utf-8") == text.vocabulary.to_text()
        assert not (folder / "checkpoints").exists() and (folder / "net.weights.h5").exists()
    rows = [row for row in measured["frequencies"] if row["model"] == TABLE]
    for side in ("target", "input"):
        assert sum(row["words"] for row in rows if row["side"] == side) == losses.size


def test_neighbours_are_known_words_also_of_unseen_ones(measured):
    text = word_text.load(TRIAL.text)
    layers = {row["layer"] for row in measured["neighbours"]}
    assert layers == {"table", "before", "after"}
    for row in measured["neighbours"]:
        others = row["neighbours"].split()
        assert len(others) == word_trial.LISTED == len(set(others))
        assert row["word"] not in others and set(others) <= set(text.vocabulary.words)
    unseen = [row for row in measured["neighbours"] if row["occurrences"] == 0]
    assert {row["layer"] for row in unseen} == {"before", "after"}
    assert all(text.counts[text.words.index(row["word"])] == 0 for row in unseen)


def test_the_report_counts_unknown_words_and_compares_with_the_table(measured):
    summary = character_aware_report.summarize(measured)
    assert [row[1] for row in summary.rows] == [TABLE, "characters, 1 highway"]
    text = word_text.load(TRIAL.text)
    words, vocabulary, test = summary.sentences[0], text.vocabulary.size, summary.sentences[1]
    assert f"1,500 words of training text, the vocabulary has {vocabulary} ids" in words
    with np.load(pathlib.Path(measured["nets"][0]["files"]) / word_trial.LOSSES) as saved:
        unknown = int((saved["targets"] >= vocabulary).sum())
        after = int((text.counts[saved["inputs"]] == 0).sum())
    assert f"{unknown} are not in the vocabulary" in test and f"{after} follow a word" in test
    assert "lower" in summary.sentences[-1] or "higher" in summary.sentences[-1]
    table, characters = (text.splitlines() for text in summary.texts.values())
    assert len(table) > 1 and len(characters) > 2 * len(table) - 2  # also unseen words, twice each
    for plot in character_aware.EXPERIMENT.plots:
        figure = plot.draw(measured)
        lines = {line.get_linestyle() for line in figure.axes[0].lines}
        markers = {line.get_marker() for line in figure.axes[0].lines}
        assert len(lines) == len(markers) == 2  # legible without colour


@pytest.mark.parametrize("scale", character_aware.SCALES)
def test_nets_differ_in_inputs_core_and_seed_alone(scale):
    points = character_aware.points(scale, Inputs(text=None))
    comparison = character_aware.SCALES[scale]
    assert len(points) == len(INPUTS) * 2 * comparison.seeds
    assert len({json.dumps(dict(point.labels)) for point in points}) == len(points)
    assert {point.measure.keywords["config"] for point in points} == {comparison.trial}
    assert comparison.trial.text.max_size <= 10_000
    train = dataclasses.asdict(comparison.trial.train)
    assert (train["init_scale"], train["clip_norm"], train["decay"]) == (0.05, 5.0, 0.5)


@pytest.mark.parametrize(
    "content,said",
    [
        ("the end\n" * 50, "a window of .* words needs .*; give a longer text by --corpus"),
        (" \n\n", "the text has no words"),
        ("same\n" * 50, r"the vocabulary has 1 word\(s\)"),
    ],
)
def test_a_corpus_that_is_too_small_is_refused_before_any_training(tmp_path, content, said):
    (tmp_path / "text.txt").write_text(content)
    store = Store(str(tmp_path / "root"))
    inputs = Inputs(text=resolve_mixture([str(tmp_path / "text.txt")]))
    with store.writing(), pytest.raises(InputError, match=said) as caught:
        character_aware.EXPERIMENT.prepare(store, "small", inputs)
    assert "\n" not in str(caught.value)


def test_a_corpus_is_split_into_words_to_train_on_and_two_parts_held_out(tmp_path):
    lines = "".join(f"line {number} ends_here.\n" for number in range(2_000))
    (tmp_path / "text.txt").write_text(lines)
    store = Store(str(tmp_path / "root"))
    config = TextConfig("corpus", words=3_000, least_count=2)
    with store.writing():
        mixture = resolve_mixture([str(tmp_path / "text.txt")])
        examples = character_aware.examples_of(store, mixture, config)
    text = word_text.load(config, examples.path)
    assert len(text.train) == 3_000 and len(text.validation) == len(text.test) == 300
    first = [text.words[one] for one in text.train[:5]]
    assert first == ["line", "0", "ends_here", ".", "\n"]
    held_out = [text.words[one] for one in np.concatenate([text.validation, text.test])]
    # The first number may be cut, as parts are split between any two characters.
    numbers = [int(word) for word in held_out if word.isdigit()][1:]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] > 1_700
