"""Every stage that needs no server, on a filesystem without directories to rename."""

import contextlib

import pytest
import tensorflow as tf
from conftest import words

from pipeline.corpora import corpus
from pipeline.preset_files import load_preset
from pipeline.settings import DataConfig
from pipeline.stages import (
    evaluator,
    example_gen,
    example_validator,
    pusher,
    schema_gen,
    statistics_gen,
    trainer,
)
from pipeline.store import blessing, lineage
from pipeline.store.artifacts import Store

TINY = {
    "units": 8,
    "batch_size": 4,
    "window": 20,
    "steps": 100,
    "warmup_steps": 0,
    "validate_every": 50,
    "validation_characters": 400,
    "sample_length": 5,
}


@pytest.fixture
def remote(monkeypatch):
    """TensorFlow's filesystem in memory stands for an object store.

    Unlike one, it lists what begins like a directory, `assets.extra`, as if it were in `assets`.
    """
    gfile = tf.io.gfile
    walk, rmtree = gfile.walk, gfile.rmtree

    def walk_what_exists(directory):
        for folder, folders, names in walk(directory):
            yield folder, folders, [n for n in names if gfile.exists(f"{folder}/{n}")]

    def remove_what_exists(directory):
        for folder, _, names in walk_what_exists(directory):
            for name in names:
                gfile.remove(f"{folder}/{name}")
        with contextlib.suppress(tf.errors.NotFoundError):
            rmtree(directory)

    monkeypatch.setattr(gfile, "walk", walk_what_exists)
    monkeypatch.setattr(gfile, "rmtree", remove_what_exists)
    tf.io.gfile.makedirs("ram://corpora")
    with tf.io.gfile.GFile("ram://corpora/words.txt", "w") as file:
        file.write(words(9, 30_000))
    yield "ram://"
    for directory in ("corpora", "root", "served"):
        tf.io.gfile.rmtree(f"ram://{directory}")


def run_stages(events):
    store = Store("ram://root", lambda artifact, cached: events.append(cached))
    with store.writing():
        examples = example_gen.run(
            store, corpus.resolve("ram://corpora/*.txt"), DataConfig(train_fraction=0.9, shards=2)
        )
        statistics = statistics_gen.run(store, examples)
        schema = schema_gen.run(store, statistics)
        example_validator.run(store, statistics, schema)
        settings = load_preset("demo", TINY)
        model = trainer.run(store, examples, schema, settings, devices=["cpu:0"])
        evaluation = evaluator.run(store, model, examples, statistics, None, 4)
        assert blessing.objection(evaluation) == ""
        # No server can read this memory; the evaluation takes the place of its blessing.
        pusher.run(store, model, evaluation, evaluation, "ram://served/words")


@pytest.mark.slow
def test_stages_on_an_object_store(remote):
    events = []
    run_stages(events)
    assert events == [False] * 7
    (pushed,) = lineage.pushed_versions("ram://served/words")
    assert pushed.version == 1
    assert not tf.io.gfile.glob("ram://root/.partial/*-*")
    tf.saved_model.load(pushed.path).signatures["score"](text=tf.constant(["the grid"]))
    run_stages(events)
    assert events[7:] == [True] * 7
