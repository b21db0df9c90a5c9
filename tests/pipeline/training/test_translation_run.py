"""The training of a translation: resumed to the same weights, and the same on two replicas."""

import numpy as np
import pytest
import tensorflow as tf
from parallel_texts import pairs, tsv
from seeds import generator

from pipeline.corpora import corpus
from pipeline.data import pair_statistics
from pipeline.data.pair_batches import Vocabularies
from pipeline.preset_files import load_preset
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, pair_statistics_gen, trainer, word_schema_gen
from pipeline.store.artifacts import Store
from pipeline.training.shuffled_checkpoints import ShuffledCheckpoints
from pipeline.training.translation_run import TranslationRun

pytestmark = pytest.mark.slow  # each training is traced anew


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "pairs.tsv").write_text(tsv(pairs(generator(), 200)))
    store = Store(str(folder / "root"))
    with store.writing():
        examples = example_gen.run(
            store,
            corpus.resolve(str(folder / "pairs.tsv")),
            DataConfig(train_fraction=0.8),
            cut_between="line",
        )
        statistics = pair_statistics_gen.run(store, examples)
        schema = word_schema_gen.run(store, statistics)
    vocabularies = Vocabularies(*word_schema_gen.read_vocabularies(schema.path))
    return examples, vocabularies, pair_statistics.read(statistics.path, "train").lengths


def run_of(folder, inputs, devices=(), **changes):
    settings = load_preset(
        "translation",
        {"units": 6, "batch_size": 16, "steps": 24, "validate_every": 8, "seed": 3, **changes},
    )
    return TranslationRun(
        str(folder), str(folder), *inputs, settings, trainer.make_strategy(devices)
    )


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_a_killed_training_ends_with_the_same_weights(inputs, tmp_path, monkeypatch, average_decay):
    changes = {"average_decay": average_decay, "dropout": 0.3}
    straight = run_of(tmp_path / "straight", inputs, **changes)
    straight.run()
    killed = run_of(tmp_path / "killed", inputs, **changes)
    save = ShuffledCheckpoints.save

    def save_and_die(self, step, loss):
        save(self, step, loss)
        if step == 16:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(ShuffledCheckpoints, "save", save_and_die)
        killed.run()
    resumed = run_of(tmp_path / "killed", inputs, **changes)
    outcome = resumed.run()
    assert outcome.properties.steps == 24
    for expected, found in zip(
        straight.model.get_weights(), resumed.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_two_replicas_take_the_steps_of_one(inputs, tmp_path):
    """Of batches that do not divide among them, too."""
    devices = [f"cpu:{number}" for number in range(2)]
    runs = [
        run_of(tmp_path / str(len(on)), inputs, on, dropout=0.0, steps=8, learning_rate=0.001)
        for on in (devices[:1], devices)
    ]
    for run in runs:
        for _, batch in run._batches(0):
            run._train(*map(tf.constant, batch))
    one, two = (run.model.get_weights() for run in runs)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_damaged_checkpoint_is_passed_over(inputs, tmp_path, capsys):
    run_of(tmp_path, inputs, steps=16, validate_every=4).run()
    lists = {path.stem for path in tmp_path.glob("checkpoints/latest/*.checksums")}
    assert lists == {path.stem for path in tmp_path.glob("checkpoints/latest/*.index")}
    (newest,) = (tmp_path / "checkpoints" / "latest").glob("ckpt-16.data*")
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    again = run_of(tmp_path, inputs, steps=16)
    assert again._checkpoints.restore() == 12
    assert "falling back to the checkpoint before it" in "".join(capsys.readouterr())
