"""Shared by all tests: small corpora, and examples made from them by the real stages."""

import pathlib
import random
import subprocess
import sys

import pytest
import tensorflow as tf

from pipeline import corpus, example_gen, schema_gen, statistics_gen
from pipeline.artifacts import Store

PROJECT = pathlib.Path(__file__).resolve().parent.parent
WORDS = ("the", "grid", "lstm", "reads", "one", "letter", "after", "another", "and", "writes")


# Two logical CPUs stand for two devices; they must be made before the first is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def words(seed, characters):
    """Random words in lines, as many characters as asked for."""
    generator = random.Random(seed)
    text = ""
    while len(text) < characters:
        text += " ".join(generator.choices(WORDS, k=generator.randint(1, 12))) + "\n"
    return text[:characters]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory):
    """A corpus of 40,000 characters."""
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(words(1, 40_000))
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A pipeline root that the tests share for artifacts that nobody changes."""
    return Store(str(tmp_path_factory.mktemp("root")))


@pytest.fixture(scope="session")
def examples(store, corpus_file):
    """The corpus in three shards, 90 to 10."""
    with store.writing():
        return example_gen.run(store, corpus.resolve(str(corpus_file)), 0.9, 3)


@pytest.fixture(scope="session")
def schema(store, examples):
    """The schema of the corpus."""
    with store.writing():
        return schema_gen.run(store, statistics_gen.run(store, examples))


def run_module(*arguments, **options):
    """Runs `python -m ...` as a user would, and returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        **options,
    )


def pytest_collection_modifyitems(items):
    """The longest files go first, so that the workers end together; each file stays in order."""
    longest = ("test_readme.py", "test_pipeline.py", "test_training.py")
    items.sort(key=lambda item: item.path.name not in longest)
