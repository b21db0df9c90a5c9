"""The masks that a model draws: no two are alike."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.grid import dropout
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.words.config import WordModelConfig
from model.words.word_model import WordModel


@pytest.fixture
def drawn(monkeypatch):
    """The masks that are drawn, whether something is kept, as flat arrays."""
    masks, draw = [], dropout.dropout_mask

    def record(*arguments):
        mask = draw(*arguments)
        masks.append(np.ravel(mask) > 0)
        return mask

    monkeypatch.setattr(dropout, "dropout_mask", record)
    return masks


def assert_none_are_alike(masks):
    for one, two in itertools.combinations(masks, 2):
        shared = min(len(one), len(two))
        assert shared > 30 and np.any(one[:shared] != two[:shared])


@pytest.mark.parametrize("contexts", [(), ("sentence_input",)])
def test_masks_of_a_character_model_differ(drawn, contexts):
    config = ModelConfig(
        layers=2, units=16, dropout=0.5, weight_dropout=0.5, contexts=contexts, tied="none"
    )
    model = CharacterModel(config, 5)
    ids = generator().integers(0, 5, (4, 6)).astype(np.int32)
    seed = tf.constant(generator().integers(0, 1 << 30, 2), tf.int32)
    model(ids, model.initial_state(4), training=True, seed=seed)
    assert len(drawn) >= 4, "of two kernels, between the layers, and before the output"
    assert_none_are_alike(drawn)


def test_masks_of_a_word_model_differ(drawn):
    config = WordModelConfig(ModelConfig(layers=2, units=16, dropout=0.5), inputs="words")
    model = WordModel(config, 9)
    embedded = tf.zeros([4, 6, model.core.input_width])
    model.logits_of(embedded, model.initial_state(4), training=True, seed=tf.constant([1, 2]))
    assert len(drawn) == 2
    assert_none_are_alike(drawn)
