"""Grid LSTM: LSTM cells along depth as well as along time, for TensorFlow 2 and Keras.

Installed, this package is called `grid_lstm`:

    from grid_lstm import GridLSTM, GridLSTMND

The names below are imported when they are first used, so that importing the package is cheap.
"""

import importlib
import os
import sys
from typing import Any

# TensorFlow asks this when it is imported, and by itself leaves products to oneDNN only on
# processors with VNNI; nets of 96 units train 1.4 times as fast with it on others, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "1.0.0"

_EXPORTS = {
    "GridLSTM": "layers",
    "GridLSTMCell": "layers",
    "GridLSTMND": "layers",
    "GridLSTMSides": "layers",
    "RecurrentHighway": "layers",
    "StackedDense": "layers",
    "StackedLSTM": "layers",
    "InputError": "errors",
    "CharacterModel": "language_model.character_model",
    "FrozenCharacterModel": "language_model.frozen",
    "ModelConfig": "language_model.config",
    "freeze": "language_model.frozen",
    "Reencoder": "translation.reencoder",
    "CharacterWordEmbedding": "words.character_embedding",
    "SentenceModel": "sentences.sentence_model",
    "SentenceModelConfig": "sentences.config",
    "WordModel": "words.word_model",
    "WordModelConfig": "words.config",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Imports a public name from the module that defines it."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)


_SAVED = (
    "layers",
    "language_model.character_model",
    "sentences.sentence_model",
    "translation.reencoder",
    "words.character_embedding",
    "words.word_model",
)
"""Modules of all classes that Keras may find in saved models."""


def _register_classes() -> None:
    """Lets Keras find the classes in saved models, if Keras is there to look for them."""
    keras: Any = sys.modules.get("keras")
    if hasattr(keras, "backend") and keras.backend.backend() == "tensorflow":
        for module in _SAVED:
            importlib.import_module(f".{module}", __name__)


_register_classes()
