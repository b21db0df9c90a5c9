"""Norms of the gradients by source words, against finite differences of the embeddings."""

import numpy as np
import tensorflow as tf
from grids import error
from seeds import generator

from model.translation.alignment import source_gradients
from model.translation.reencoder import Reencoder


def test_norms_are_those_of_finite_differences():
    model = Reencoder(7, 6, 3, dtype="float64", execution="reference")
    model.set_weights([generator().normal(size=one.shape) / 2 for one in model.weights])
    source, target = np.array([5, 3, 3]), np.array([4, 2])  # a word twice, which are two places
    embedded = model.source_embedding(source[None]).numpy()

    def log_p(embedded):
        logits = model.logits_of(tf.constant(embedded), tf.fill([1, 3], True), np.array([[1, 4]]))
        return tf.gather(tf.nn.log_softmax(logits)[0], target, axis=1, batch_dims=1).numpy()

    step = 1e-6
    slopes = np.zeros([2, 3, 3])
    for place in range(3):
        for unit in range(3):
            moved = np.zeros_like(embedded)
            moved[0, place, unit] = step
            slopes[:, place, unit] = (log_p(embedded + moved) - log_p(embedded - moved)) / 2 / step
    expected = np.linalg.norm(slopes, axis=-1)
    assert error(source_gradients(model, source, target), expected) < 1e-6
