"""Sentences from latent vectors: their ends, lines between two, and what follows a beginning."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_sentences import END, LATENT, SIZE, make_model, normal, random_sentences

from model.sentences import decoding
from model.text.vocabulary import PADDING


def greedily(model, latent, prompt, length):
    """The likeliest token after the other, by the predictions of whole sentences."""
    ids = [int(one) for one in prompt]
    while len(ids) < len(prompt) + length and (len(ids) == len(prompt) or ids[-1] != END):
        padded = tf.constant([[*ids, 0]], tf.int32)
        logits = model(padded, None if latent is None else latent[None])
        ids.append(int(np.argmax(logits[-1, 0])))
    return ids[len(prompt) :]


def of_row(row):
    return [int(one) for one in row if one != PADDING]


@pytest.mark.parametrize("decoder", ["stacked", "grid"])
def test_the_likeliest_sentence_is_that_of_the_predictions(decoder):
    model, latent = make_model("stacked", decoder), normal(3, LATENT)
    lengths = [8, 2, 5]
    written = decoding.decode(
        model,
        tf.constant(latent),
        END,
        tf.constant(lengths),
        tf.zeros([3]),
        tf.zeros([3], tf.int64),
    )
    for row, vector, length in zip(written.numpy(), latent, lengths, strict=True):
        assert of_row(row) == greedily(model, vector, [], length)


def test_a_seed_draws_the_same_sentence_in_any_batch():
    model, latent = make_model(scale=0.1), normal(2, LATENT)

    def draw(rows, seeds):
        count = len(rows)
        return decoding.decode(
            model,
            tf.constant(latent[rows]),
            END,
            tf.fill([count], 6),
            tf.ones([count]),
            tf.constant(seeds, tf.int64),
        ).numpy()

    both = draw([0, 1], [11, 12])
    assert of_row(draw([1], [12])[0]) == of_row(both[1])
    assert {tuple(of_row(draw([0], [seed])[0])) for seed in range(8)} != {tuple(of_row(both[0]))}
    assert np.all(both < SIZE)


def test_a_line_runs_from_one_sentence_to_the_other():
    model, first, second = make_model(), random_sentences(), random_sentences((2, 2, 6))
    line = decoding.interpolate(model, tf.constant(first), tf.constant(second), 5).numpy()
    begin, end = (model.encode(tf.constant(ids)).mean.numpy() for ids in (first, second))
    for at in range(5):
        np.testing.assert_allclose(line[:, at], begin + at / 4 * (end - begin), atol=1e-6)


@pytest.mark.parametrize("encoder", ["stacked", None])
def test_an_imputed_end_is_the_likeliest_for_its_own_sentence(encoder):
    model = make_model(encoder)
    prefix = np.array([[1, 4, 2], [3, PADDING, PADDING]], np.int32)
    found = decoding.impute(model, tf.constant(prefix), END, tf.constant([6, 4]), iterations=2)
    for row, prompt, length in zip(found.numpy(), prefix, (6, 4), strict=True):
        known, latent, ids = of_row(prompt), None, []
        for _ in range(2 if encoder else 1):
            if encoder:
                latent = model.encode(tf.constant([known + ids])).mean[0]
            ids = greedily(model, latent, known, length)
        assert of_row(row) == ids
