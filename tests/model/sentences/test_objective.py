"""The bounds of the autoencoder of sentences, and what its vectors say: against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_sentences import (
    LATENT,
    NumpySentences,
    log_normal,
    make_model,
    normal,
    random_sentences,
    sentence,
)
from seeds import generator

from model.errors import InputError
from model.sentences import diagnostics, objective
from model.sentences.sentence_model import Posterior
from model.text.vocabulary import PADDING


def random_posterior(sentences=40, latent=LATENT):
    return Posterior(normal(sentences, latent), normal(sentences, latent))


def test_divergences_are_those_of_numpy_also_near_the_prior():
    mean, log_variance = random_posterior()
    mean[0], log_variance[0] = 0, 1e-4  # 2.5e-9 nats, which single precision would lose
    found = objective.kl_divergence(Posterior(mean, log_variance))
    wide, variance = mean.astype(float), np.exp(log_variance.astype(float))
    expected = 0.5 * (wide**2 + variance - 1 - np.log(variance))
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-6, atol=1e-6)
    assert np.all(found >= -1e-8)
    diagnosed = diagnostics.diagnose(mean, log_variance, normal(*mean.shape))
    assert diagnosed.divergence == pytest.approx(expected.sum(axis=1).mean(), rel=1e-9)


def test_free_bits_leave_each_component_some_divergence():
    divergence = tf.constant([[0.1, 2.0, 0.0], [0.3, 4.0, 0.0]])
    assert float(objective.with_free_bits(divergence, 0.5)) == pytest.approx(0.5 + 3.0 + 0.5)
    assert float(objective.with_free_bits(divergence, 0.0)) == pytest.approx(0.2 + 3.0)


def test_the_weight_of_the_divergence_is_a_sigmoid_from_0_to_1():
    weights = np.array([objective.annealing_weight(step, 50) for step in range(60)])
    assert weights[0] == pytest.approx(0, abs=1e-6) and np.all(weights[50:] == 1)
    assert weights[25] == pytest.approx(0.5) and np.all(np.diff(weights[:51]) > 0)
    assert np.argmax(np.diff(weights)) in (24, 25)
    assert float(objective.annealing_weight(0, 0)) == 1


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.75])
def test_as_many_tokens_are_seen_as_asked_for(rate):
    seen = objective.seen_tokens(tf.zeros([100, 100]), rate, tf.constant([1, 2]))
    assert np.mean(seen) == pytest.approx(rate, abs=0.03)
    assert rate or not np.any(seen)


def test_all_tokens_are_seen_without_word_dropout():
    assert objective.seen_tokens(tf.zeros([2, 2]), 1.0, tf.constant([1, 2])) is None


@pytest.mark.parametrize("inputless", [False, True])
def test_weights_and_bounds_are_those_of_numpy(inputless):
    model, ids = make_model(), random_sentences()
    reference, noise = NumpySentences(model), normal(4, len(ids), LATENT)
    seen = tf.zeros(ids.shape, tf.bool) if inputless else None
    posterior = model.encode(tf.constant(ids))
    found = tf.stack(
        [objective.log_weights(model, ids, posterior, tf.constant(eps), seen) for eps in noise]
    )
    assert found.dtype == tf.float64
    expected = np.array(
        [
            [
                reference.log_weight(
                    sentence(row), eps[at], np.zeros(len(row), bool) if inputless else None
                )
                for at, row in enumerate(ids)
            ]
            for eps in noise.astype(float)
        ]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    bounds = objective.bounds_of(found)
    np.testing.assert_allclose(bounds.evidence, expected.mean(axis=0), rtol=1e-6)
    direct = np.log(np.exp(expected).mean(axis=0))
    np.testing.assert_allclose(bounds.importance_weighted, direct, rtol=1e-6)
    assert np.all(bounds.importance_weighted >= bounds.evidence)


def test_the_weighted_bound_is_finite_where_no_weight_is():
    weights = tf.constant([[-1e5, -2.0], [-1e5 - 1, -2.0]], tf.float64)
    found = objective.bounds_of(weights).importance_weighted
    expected = [-1e5 + np.log((1 + np.exp(-1)) / 2), -2.0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_with_one_sample_both_bounds_are_the_same():
    model, ids = make_model("grid", "stacked"), tf.constant(random_sentences())
    evidence, weighted = objective.bounds(model, ids, tf.constant([3, 4]), samples=1)
    np.testing.assert_allclose(evidence, weighted, rtol=1e-12)


@pytest.mark.slow
def test_bounds_rise_with_samples_towards_the_likelihood():
    """The likelihood itself is that of the decoder, integrated over a grid of vectors z."""
    model, ids = make_model(), random_sentences((4, 3))
    for part in (model.encoder.kernel, model.encoder.bias):
        part.assign(0.2 * part)  # far from the prior a few samples would have all the weight
    reference = NumpySentences(model)
    axis = np.linspace(-5, 5, 11)
    places = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    likelihood = []
    for row in ids:
        logs = [
            reference.log_likelihood(sentence(row), z) + log_normal(z, np.zeros(3), np.zeros(3))
            for z in places
        ]
        likelihood.append(np.log(np.sum(np.exp(logs))))
    step = tf.function(objective.bounds, autograph=False)
    evidence, weighted = step(model, tf.constant(ids), tf.constant([5, 6]), samples=1000)
    assert np.all(weighted > evidence)
    np.testing.assert_allclose(weighted, likelihood, atol=0.15)
    posterior = model.encode(tf.constant(ids))
    divergence = np.sum(objective.kl_divergence(posterior), axis=1)
    noise = normal(1000, 2, LATENT)
    losses = np.mean(
        [objective.reconstruction_losses(model, ids, posterior.sample(eps)) for eps in noise[:200]],
        axis=0,
    )
    np.testing.assert_allclose(evidence, -losses - divergence, atol=0.3)


def test_padding_changes_no_bound():
    model, ids, seed = make_model(), random_sentences(), tf.constant([3, 4])
    longer = np.pad(ids, [(0, 0), (0, 3)], constant_values=PADDING)
    for one, other in zip(
        objective.bounds(model, tf.constant(ids), seed, samples=3),
        objective.bounds(model, tf.constant(longer), seed, samples=3),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_bound_needs_a_sample():
    model = make_model()
    with pytest.raises(InputError, match="samples is 0"):
        objective.bounds(model, tf.constant(random_sentences()), tf.constant([1, 2]), samples=0)


def test_information_is_that_of_the_densities():
    means, log_variances = (one.astype(float) for one in random_posterior(300))
    noise = generator().normal(size=means.shape)
    total = 0.0
    for mean, log_variance, eps in zip(means, log_variances, noise, strict=True):
        z = mean + np.exp(log_variance / 2) * eps
        densities = [log_normal(z, *other) for other in zip(means, log_variances, strict=True)]
        total += log_normal(z, mean, log_variance) - np.log(np.mean(np.exp(densities)))
    found = diagnostics.mutual_information(means, log_variances, noise)
    assert found == pytest.approx(total / len(means), rel=1e-6)


def test_information_lies_between_none_and_all():
    noise = generator().normal(size=(300, 2))
    nothing = diagnostics.diagnose(np.zeros((300, 2)), np.zeros((300, 2)), noise)
    assert nothing.information == pytest.approx(0, abs=1e-9) and nothing.has_collapsed
    assert nothing.divergence == nothing.active_units == 0
    means = np.stack([np.arange(300.0), np.full(300, 7.0)], axis=1)
    everything = diagnostics.diagnose(means, np.full((300, 2), -20.0), noise)
    assert everything.information == pytest.approx(np.log(300), rel=1e-6)
    assert everything.active_units == 1 and not everything.has_collapsed


def test_units_are_active_from_a_variance_of_a_hundredth_on():
    signs = np.tile([[1.0], [-1.0]], (50, 1))
    assert diagnostics.active_units(signs * [0.101, 0.099, 5.0, 0.0]) == 2
