"""Contexts as part of the state of a served model."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import inputs
from seeds import generator

from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.losses import character_losses
from model.text.code_points import TextVocabulary
from serving.generate_inputs import DEFAULTS, GENERATE_INPUTS
from serving.graph.batching import Batching
from serving.graph.export import export
from serving.graph.input_specs import default_tensor

VOCABULARY = TextVocabulary.of("bytes", b"abc \n")
CONFIG = ModelConfig(layers=2, units=8, contexts=("output:6", "word:4"))
STATE_SIZE = 20 + 2 * 2 * 8 + 1 + (2 + 2 * 4)


@pytest.fixture(scope="module")
def model():
    model = CharacterModel(CONFIG, VOCABULARY.size)
    for weight in model.trainable_variables:
        weight.assign(weight + generator().normal(size=weight.shape) * 0.3)
    model.adapt(VOCABULARY, [generator().integers(0, 5, (4, 60)).astype(np.int32)])
    return model


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("served") / "1")
    export(model, VOCABULARY, path, batching=Batching(8))
    return tf.saved_model.load(path)


@pytest.mark.slow
def test_a_text_goes_on_with_its_contexts(served):
    generate = served.signatures["generate"]

    def ask(prompts, length, **others):
        given = {row.name: default_tensor(row) for row in GENERATE_INPUTS if row.name in DEFAULTS}
        given |= {**inputs(prompts, length, temperature=0.8), **others}
        answer = generate(**{name: tf.constant(value) for name, value in given.items()})
        return {name: value.numpy() for name, value in answer.items()}

    prompts = ["ab c", "", "cc\na"]
    whole = ask(prompts, 21)
    first = ask(prompts, 10)
    second = ask([""] * 3, 11, state=first["state"])
    joined = [one + two for one, two in zip(first["text"], second["text"], strict=True)]
    assert joined == whole["text"].tolist()
    assert whole["state"].shape == (3, STATE_SIZE)
    np.testing.assert_allclose(second["state"], whole["state"], rtol=1e-5, atol=1e-5)

    # What was written may as well have been read, all at once.
    texts = [one.encode() + two for one, two in zip(prompts, whole["text"], strict=True)]
    scored = served.signatures["score"](text=tf.constant(texts))["log_probabilities"].numpy()
    for row, prompt in enumerate(prompts):
        of_row = scored[row, len(prompt) : len(prompt) + 21]
        np.testing.assert_allclose(of_row, whole["log_probabilities"][row], atol=1e-4)
    read = ask([text.decode() for text in texts], 0)
    np.testing.assert_allclose(read["state"][:, 20:], whole["state"][:, 20:], rtol=1e-4, atol=1e-4)

    # A state that a client made up fails neither itself nor the texts beside it.
    state = first["state"].copy()
    state[1, 2:] = np.finfo(np.float32).max
    beside = ask([""] * 3, 11, state=state)
    assert beside["text"][0] == second["text"][0] and beside["text"][2] == second["text"][2]


@pytest.mark.slow
def test_streams_are_evaluated_window_by_window(model, served):
    ids = generator().integers(0, 5, (3, 24)).astype(np.int32)
    state, nats = served.initial_state(tf.constant(3)), 0.0
    for begin, end in ((0, 10), (10, 24)):
        sums, state = served.evaluate_window(tf.constant(ids[:, begin:end]), *state)
        nats += float(sums[0])
    logits, after = model(ids, model.initial_state(3))
    losses, _ = character_losses(logits, tf.constant(ids))
    assert nats == pytest.approx(float(tf.reduce_sum(losses)), rel=1e-5)
    for one, two in zip(state, tf.nest.flatten(after), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
