"""The task `translation` by the command line, from pairs of sentences to a served model."""

import json
import os

import pytest
from commands import run_module
from parallel_texts import pairs, tsv
from seeds import generator

from common.files import read_text
from pipeline.preset_files import load_preset
from pipeline.stages import graph
from pipeline.store.artifacts import Store
from serving.client import translation
from serving.client.client import ServerError
from serving.client.launch import running_server

OPTIONS = (
    "--preset translation --train_fraction 0.9 --units 24 --dropout 0 --batch_size 32 --epochs 12 "
    "--learning_rate 0.02 --validate_every 40 --least_count 1 --beam_width 2 --max_words 8"
)
STAGES = [stage.name for stage in graph.stages_of(load_preset("translation"))]


def command_of(corpus, root):
    return ["run", "--corpus", str(corpus), "--root", str(root), *OPTIONS.split()]


@pytest.fixture(scope="module")
def rows():
    return pairs(generator(), 900)


@pytest.fixture(scope="module")
def finished(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translation")
    (folder / "numbers.tsv").write_text(tsv(rows))
    command = command_of(folder / "numbers.tsv", folder / "root")
    done = run_module("pipeline", *command)
    assert done.returncode == 0, done.stderr
    return folder / "root", done, command


@pytest.mark.slow
def test_a_run_trains_evaluates_and_serves(finished, rows):
    root, done, command = finished
    store = Store(str(root))
    assert [len(store.all(stage)) for stage in STAGES] == [1] * len(STAGES)
    metrics = json.loads(read_text(store.latest("TranslationEvaluator").file("metrics.json")))
    assert metrics["bleu"] > 60 and metrics["perplexity"] < metrics["unigram_perplexity"] / 2
    assert os.listdir(root / "serving" / "numbers") == ["1"]
    assert "numbers, version 1, over gRPC:" in done.stdout
    again = run_module("pipeline", *command)
    assert again.returncode == 0, again.stderr
    lines = [line.split()[:2] for line in again.stdout.splitlines()[: len(STAGES)]]
    assert lines == [[stage, "cached"] for stage in STAGES]


@pytest.mark.slow
def test_the_served_model_translates_and_scores(finished, rows):
    root, *_ = finished
    sentences, references = zip(*rows[-80:], strict=True)
    with running_server("numbers", str(root / "serving" / "numbers")) as client:
        found = translation.translate(client, sentences)
        assert sum(one.text == reference for one, reference in zip(found, references, strict=True))
        scores = translation.score(client, sentences, [one.text for one in found])
        for one, score in zip(found, scores, strict=True):
            words = len(one.text.split()) + 1
            assert one.score == pytest.approx(score / words**0.6, abs=1e-3)
        with pytest.raises(ServerError, match=r"sources\[1\] has no word"):
            translation.translate(client, ["one", " "])


@pytest.mark.slow
def test_single_stages_take_the_newest_inputs(finished):
    root, *_ = finished
    for arguments in (
        ["pair_statistics_gen"],
        ["word_schema_gen", "--preset", "translation", "--least_count", "1"],
        ["infra_validator", "--task", "translation"],
    ):
        done = run_module("pipeline", *arguments, "--root", str(root))
        assert done.returncode == 0, done.stderr
        assert "cached" in done.stdout


@pytest.mark.parametrize(
    "options,message",
    [
        (["--tied", "all"], "tied is 'all', which the task translation does not have"),
        (["--normalize"], "normalize is True, which the task translation does not have"),
        (["--quantize"], "quantize is True, which the task translation does not have"),
        (["--baselines"], "--baselines is for the task language_model; leave it out"),
        (["--dynamic_evaluation"], "--dynamic_evaluation is for the task language_model"),
        (["--max_words", "0"], "max_words is 0; it must be at least 1"),
        (["--translations", "no.such.file"], "there is no corpus no.such.file"),
        (["--task", "language_model", "--translations", "a"], "the task language_model reads none"),
    ],
)
def test_mistakes_are_found_before_the_work(tmp_path, options, message):
    (tmp_path / "pairs.tsv").write_text("one\tun\n" * 100)
    command = command_of(tmp_path / "pairs.tsv", tmp_path / "root")
    done = run_module("pipeline", *command, *options)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "root" / "ExampleGen").exists()


def test_a_dry_run_lists_the_stages_of_the_task(tmp_path):
    (tmp_path / "pairs.tsv").write_text("one\tun\n" * 100)
    command = command_of(tmp_path / "pairs.tsv", tmp_path / "root")
    done = run_module("pipeline", *command, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert [stage for stage in STAGES if stage in done.stdout] == STAGES
    assert "SchemaGen" in STAGES[2] and STAGES[2] == "WordSchemaGen"
