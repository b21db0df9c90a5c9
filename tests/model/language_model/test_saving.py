"""Models that Keras saves as a whole, and loads."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import PROJECT
from seeds import generator

from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of("bytes", b"abc \n")
CONFIGS = [
    ModelConfig(layers=2, units=6, layer_normalization=True, contexts=("ngrams:3", "output:4")),
    ModelConfig("stacked", layers=2, units=6, cells=("lstm_peephole",), contexts=("word:4",)),
    ModelConfig("rhn", layers=3, units=6, tied_embeddings=True),
]


def random_ids():
    return generator().integers(0, 5, (3, 12)).astype(np.int32)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_a_saved_character_model_computes_the_same(tmp_path, config):
    model, ids = CharacterModel(config, 5), random_ids()
    model.adapt(VOCABULARY, [ids])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    expected, _ = model(ids, model.initial_state(3))
    np.testing.assert_array_equal(loaded(ids, loaded.initial_state(3))[0], expected)


@pytest.mark.parametrize("encoder", [None, ModelConfig(layers=1, units=7)], ids=["plain", "vae"])
def test_a_saved_sentence_model_computes_the_same(tmp_path, encoder):
    config = SentenceModelConfig(ModelConfig(layers=1, units=6), encoder, latent=4)
    model, ids = SentenceModel(config, 5), random_ids()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    latent = None if encoder is None else generator().normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(loaded(ids, latent), model(ids, latent))


def test_models_load_in_a_process_that_has_imported_nothing_but_the_package(tmp_path):
    models = {
        "characters": CharacterModel(CONFIGS[2], 5),
        "sentences": SentenceModel(SentenceModelConfig(CONFIGS[2]), 5),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    code = (
        "import sys, keras, model\n"
        "for path in sys.argv[1:]: print(type(keras.saving.load_model(path)).__name__)"
    )
    paths = [str(tmp_path / f"{name}.keras") for name in models]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["CharacterModel", "SentenceModel"], done.stderr
