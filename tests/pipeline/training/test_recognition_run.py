"""The training of a recognizer: resumed to the same weights, and the same on two replicas."""

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from spoken_tones import RATE, write_corpus

from model.layers.seeded import seeds_of
from pipeline.corpora.corpus import resolve_mixture
from pipeline.corpora.discovery import Rules
from pipeline.data import recording_statistics
from pipeline.preset_files import load_preset
from pipeline.stages import (
    label_schema_gen,
    recording_example_gen,
    recording_statistics_gen,
    trainer,
)
from pipeline.store.artifacts import Store
from pipeline.training.recognition_run import RecognitionRun
from pipeline.training.shuffled_checkpoints import ShuffledCheckpoints

pytestmark = pytest.mark.slow  # each training is traced anew


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_corpus(folder / "tones", generator(), 50)
    store = Store(str(folder / "root"))
    settings = load_preset("recognition", {"sample_rate": RATE})
    mixture = resolve_mixture([str(folder / "tones")], rules=Rules(allow_binary=True))
    with store.writing():
        examples = recording_example_gen.run(store, mixture, settings.recognition, settings.data)
        statistics = recording_statistics_gen.run(store, examples, settings.recognition)
        schema = label_schema_gen.run(store, statistics)
    labels = label_schema_gen.read_labels(schema.path)
    return examples, labels, recording_statistics.read(statistics.path, "train")


def run_of(folder, inputs, devices=(), **changes):
    options = {
        "units": 6,
        "sample_rate": RATE,
        "batch_size": 7,
        "steps": 12,
        "validate_every": 4,
        "seed": 3,
        "search_width": 0,
        **changes,
    }
    settings = load_preset("recognition", options)
    return RecognitionRun(
        str(folder), str(folder), *inputs, settings, trainer.make_strategy(devices)
    )


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_ends_with_the_same_weights(inputs, tmp_path, monkeypatch):
    straight = run_of(tmp_path / "straight", inputs)
    straight.run()
    killed = run_of(tmp_path / "killed", inputs)
    save = ShuffledCheckpoints.save

    def save_and_die(self, step, loss):
        save(self, step, loss)
        if step == 8:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(ShuffledCheckpoints, "save", save_and_die)
        killed.run()
    resumed = run_of(tmp_path / "killed", inputs)
    assert resumed.run().properties.steps == 12
    for expected, found in zip(
        straight.model.get_weights(), resumed.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_two_replicas_take_the_steps_of_one(inputs, tmp_path):
    """Of batches that do not divide among them, too."""
    devices = [f"cpu:{number}" for number in range(2)]
    runs = [
        run_of(tmp_path / str(len(on)), inputs, on, dropout=0.0, noise=0.0, steps=5)
        for on in (devices[:1], devices)
    ]
    for run in runs:
        for _, batch in run._batches(0):
            run._train(*map(tf.constant, batch))
    one, two = (run.model.get_weights() for run in runs)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_replicas_have_noise_of_their_own(inputs, tmp_path):
    run = run_of(tmp_path, inputs, ["cpu:0", "cpu:1"])
    seeds = seeds_of(run.model)
    run._spread_seeds()
    assert seeds
    for seed in seeds:
        first, second = run._strategy.experimental_local_results(seed.value)
        assert first.numpy().tolist() != second.numpy().tolist()


@pytest.mark.parametrize("net", ["time_depth_grid", "time_frequency_grid", "stacked_lstm"])
def test_every_net_trains_and_is_exported(inputs, tmp_path, net):
    run = run_of(tmp_path, inputs, net=net, steps=2, validate_every=2)
    assert run.run().properties.steps == 2
    signatures = tf.saved_model.load(str(tmp_path / "Format-Serving")).signatures
    assert ("recognize_stream" in signatures) == (net != "time_frequency_grid")


def test_tensorboard_shows_what_is_recognized(inputs, tmp_path):
    run = run_of(tmp_path, inputs, net="stacked_lstm", layers=1)
    run.run()
    (path,) = (tmp_path / "logs" / "validation").glob("events*")
    kinds = {
        value.tag: value.metadata.plugin_data.plugin_name
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert kinds["loss/nats_per_character"] == "scalars"
    assert kinds["spectrogram/0"] == "images" and kinds["recording/0"] == "audio"
    assert kinds["recognized"] == "text"
