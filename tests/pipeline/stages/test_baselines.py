"""The stage Baselines, by itself, on a corpus and beside a model."""

import json

import pytest
from commands import run_module
from conftest import words

from pipeline.preset_files import load_preset
from pipeline.reports import report
from pipeline.stages import baselines, graph
from pipeline.stages.evaluator import Properties as EvaluatorProperties
from pipeline.store.artifacts import Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

NAMES = {"n-gram", "PPMd", "xz", "zstd", "order-1 entropy", "order-0 entropy"}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(words(31, 40_000))
    return path


def test_one_command_measures_a_corpus(text, tmp_path):
    given = "--corpus", text, "--train_fraction", "0.9"
    command = "baselines", "--root", tmp_path / "root", *given
    finished = run_module("pipeline", *command)
    assert finished.returncode == 0, finished.stderr
    stages = [line.split()[0] for line in finished.stdout.splitlines()[:4]]
    assert stages == ["ExampleGen", "StatisticsGen", "SchemaGen", "Baselines"]
    assert "4,000 characters of the eval split" in finished.stdout
    again = run_module("pipeline", *command, "--json")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert {row["name"] for row in found["rows"]} == NAMES
    bits = [row["bits_per_character"] for row in found["rows"]]
    assert bits == sorted(bits) and 0 < bits[0] < bits[-1] < 8
    properties = found["manifest"]["properties"]
    assert (properties["characters"], properties["train_characters"]) == (4_000, 36_000)
    assert len(Store(str(tmp_path / "root")).all(graph.BASELINES)) == 1


@pytest.mark.slow
def test_without_a_corpus_the_newest_examples_are_read(text, tmp_path):
    root = tmp_path / "root"
    for stage in ("example_gen", "statistics_gen", "schema_gen"):
        given = ("--corpus", text) if stage == "example_gen" else ()
        assert run_module("pipeline", stage, "--root", root, *given).returncode == 0
    finished = run_module("pipeline", "baselines", "--root", root, "--baseline_characters", "1000")
    assert finished.returncode == 0, finished.stderr
    assert "after the last 1,000 training characters; of the first 1,000 c" in finished.stdout
    assert "1,000 characters of the eval split, without its last 1,000, which" in finished.stdout
    units = "--character_unit", "unicode"
    refused = run_module("pipeline", "baselines", "--root", root, *units)
    assert (
        refused.returncode == 2 and "--character_unit says how a corpus is read" in refused.stderr
    )
    refused = run_module("pipeline", "baselines", "--root", tmp_path / "none")
    assert refused.returncode == 2 and "run `python -m pipeline" in refused.stderr


@pytest.fixture
def measured(store, examples, schema):
    with store.writing():
        return baselines.run(store, examples, schema)


def evaluate(store, examples, schema, bits):
    """An evaluation of a model on the examples, as the Evaluator reports it."""

    def made(stage, properties, **inputs):
        key = CacheKey.of(stage, "pipeline.stages.context", inputs, {"bits": bits})
        return store.produce(key, lambda _: Outcome(properties, "made by a test"))

    reported = {
        "nats_per_character": bits, "bits_per_character": bits, "accuracy": 0.5,
        "characters": 1, "entropy_order_0_bits": 4.0,
    }  # fmt: skip
    with store.writing():
        model = made(graph.TRAINER, Properties(), examples=examples, schema=schema)
        made(graph.EVALUATOR, EvaluatorProperties(**reported), model=model, examples=examples)
    return model


def test_the_model_of_the_same_text_stands_beside_them(measured, store, examples, schema):
    assert measured.manifest.summary.startswith("bits per character: n-gram ")
    evaluate(store, schema, schema, 0.01)  # of other examples
    evaluate(store, examples, examples, 0.015)  # of other characters
    assert {row["name"] for row in json.loads(report.baselines_json(store))["rows"]} == NAMES
    evaluate(store, examples, schema, 0.02)
    model = evaluate(store, examples, schema, 0.03)
    first, *others = json.loads(report.baselines_json(store))["rows"]
    assert (first["name"], first["bits_per_character"]) == ("model", 0.03)
    assert model.fingerprint in first["method"]
    assert {row["name"] for row in others} == NAMES


def test_a_run_has_the_stage_if_it_is_asked_for():
    stage = graph.find_stage(graph.BASELINES)
    assert stage not in graph.stages_of(load_preset("demo"))
    assert stage in graph.stages_of(load_preset("demo", {"baselines": True}))


def test_limits_that_do_not_fit_are_refused(tmp_path):
    for limit in ("0", "100000001"):
        command = ("baselines", "--root", tmp_path, "--baseline_characters", limit)
        refused = run_module("pipeline", *command)
        assert refused.returncode == 2 and "it must be from 1 to" in refused.stderr
