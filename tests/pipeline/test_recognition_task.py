"""The task `recognition` by the command line, from WAV files to a served recognizer."""

import json
import os

import pytest
from commands import run_module
from seeds import generator
from spoken_tones import RATE, write_corpus

from common.files import read_text
from pipeline.preset_files import load_preset
from pipeline.stages import graph
from pipeline.store.artifacts import Store
from serving.client import recognition
from serving.client.client import ServerError
from serving.client.launch import running_server

OPTIONS = (
    f"--preset recognition --sample_rate {RATE} --step_ms 20 --train_fraction 0.8 --units 24 "
    "--epochs 16 --batch_size 16 --learning_rate 0.02 --noise 0.1 --dropout 0"
)
STAGES = [stage.name for stage in graph.stages_of(load_preset("recognition"))]


def command_of(corpus, root):
    return ["run", "--corpus", str(corpus), "--root", str(root), *OPTIONS.split()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recognition")
    texts = write_corpus(folder / "tones", generator(), 250)
    command = command_of(folder / "tones", folder / "root")
    done = run_module("pipeline", *command)
    assert done.returncode == 0, done.stderr
    return folder, done, command, texts


@pytest.mark.slow
def test_a_run_trains_evaluates_and_serves(finished):
    folder, done, command, _ = finished
    store = Store(str(folder / "root"))
    assert [len(store.all(stage)) for stage in STAGES] == [1] * len(STAGES)
    metrics = json.loads(read_text(store.latest("RecognitionEvaluator").file("metrics.json")))
    assert metrics["character_error_rate"] < 0.2 and metrics["recordings"] > 30
    assert os.listdir(folder / "root" / "serving" / "tones") == ["1"]
    assert "tones, version 1, over gRPC:" in done.stdout
    again = run_module("pipeline", *command)
    assert again.returncode == 0, again.stderr
    lines = [line.split()[:2] for line in again.stdout.splitlines()[: len(STAGES)]]
    assert lines == [[stage, "cached"] for stage in STAGES]


@pytest.mark.slow
def test_the_served_model_recognizes(finished):
    folder, _, _, texts = finished
    names = sorted(texts)[:20]
    audio = [(folder / "tones" / name).read_bytes() for name in names]
    with running_server("tones", str(folder / "root" / "serving" / "tones")) as client:
        assert recognition.audio_format(client) == (RATE, 30.0)
        found = recognition.recognize(client, audio)
        right = sum(one.text == texts[name] for one, name in zip(found, names, strict=True))
        assert right >= 15
        assert all(len(one.times) == len(one.text) for one in found)
        with pytest.raises(ServerError, match="audio row 0 is no WAV file"):
            recognition.recognize(client, [b"nothing that is heard"])


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused_before_the_work(finished):
    _, _, command, _ = finished
    for options, message in (
        (
            ["--max_seconds", "20"],
            "version 1 of tones has the max_seconds 30",
        ),
        (["--sample_rate", "16000"], "version 1 of tones has the sample_rate 8000"),
    ):
        done = run_module("pipeline", *command, *options)
        assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.slow
def test_a_trainer_by_itself_wants_statistics_of_its_spectrograms(finished):
    folder, *_ = finished
    arguments = [*OPTIONS.split(), "--root", str(folder / "root"), "--window_ms", "50"]
    allowed = [one for one in arguments if one not in ("--train_fraction", "0.8")]
    done = run_module("pipeline", "recognition_trainer", *allowed)
    assert done.returncode == 2
    assert "window_ms is 50.0, and the newest statistics are of 25.0" in done.stderr


@pytest.mark.slow
def test_single_stages_take_the_newest_inputs(finished):
    folder, *_ = finished
    recorded = ["--preset", "recognition", "--sample_rate", str(RATE), "--step_ms", "20"]
    for arguments in (
        ["recording_statistics_gen", *recorded],
        ["label_schema_gen"],
        ["recognition_evaluator", *recorded],
        ["recognition_evaluator"],
        ["infra_validator", "--task", "recognition"],
    ):
        done = run_module("pipeline", *arguments, "--root", str(folder / "root"))
        assert done.returncode == 0, done.stderr
        assert "cached" in done.stdout


@pytest.mark.parametrize(
    "options,message",
    [
        (["--tied", "all"], "tied is 'all', which the task recognition does not have"),
        (["--lowercase"], "lowercase is True, which the task recognition does not have"),
        (["--quantize"], "quantize is True, which the task recognition does not have"),
        (["--baselines"], "--baselines is for the task language_model; leave it out"),
        (["--bands", "4"], "bands is 4; it must be at least 8"),
        (["--transcripts", "no.such.file"], "there is no corpus no.such.file"),
        (["--task", "translation", "--transcripts", "a"], "the task translation reads none"),
        (["--corpus", "stdlib"], "there are 2 corpora, and recordings are read of one"),
        (["--execution", "layerwise"], "execution is 'layerwise', which the task recognition does"),
        (["--beam_width", "8"], "beam_width is 8, which only the task translation has"),
        (["--sample_rate", "192000", "--max_seconds", "60"], "a request to a server has"),
        (["--sample_rate", "100"], "sample_rate is 100; it must be at least 1000"),
    ],
)
def test_mistakes_are_found_before_the_work(tmp_path, options, message):
    write_corpus(tmp_path / "tones", generator(), 4)
    done = run_module("pipeline", *command_of(tmp_path / "tones", tmp_path / "root"), *options)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "root" / "ExampleGen").exists()
