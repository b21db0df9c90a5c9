"""Invalid input ends in one line with a remedy and exit status 2, and leaves no artifacts."""

import os
import subprocess
import sys

import pytest
from commands import run_module
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


@pytest.mark.parametrize("module", ["pipeline", "serving"])
def test_help_is_quick_and_complete(module):
    code = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit: assert 'tensorflow' not in sys.modules"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    help_of_run = run_module("pipeline", "run", "--help").stdout
    for option in ("--corpus", "--preset", "--clip_value", "--tied", "--init_from"):
        assert option in help_of_run
