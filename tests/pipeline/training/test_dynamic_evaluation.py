"""Dynamic evaluation: its formula in NumPy, causality, and what it learns from a text."""

import math

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.execution.planner import choose
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.losses import character_losses
from model.text.vocabulary import PADDING
from pipeline.training.dynamic_evaluation import (
    DynamicModel,
    Rates,
    choose_rates,
    score_all,
)

VOCABULARY, WINDOW = 7, 5
CONFIGS = [
    ModelConfig(layers=2, units=8),
    ModelConfig("stacked", layers=2, units=8, cells=("lstm_peephole",)),
    ModelConfig("rhn", layers=3, units=8),
]


def model_of(config):
    plan = choose(config.units, config.layers, 1, dtype="float32", jits_step=True)
    return CharacterModel(config, VOCABULARY, plan)


def windows_of(count, repeated=0):
    """Random windows `[1, WINDOW]`, or repetitions of as many characters."""
    ids = generator().integers(0, VOCABULARY, repeated or count * WINDOW)
    return np.resize(ids, (count, 1, WINDOW)).astype(np.int32)


def gradients_of(model, ids, state):
    """The sum of the losses, the gradients of their mean, and the state, operation by operation."""
    with tf.GradientTape() as tape:
        logits, state = model(tf.maximum(ids, 0), state)
        losses, counted = character_losses(logits, tf.constant(ids))
        nats = tf.reduce_sum(losses)
        loss = nats / tf.reduce_sum(counted)
    found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return (
        float(nats),
        [tf.convert_to_tensor(one).numpy().astype(np.float64) for one in found],
        state,
    )


@pytest.mark.parametrize(
    "config",
    [CONFIGS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in CONFIGS[1:])],
    ids=lambda config: config.architecture,
)
def test_weights_follow_the_formula_of_the_paper(config):
    model, plain = model_of(config), CharacterModel(config, VOCABULARY)
    plain.set_weights(model.get_weights())
    trained = [np.array(v, np.float64) for v in plain.trainable_variables]
    gathered, text = windows_of(4), windows_of(3)
    squares, state = [0.0] * len(trained), plain.initial_state(1)
    for ids in gathered:
        _, gradients, state = gradients_of(plain, ids, state)
        squares = [s + g**2 / len(gathered) for s, g in zip(squares, gradients, strict=True)]
    roots = [np.sqrt(square) for square in squares]
    mean = np.concatenate([root.ravel() for root in roots]).mean()

    rates = Rates(learning_rate=0.01, decay=0.2)
    expected, weights, state = [], list(trained), plain.initial_state(1)
    for ids in text:
        nats, gradients, state = gradients_of(plain, ids, state)
        expected.append(nats)
        weights = [
            w
            - rates.learning_rate * g / (r + mean)
            + np.minimum(rates.decay * r / mean, 1) * (w0 - w)
            for w, g, r, w0 in zip(weights, gradients, roots, trained, strict=True)
        ]
        plain.set_weights(weights)

    dynamic = DynamicModel(model)
    dynamic.measure_gradients(gathered)
    found = [dynamic.score(ids, rates).nats for ids in text]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_allclose(variable, weight, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def dynamic():
    """A model whose programs are compiled once; each evaluation begins with `reset`."""
    dynamic = DynamicModel(model_of(CONFIGS[0]))
    dynamic.measure_gradients(windows_of(4))
    return dynamic


@pytest.mark.slow
def test_without_a_rate_the_evaluation_is_static(dynamic):
    text = windows_of(6)
    logits, _ = dynamic._model(text.reshape(1, -1), dynamic._model.initial_state(1))
    losses, _ = character_losses(logits, tf.constant(text.reshape(1, -1)))
    found = score_all(dynamic, text, Rates(0.0, 0.0))
    assert found.characters == 6 * WINDOW
    assert found.nats == pytest.approx(float(tf.reduce_sum(losses)), rel=1e-5)
    dynamic.reset()
    assert sum(dynamic.evaluate(ids).nats for ids in text) == pytest.approx(found.nats, rel=1e-6)


def test_no_character_changes_the_score_of_an_earlier_one(dynamic):
    text = windows_of(6)
    scores = {}
    for changed in (None, 3, 5):
        other = text.copy()
        if changed is not None:
            other[changed] = (other[changed] + 1) % VOCABULARY
        dynamic.reset()
        scores[changed] = [dynamic.score(ids, Rates(0.01, 0.01)).nats for ids in other]
    for changed in (3, 5):
        assert scores[changed][:changed] == scores[None][:changed]
        assert scores[changed][changed] != scores[None][changed]


def test_a_text_that_repeats_itself_is_learnt(dynamic):
    text = windows_of(120, repeated=2 * WINDOW + 3)
    static = score_all(dynamic, text, Rates(0.0, 0.0))
    following = score_all(dynamic, text, Rates(0.01, 0.001))
    assert following.mean < 0.8 * static.mean
    assert score_all(dynamic, text, Rates(0.0, 0.0)) == static, "from the trained weights again"


def test_a_text_on_which_the_weights_diverge_has_an_infinite_loss(dynamic):
    text = windows_of(6)
    assert score_all(dynamic, text, Rates(1e38, 0.0)).nats == math.inf
    best, *_ = choose_rates(dynamic, text, [0.0, 1e38], [0.0])
    assert best.rates == Rates(0.0, 0.0)


def test_characters_that_do_not_count_teach_nothing(dynamic):
    padded = np.full([1, WINDOW], PADDING, np.int32)
    dynamic.reset()
    before = dynamic.saved()
    assert dynamic.score(padded, Rates(0.01, 0.0)) == (0.0, 0)
    for name, value in dynamic.saved().items():
        if name.startswith("weight"):
            np.testing.assert_array_equal(value, before[name])


def test_an_evaluation_continues_where_it_was_saved(dynamic):
    text, rates = windows_of(8), Rates(0.01, 0.01)
    dynamic.reset()
    whole = [dynamic.score(ids, rates) for ids in text]
    dynamic.reset()
    for ids in text[:3]:
        dynamic.score(ids, rates)
    saved = dynamic.saved()
    score_all(dynamic, text[::-1], rates)
    dynamic.restore(saved)
    assert [dynamic.score(ids, rates) for ids in text[3:]] == whole[3:]


def test_the_best_rates_come_first_and_worse_ones_end_the_search(dynamic):
    text = windows_of(30, repeated=2 * WINDOW + 3)
    learning_rates, decays = [1e-4, 1e-3, 1e-2, 10.0, 20.0], [0.0, 0.9, 0.95]
    trials = choose_rates(dynamic, text, learning_rates, decays)
    tried = {trial.rates: trial.losses.nats for trial in trials}
    assert Rates(20.0, 0.0) not in tried and not tried[Rates(10.0, 0.0)] < tried[Rates(1e-2, 0.0)]
    assert trials[0].rates == Rates(1e-2, 0.0)
    assert Rates(1e-2, 0.9) in tried and Rates(1e-2, 0.95) not in tried
    assert trials[0].losses == score_all(dynamic, text, trials[0].rates)
