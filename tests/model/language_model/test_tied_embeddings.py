"""Models whose output kernel is their embedding, against models with weights for both."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.frozen import freeze
from model.language_model.losses import character_losses

VOCABULARY = 5
CONFIGS = [
    ModelConfig(layers=2, units=8, tied_embeddings=True),
    ModelConfig(layers=1, units=8, input_memory=False, init_scale=0.2, tied_embeddings=True),
    ModelConfig("stacked", layers=2, units=8, tied_embeddings=True),
    ModelConfig("rhn", layers=2, units=8, tied_embeddings=True),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.architecture)
def pair(request):
    """A model with tied embeddings, and one that has the same numbers in weights of their own."""
    tied = CharacterModel(request.param, VOCABULARY)
    tied.output_bias.assign(generator().normal(size=VOCABULARY))
    plain = CharacterModel(dataclasses.replace(request.param, tied_embeddings=False), VOCABULARY)
    scale = (request.param.init_scale or 1.0) / (request.param.init_scale or 8**-0.5)
    plain.core.set_weights(tied.core.get_weights())
    plain.embedding.assign(tied.embedding * scale)
    plain.output_kernel.assign(tied.embedding.numpy()[:VOCABULARY, :8].T)
    plain.output_bias.assign(tied.output_bias)
    return tied, plain, scale


def ids_of(batch, steps):
    return tf.constant(generator().integers(0, VOCABULARY, (batch, steps)), tf.int32)


def test_the_kernel_is_the_embedding_of_characters(pair):
    tied, plain, scale = pair
    ids = ids_of(2, 7)
    gradients = []
    for model in (tied, plain):
        with tf.GradientTape() as tape:
            logits, _ = model(ids, model.initial_state(2), training=True)
            loss = tf.reduce_sum(character_losses(logits, ids)[0])
        found = tape.gradient(loss, model.trainable_variables)
        names = [variable.name for variable in model.trainable_variables]
        gradients.append((logits, dict(zip(names, map(tf.convert_to_tensor, found), strict=True))))
    (logits, by_tied), (expected, by_plain) = gradients
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert "output_kernel" not in by_tied
    total = scale * by_plain["embedding"].numpy()
    total[:VOCABULARY, :8] += by_plain["output_kernel"].numpy().T
    np.testing.assert_allclose(by_tied["embedding"], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_frozen_model_scores_and_samples_as_if_it_had_both(pair, precision):
    frozen = [freeze(model, precision) for model in pair[:2]]
    ids = ids_of(2, 6)
    (bits, scores), (expected_bits, expected) = (sampling.score(one, ids) for one in frozen)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bits, expected_bits, rtol=1e-5)
    texts = [
        sampling.generate(
            one,
            ids[:1],
            length=tf.constant([9]),
            temperature=tf.constant([0.0]),
            top_k=tf.constant([0]),
            top_p=tf.constant([1.0]),
            seed=tf.constant([1], tf.int64),
        ).ids
        for one in frozen
    ]
    np.testing.assert_array_equal(*texts)


def test_inputs_and_logits_begin_as_large_as_in_other_models():
    tied = CharacterModel(ModelConfig(layers=1, units=400, tied_embeddings=True), 300)
    plain = CharacterModel(ModelConfig(layers=1, units=400), 300)
    for ours, theirs in zip(tied.outer_weights()[:2], plain.outer_weights()[:2], strict=True):
        np.testing.assert_allclose(np.std(ours), np.std(theirs), rtol=0.02)
    assert tied.count_params() == plain.count_params() - 400 * 300


def test_a_checkpoint_holds_the_kernel_once(tmp_path):
    model = CharacterModel(CONFIGS[0], VOCABULARY)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    other = CharacterModel(CONFIGS[0], VOCABULARY)
    tf.train.Checkpoint(model=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.outer_weights().output_kernel, model.outer_weights()[1])
