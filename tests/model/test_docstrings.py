"""The examples in the docstrings of the model."""

import doctest
import importlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import model
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig

FOLDER = pathlib.Path(model.__file__).parent
MODULES = [
    ".".join(["model", *path.relative_to(FOLDER).with_suffix("").parts])
    for path in sorted(FOLDER.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
# What users have imported when they come to an example.
NAMES = {
    "keras": keras,
    "np": np,
    "tf": tf,
    "CharacterModel": CharacterModel,
    "ModelConfig": ModelConfig,
}


SLOW = {"model.translation.beam_search"}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in MODULES]
)
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs=NAMES, verbose=False)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", [one for one in model.__all__ if not one.startswith("_")])
def test_public_names_are_importable_and_documented(name):
    assert getattr(model, name).__doc__
