"""Invalid input ends in one line with a remedy and exit status 2, and leaves no artifacts."""

import json
import os
import signal
import subprocess
import sys

import pytest
from commands import PATIENCE, run_module
from conftest import PROJECT, words

QUICK = ["--layers", "1", "--units", "8", "--steps", "10"]


def assert_refused(finished, *phrases):
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.startswith("error: ") and finished.stderr.count("\n") == 1
    for phrase in phrases:
        assert phrase in finished.stderr


def artifacts(root):
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if name not in ("manifest.json", "latest", ".lock")
    ]


@pytest.mark.parametrize(
    "arguments,phrases",
    [
        (["run", "--preset", "demmo"], ["no preset demmo", "did you mean demo?"]),
        (["run", "--lairs", "3"], ["--lairs", "--layers"]),
        (["run", "--layers", "0"], ["layers is 0", "at least 1"]),
        (["run", "--layers", "three"], ["three", "integer"]),
        (["run", "--dropout", "1"], ["dropout is 1.0"]),
        (["run", "--learning_rate", "-1"], ["learning_rate is -1.0"]),
        (["run", "--architecture", "gird"], ["gird"]),
        (["run", "--train_fraction", "1.5"], ["train_fraction is 1.5"]),
        (["run", "--corpus", "no/such/file"], ["no corpus no/such/file", "give a file"]),
        (["run", "--init_from", "no/such/model"], ["no checkpoint in no/such/model"]),
        (["run", "words.txt"], ["words.txt is no option", "--corpus"]),
        (["run", "--", "--runner=FlinkRuner"], ["no runner FlinkRuner", "FlinkRunner?"]),
        (["run", "--", "--direct_num_workers=x"], ["--direct_num_workers", "'x'"]),
        (["run", "--", "--direct_num_worker=2"], ["did you mean --direct_num_workers?"]),
        (["run", "--", "--nonsense"], ["Beam has no option --nonsense"]),
        (["run", "--corpus", "nowhere://x"], ["nowhere://x cannot be read"]),
        (["trainer"], ["holds no SchemaGen artifact", "python -m pipeline schema_gen"]),
        (["pusher"], ["holds no Trainer artifact"]),
        (["lineage", "--model_name", "x"], ["no version"]),
        (["rum"], ["rum", "run"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_invalid_arguments_are_refused(tmp_path, corpus_file, arguments, phrases):
    root = tmp_path / "root"
    command, *rest = arguments
    if command != "rum":
        rest = ["--root", root, *rest]
    if command == "run" and "--corpus" not in rest:
        rest = ["--corpus", corpus_file, *rest]
    finished = run_module("pipeline", command, *rest)
    assert_refused(finished, *phrases)
    assert artifacts(root) == []


def test_a_corpus_shorter_than_a_batch(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("too short a text\n" * 5)
    finished = run_module("pipeline", "run", "--corpus", path, "--root", tmp_path / "root")
    assert_refused(finished, "the training split has 80 characters", "--batch_size or --window")


def test_a_root_that_cannot_be_written(corpus_file):
    finished = run_module("pipeline", "run", "--corpus", corpus_file, "--root", "/proc/none")
    assert_refused(finished, "root /proc/none cannot be written", "--root")


def test_invalid_utf8_in_code_point_mode(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(words(6, 9000).encode() + b"\xe9" + words(7, 9000).encode())
    finished = run_module(
        "pipeline",
        "run",
        "--corpus",
        path,
        "--root",
        tmp_path / "root",
        "--character_unit",
        "unicode",
    )
    assert_refused(finished, "latin.txt, byte 9000", "--character_unit bytes")


def test_a_disk_that_fills_up(tmp_path):
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", mount], capture_output=True
    ).returncode:
        pytest.skip("mounting a small filesystem takes root")
    try:
        finished = run_module("pipeline", "run", "--root", mount / "root", *QUICK)
        assert_refused(finished, "No space left on device", "choose another --root")
        assert [path for path in artifacts(mount) if ".partial" not in path] == []
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_server_that_is_not_there():
    finished = run_module("serving", "sample", "--server", "127.0.0.1:9")
    assert_refused(finished, "no server answers at 127.0.0.1:9", "--server")


def test_nothing_to_serve(tmp_path):
    finished = run_module("serving", "serve", "--model_base_path", tmp_path)
    assert_refused(finished, "holds no model version", "python -m pipeline run")


def test_help_is_complete():
    help_of_run = run_module("pipeline", "run", "--help").stdout
    for option in ("--corpus", "--preset", "--clip_value", "--tied", "--init_from"):
        assert option in help_of_run


def run_with(environment, *arguments, **options):
    """Runs the pipeline in a fresh interpreter with other variables in its environment."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, stderr=subprocess.PIPE, **options
    )


def test_any_text_can_be_printed(tmp_path):
    corpus = tmp_path / "\u00e9"
    corpus.mkdir()
    (corpus / "a.txt").write_text("some text")
    arguments = ("example_gen", "--corpus", corpus, "--root", tmp_path / "root")
    printed = run_with({"PYTHONIOENCODING": "ascii"}, *arguments, stdout=subprocess.PIPE)
    assert printed.returncode == 0 and b"bytes of \\xe9 in" in printed.stdout
    refused = run_with({"PYTHONIOENCODING": "ascii"}, "example_gen", "--corpus", corpus / "\u00fc")
    assert refused.returncode == 2 and refused.stderr.count(b"\n") == 1
    unnamed = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    refused = run_with(unnamed, *arguments)
    assert refused.returncode == 2 and b"set LC_ALL=C.UTF-8" in refused.stderr


def test_an_output_that_is_closed_ends_in_no_traceback(tmp_path, corpus_file):
    arguments = ("example_gen", "--corpus", corpus_file, "--root", tmp_path / "root")
    reader, writer = os.pipe()
    os.close(reader)
    finished = run_with({}, *arguments, stdout=writer)
    os.close(writer)
    assert finished.stderr == b""
    closed = run_with({}, *arguments, preexec_fn=lambda: os.close(1))
    assert closed.returncode == 0 and closed.stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "number,status,word",
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_ends_a_run_with_one_line_that_says_how_to_go_on(
    tmp_path, corpus_file, number, status, word
):
    command = [sys.executable, "-m", "pipeline", "run", "--corpus", str(corpus_file)]
    options = ["--root", str(tmp_path / "root"), "--batch_size", "4", "--window", "10"]
    process = subprocess.Popen(
        [*command, *options],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore SIGINT, and what they start does, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert next(line for line in process.stdout if line.startswith("SchemaGen"))
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert errors.strip() == f"{word}; the same command resumes from here"


def test_help_shows_sections_and_the_values_in_force():
    helped = run_module("pipeline", "run", "--preset", "shakespeare", "--help")
    assert helped.returncode == 0 and helped.stderr == ""
    flat = " ".join(helped.stdout.split())
    for phrase in ("Settings [training]:", "[256, preset shakespeare]", "[0.99, default]"):
        assert phrase in flat
    assert "grid-lstm 1." in run_module("pipeline", "--version").stdout


def test_the_settings_in_force_are_a_preset(tmp_path):
    printed = run_module("pipeline", "run", "--print_config", "--layers", "5").stdout
    (tmp_path / "mine.toml").write_text(printed)
    again = run_module("pipeline", "run", "--preset", tmp_path / "mine.toml", "--print_config")
    assert again.stdout == printed and "layers = 5" in printed


def test_a_dry_run_writes_nothing_and_prints_what_would_run(tmp_path, corpus_file):
    options = ("--corpus", corpus_file, "--root", tmp_path / "root")
    dry = run_module("pipeline", "run", "--dry_run", *options)
    assert dry.returncode == 0 and "ExampleGen        missing" in dry.stdout
    assert not (tmp_path / "root").exists()
    quiet = run_module("pipeline", "example_gen", "-q", *options)
    assert (quiet.returncode, quiet.stdout) == (0, "")
    listed = json.loads(run_module("pipeline", "status", "--json", *options).stdout)
    assert listed[0]["state"] == "complete" and listed[0]["manifest"]["stage"] == "ExampleGen"
    verified = json.loads(run_module("pipeline", "verify", "--json", *options[2:]).stdout)
    assert (verified["artifacts"], verified["versions"], verified["damaged"]) == (1, 0, {})
