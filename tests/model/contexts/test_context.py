"""The interface of contexts, with two of the literature, of which the second is defined here.

A latent vector that is given from outside enters the initial state and every step (Bowman et al.,
arXiv 1511.06349); the hidden vector at the end of the sentence before enters every step and the
softmax (Ji et al., arXiv 1511.03962).
"""

import numpy as np
import pytest
import tensorflow as tf
from numpy_cells import lstm
from numpy_contexts import weights_of
from seeds import generator

from model.contexts.context import Context, ContextReading, whole_numbers
from model.contexts.latent import LatentContext
from model.contexts.registry import CONTEXTS
from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState
from model.language_model.frozen import freeze

SIZE, END, UNITS = 4, 3, 5


class PenalizedLatent(LatentContext):
    """The latent vector of the registry, with its square as a loss of its own."""

    def read(self, weights, ids, state, keep=None, training=False):
        if training:
            self.add_loss(tf.reduce_sum(state**2))
        return super().read(weights, ids, state, keep, training)


class SentenceBefore(Context):
    """The hidden vector at the top when the sentence before had been read."""

    enters_input = observes_core = True

    def build(self, _=None):
        self.state_width = self.net.units
        shape = (self.net.units, self.net.input_width)
        self.input_kernel = self.add_weight(name="input_kernel", shape=shape)
        shape = (self.net.units, self.net.vocabulary_size)
        self.logit_kernel = self.add_weight(name="logit_kernel", shape=shape)
        self.built = True

    def read(self, weights, ids, state, keep=None, training=False):
        return ContextReading(
            state, inputs=(state @ weights["input_kernel"])[None], outputs=state[None]
        )

    def change_logits(self, weights, outputs, hidden, logits, dtype):
        return logits + outputs @ weights["logit_kernel"]

    def observe(self, weights, ids, state, hidden):
        return tf.where((ids == END)[:, None], hidden, state)


@pytest.fixture
def model_of(monkeypatch):
    monkeypatch.setitem(CONTEXTS, "latent", lambda: PenalizedLatent)
    monkeypatch.setitem(CONTEXTS, "sentence", lambda: SentenceBefore)

    def make(*contexts):
        config = ModelConfig(architecture="stacked", layers=1, units=UNITS, contexts=contexts)
        return CharacterModel(config, SIZE)

    return make


def numpy_logits(model, ids, latent):
    """The logits of one text, character after character."""
    w = weights_of(model)
    hidden = np.tanh(latent @ w["latent/hidden_kernel"])[None]
    memory, before, last, rows = hidden, np.zeros((1, UNITS)), SIZE, []
    for character in ids:
        x = w["embedding"][last] + latent @ w["latent/input_kernel"]
        x = x[None] + before @ w["sentence/input_kernel"]
        z = np.concatenate([x, hidden], axis=1) @ w["stacked/kernel"][0] + w["stacked/bias"][0]
        hidden, memory = lstm("lstm", z, memory, ())
        logits = (
            hidden @ w["output_kernel"] + w["output_bias"] + before @ w["sentence/logit_kernel"]
        )
        rows.append(logits[0])
        before = hidden if last == END else before
        last = character
    return np.array(rows)


def test_contexts_from_outside_and_from_the_core_enter_everywhere(model_of):
    model = model_of("latent:3", "sentence")
    ids = generator().integers(0, SIZE, (2, 17)).astype(np.int32)
    latent = generator().normal(size=(2, 3)).astype(np.float32)
    start = model.initial_state(2, given={"latent": tf.constant(latent)})
    logits, after = model(ids, start)
    for row in range(2):
        expected = numpy_logits(model, ids[row], latent[row].astype(float))
        np.testing.assert_allclose(logits[:, row], expected, atol=1e-5)

    # In pieces, one of them of a text that has ended, and frozen, at once and step by step.
    keep = tf.constant([[True] * 5, [False] * 5])
    _, state = model(ids[:, :5], start, keep=keep)
    second, _ = model(ids[:1, 5:], tf.nest.map_structure(lambda part: first_row(part, 0), state))
    np.testing.assert_allclose(second[:, 0], logits[5:, 0], atol=1e-5)
    for kept, one in zip(*map(tf.nest.flatten, (state, start)), strict=True):
        np.testing.assert_array_equal(first_row(kept, 1), first_row(one, 1))
    frozen = freeze(model)
    start = frozen.initial_state(2, given={"latent": tf.constant(latent)})
    np.testing.assert_allclose(frozen(tf.constant(ids), start)[0], logits, atol=1e-5)
    state, step = start, tf.function(frozen.decode_step())
    for at in range(17):
        scores, output = step(state)
        np.testing.assert_allclose(scores, logits[at], atol=1e-5)
        state = CharacterState.after(tf.constant(ids[:, at]), output)
    for one, two in zip(tf.nest.flatten(state), tf.nest.flatten(after), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    written = sampling.generate(
        frozen,
        tf.zeros([2, 0], tf.int32),
        length=tf.constant([6, 3]),
        temperature=tf.ones([2]),
        top_k=tf.zeros([2], tf.int32),
        top_p=tf.ones([2]),
        seed=tf.constant([1, 2], tf.int64),
        state=sampling.initial_state(frozen, 2)._replace(characters=start),
    )
    written_ids = tf.maximum(written.ids, 0)
    scored = tf.nn.log_softmax(model(written_ids, model.initial_state(2, {"latent": latent}))[0])
    expected = tf.gather(scored, tf.transpose(written_ids), batch_dims=2)
    np.testing.assert_allclose(written.log_probabilities[0], expected[:, 0], atol=1e-5)


def first_row(part, row):
    """The text at a row of a part of a state, as a batch of one."""
    return part[:, row : row + 1] if len(part.shape) == 3 else part[row : row + 1]


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_reach_what_was_given_and_all_weights(model_of, jit_compile):
    model = model_of("latent:3", "sentence")
    ids = tf.constant(generator().integers(0, SIZE, (2, 9)).astype(np.int32))
    latent = tf.Variable(generator().normal(size=(2, 3)).astype(np.float32))
    weights = [latent, *(one.value for one in model.trainable_variables)]

    def loss():
        start = model.initial_state(2, given={"latent": tf.convert_to_tensor(latent)})
        return tf.reduce_sum(model(ids, start, training=True)[0] ** 2)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            value = loss()
        return list(map(tf.convert_to_tensor, tape.gradient(value, weights)))

    for weight, gradient in zip(weights, gradients(), strict=True):
        direction = generator().normal(size=weight.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        value, step = weight.numpy(), 1e-2
        sides = []
        for sign in (1, -1):
            weight.assign(value + sign * step * direction)
            sides.append(float(loss()))
        weight.assign(value)
        difference = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=0.02, atol=0.02)


def test_a_context_may_add_to_the_loss(model_of):
    model = model_of("latent:3")
    ids = np.zeros((2, 4), np.int32)
    latent = tf.constant(generator().normal(size=(2, 3)).astype(np.float32))
    start = model.initial_state(2, given={"latent": latent})
    model(ids, start, training=True)
    np.testing.assert_allclose(model.losses, [np.sum(latent.numpy() ** 2)], rtol=1e-6)
    model(ids, start)
    assert not model.losses


def test_numbers_of_a_state_that_is_made_up_are_indices_nevertheless():
    column = tf.constant([-1.0, 2.4, 7.0, 1e30, -1e30])
    assert whole_numbers(column, 8).numpy().tolist() == [0, 2, 7, 7, 0]
