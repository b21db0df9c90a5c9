"""DynamicEvaluator: its artifact, resumption, and mistakes in its options."""

import dataclasses
import json
import math
import pathlib

import pytest
from commands import run_module
from conftest import text_of
from seeds import generator

from model.errors import InputError
from model.language_model.config import ModelConfig
from pipeline.preset_files import load_preset
from pipeline.settings import DynamicEvaluationConfig, TrainingConfig
from pipeline.stages import dynamic_evaluator, trainer
from pipeline.training.dynamic_evaluation import DynamicModel, Losses

SEARCHED = DynamicEvaluationConfig(
    dynamic_window=25, dynamic_characters=1_510, dynamic_search_characters=500
)
GIVEN = dataclasses.replace(SEARCHED, dynamic_learning_rate=1e-3, dynamic_decay=1e-2)
WINDOWS = 61


@pytest.fixture(scope="module")
def trained(store, examples, schema):
    settings = load_preset("demo")._replace(
        model=ModelConfig(layers=1, units=16),
        training=TrainingConfig(batch_size=8, window=20, steps=60, sample_length=0),
    )
    with store.writing():
        return trainer.run(store, examples, schema, settings)


@pytest.mark.slow
def test_rates_are_chosen_and_the_eval_split_is_scored(store, examples, trained):
    with store.writing():
        artifact = dynamic_evaluator.run(store, trained, examples, SEARCHED)
    content = json.loads(pathlib.Path(artifact.file("dynamic.json")).read_text())
    assert content["characters"] == 1_510
    assert 0 < content["nats_per_character"] < math.log(30)
    assert content["bits_per_character"] == content["nats_per_character"] / math.log(2)
    best, *others = json.loads(pathlib.Path(artifact.file("trials.json")).read_text())
    assert others and all(best["nats_per_character"] <= one["nats_per_character"] for one in others)
    assert (best["learning_rate"], best["decay"]) == (content["learning_rate"], content["decay"])
    assert content["nats_per_character"] <= content["static_nats_per_character"] + 0.05
    assert set(artifact.manifest.checksums) == {"dynamic.json", "static.json", "trials.json"}


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_an_evaluation_that_was_interrupted_has_the_same_result(
    store, private_store, examples, trained, monkeypatch, capsys, damaged
):
    with store.writing():
        whole = dynamic_evaluator.run(store, trained, examples, GIVEN)
    score, scored = DynamicModel.score, []
    stop_at = int(generator().integers(2, WINDOWS))

    def interrupted(self, ids, rates):
        scored.append(ids)
        if len(scored) == stop_at:
            raise KeyboardInterrupt
        return score(self, ids, rates)

    monkeypatch.setattr(dynamic_evaluator, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(DynamicModel, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dynamic_evaluator.run(private_store, trained, examples, GIVEN)
    if damaged:
        (progress,) = pathlib.Path(private_store.root).rglob("progress.npz")
        progress.write_bytes(progress.read_bytes()[:-100])
    artifact = dynamic_evaluator.run(private_store, trained, examples, GIVEN)
    printed = "".join(capsys.readouterr()).replace("\n", "")
    assert ("is damaged" in printed) == damaged
    again = stop_at - 1 if damaged else 0
    assert len(scored) == WINDOWS + 1 + again, "no window but these is scored twice"
    assert artifact.manifest.properties == whole.manifest.properties
    assert artifact.manifest.properties["characters"] == 1_510


@pytest.mark.slow
def test_weights_that_diverge_are_no_result(private_store, examples, trained, monkeypatch):
    monkeypatch.setattr(DynamicModel, "score", lambda *_: Losses(math.nan, 25))
    with pytest.raises(InputError, match=r"diverge within 25 characters; use a .* below 0\.001"):
        dynamic_evaluator.run(private_store, trained, examples, GIVEN)
    assert not private_store.all("DynamicEvaluator")


@pytest.mark.slow
def test_the_command_finds_its_inputs(store, trained):
    options = ["--dynamic_window", 50, "--dynamic_characters", 500]
    rates = ["--dynamic_learning_rate", 0.001, "--dynamic_decay", 0.01]
    finished = run_module("pipeline", "dynamic_evaluator", "--root", store.root, *options, *rates)
    assert finished.returncode == 0, finished.stderr
    assert "bits per character with weights that follow the text" in finished.stdout


@pytest.mark.slow
def test_another_corpus_is_scored_as_the_eval_split_is(
    store, private_store, examples, trained, tmp_path
):
    other = tmp_path / "other.txt"
    other.write_bytes(text_of(examples, "eval"))
    config = dataclasses.replace(GIVEN, dynamic_characters=0)
    own = dynamic_evaluator.run(private_store, trained, examples, config)
    with store.writing():
        newest = store.latest("ExampleGen").path
        found = dynamic_evaluator.run_on_corpus(store, trained, examples, config, str(other))
        assert store.latest("ExampleGen").path == newest, "later stages do not read it"
    assert found.manifest.properties == own.manifest.properties
    assert own.manifest.properties["characters"] == len(text_of(examples, "eval"))


@pytest.mark.slow
def test_the_command_scores_another_corpus(store, trained, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("the grid reads one letter after another\n" * 20)
    rates = ["--dynamic_learning_rate", 0.001, "--dynamic_decay", 0.01]
    command = ["dynamic_evaluator", "--root", store.root, "--corpus"]
    finished = run_module("pipeline", *command, other, *rates)
    assert finished.returncode == 0, finished.stderr
    assert "over 800 characters" in finished.stdout
    finished = run_module("pipeline", *command, tmp_path / "none.txt", *rates)
    assert finished.returncode == 2 and "none.txt" in finished.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dynamic_window": 0}, "dynamic_window is 0; it must be at least 1"),
        ({"dynamic_decay": 0.1}, "no dynamic_learning_rate is given; give both, or neither"),
        ({"dynamic_learning_rate": -1.0}, "dynamic_learning_rate is -1.0; it must be at least 0"),
    ],
)
def test_mistakes_are_named(options, problem):
    with pytest.raises(InputError, match=problem):
        DynamicEvaluationConfig(**options)


@pytest.mark.slow
def test_a_text_shorter_than_two_windows_is_refused(private_store, examples, trained):
    with pytest.raises(InputError, match=r"the training split has .* use a smaller dynamic_window"):
        dynamic_evaluator.run(
            private_store, trained, examples, DynamicEvaluationConfig(dynamic_window=30_000)
        )
