"""Training of models of words: the learning rate, what a step lowers, and one that was killed."""

import math

import numpy as np
import pytest
from seeds import generator

from experiments.words import word_nets, word_text, word_training
from experiments.words.word_nets import INPUTS, TABLE, Sizes
from experiments.words.word_text import TextConfig
from experiments.words.word_training import WordTrainConfig, next_learning_rate
from model.errors import InputError
from model.text.word_vocabulary import UNKNOWN

TEXT = TextConfig("generated", words=800, least_count=2, max_length=8)
SIZES = Sizes(parameters=3_000, layers=1, maps_per_width=1, widths=(1, 2, 3))
CONFIG = WordTrainConfig(epochs=3, batch_size=4, window=5)


def net_of(text, inputs, core="stacked", seed=1, sizes=SIZES):
    net = word_nets.build(inputs, core, sizes, text.vocabulary.size, text.spelling.size, 4)
    word_nets.start_uniformly(net, 0.3, seed)
    return net


def passes(*perplexities, rate=1.0):
    """The rows of passes, with the learning rates that follow from the perplexities."""
    rows = []
    for perplexity in perplexities:
        rate = next_learning_rate(rows, CONFIG)
        rows.append({"learning_rate": rate, "validation_perplexity": perplexity})
    return [row["learning_rate"] for row in rows]


def test_the_learning_rate_halves_after_a_pass_that_gains_less_than_one():
    assert passes(100, 90, 89, 88.5, 80, 85, 70) == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert passes(100, math.inf, math.inf, 50) == [1, 1, 0.5, 0.25]


@pytest.mark.parametrize("inputs", [TABLE, "characters, 1 highway"])
def test_losses_are_those_of_the_model_word_by_word(inputs):
    """With the state carried over all windows, and unknown targets as one word."""
    text = word_text.load(TEXT)
    net = net_of(text, inputs)
    streams = word_text.streams_of(text.test, 4, 5)
    losses = word_training.loss_function(net, text)
    found = word_training.part_losses(losses, net, streams, 5)
    given = text.known(streams.inputs) if inputs == TABLE else text.table()[streams.inputs]
    logits, _ = net(given, net.initial_state(4))
    logs = np.array(logits, float) - np.log(np.exp(np.array(logits, float)).sum(-1, keepdims=True))
    targets = text.known(streams.targets)
    assert np.any(targets == UNKNOWN)
    expected = -np.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_unseen_words_differ_by_their_characters_and_not_in_a_table():
    text = word_text.load(TEXT)
    unseen = np.flatnonzero(text.counts == 0)[-2:]
    for inputs, differ in ((TABLE, False), ("characters", True)):
        net = net_of(text, inputs)
        first, second = word_training.input_function(net, text)(unseen.astype(np.int32))
        assert np.any(np.array(net.embed(first[None]) != net.embed(second[None]))) == differ


@pytest.mark.parametrize("core", ["stacked", pytest.param("grid", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "inputs", [TABLE, pytest.param("characters, 1 highway", marks=pytest.mark.slow)]
)
def test_a_training_that_was_killed_resumes_to_the_same_weights(
    tmp_path, monkeypatch, inputs, core
):
    text = word_text.load(TEXT)
    sizes = SIZES._replace(dropout=0.2)

    def train(folder):
        (tmp_path / folder).mkdir(exist_ok=True)
        net = net_of(text, inputs, core, sizes=sizes)
        rows = word_training.train(str(tmp_path / folder), net, text, CONFIG, seed=3)
        return net, rows

    expected, rows = train("whole")
    assert rows[-1]["validation_perplexity"] < rows[0]["validation_perplexity"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    one_pass = word_training._one_pass

    def killed(step, net, streams, config, seed):
        if seed[1] == 2:
            raise KeyboardInterrupt
        return one_pass(step, net, streams, config, seed)

    monkeypatch.setattr(word_training, "_one_pass", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed")
    monkeypatch.undo()
    found, resumed = train("killed")
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    for row, other in zip(resumed, rows, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-6)


def test_all_weights_start_uniform_around_the_biases():
    text = word_text.load(TEXT)
    sizes = Sizes(200_000, 2, widths=(1, 2))
    for core in ("stacked", "grid"):
        ids = text.vocabulary.size, text.spelling.size
        net = word_nets.build("characters, 2 highways", core, sizes, *ids, 4)
        word_nets.start_uniformly(net, 0.05, int(generator().integers(1 << 30)))
        for variable in net.trainable_variables:
            middle = np.zeros(variable.shape)
            if variable.path.endswith("highway/bias"):
                middle[:, : middle.shape[1] // 2] = -2
            away = np.abs(np.array(variable) - middle)
            assert 0.04 < away.max() <= 0.0501, variable.path
            assert away.min() < 0.01


@pytest.mark.parametrize("core", ["stacked", "grid"])
def test_nets_have_as_many_parameters(core):
    counts = [
        word_nets.build(inputs, core, Sizes(60_000, 1, maps_per_width=5), 500, 40, 8).count_params()
        for inputs in INPUTS
    ]
    assert counts == pytest.approx([60_000] * len(INPUTS), rel=0.03)


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda: WordTrainConfig(epochs=0), "epochs is 0"),
        (lambda: WordTrainConfig(1, window=0), "window is 0"),
        (lambda: WordTrainConfig(1, decay=1), "decay is 1; it must be at least 0 and below 1"),
        (lambda: WordTrainConfig(1, clip_norm=0), "clip_norm is 0"),
        (lambda: word_nets.config_of("letters", "grid", SIZES, 3), "no inputs letters; there are"),
        (lambda: word_nets.config_of("characters", "gird", SIZES, 3), "core is 'gird'; it must be"),
    ],
)
def test_unknown_options_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
