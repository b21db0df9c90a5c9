"""Training by two processes, each with half of the streams, as on two machines."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from commands import run_module
from conftest import PROJECT, words
from parallel_texts import pairs, tsv
from seeds import generator
from servers import PATIENCE

from pipeline.stages import trainer
from pipeline.store.artifacts import Store

OPTIONS = (
    *("--layers", "1", "--units", "16", "--batch_size", "8", "--window", "20", "--steps", "60"),
    *("--validate_every", "10", "--validation_characters", "1000", "--warmup_steps", "0"),
    *("--dtype", "float32"),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A root with the inputs of a training."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "words.txt").write_text(words(31, 60_000))
    root = folder / "root"
    for stage in (f"example_gen --corpus {folder}/words.txt", "statistics_gen", "schema_gen"):
        finished = run_module("pipeline", *stage.split(), "--root", root)
        assert finished.returncode == 0, finished.stderr
    return root


@pytest.fixture(scope="module")
def by_two(prepared, tmp_path_factory):
    """The artifact of two undisturbed workers."""
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    shutil.copytree(prepared, root)
    return train_by_two(root)


@contextlib.contextmanager
def two_workers(root, arguments=("trainer", *OPTIONS)):
    """Starts both workers and yields their processes, the chief first."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("localhost", 0))
        addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments, "--root", str(root)],
                cwd=PROJECT, env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def train_by_two(root, *arguments):
    with two_workers(root, *arguments) as processes:
        for process in processes:
            _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
    stage = "".join(part.capitalize() for part in arguments[0][0].split("_")) if arguments else ""
    return Store(str(root)).latest(stage or trainer.NAME)


def weights(artifact):
    loaded = tf.saved_model.load(artifact.file("Format-Serving"))
    return [weight.numpy() for weight in loaded.weights]


@pytest.mark.slow
def test_two_workers_train_like_one_with_the_whole_batch(prepared, by_two):
    one = run_module("pipeline", "trainer", "--root", prepared, *OPTIONS)
    assert one.returncode == 0, one.stderr
    by_one = Store(str(prepared)).latest(trainer.NAME)
    assert by_one.manifest.parameters["replicas"] == 1
    assert by_two.manifest.parameters["replicas"] == 2
    for name in ("steps", "characters", "epochs"):
        assert by_two.manifest.properties[name] == by_one.manifest.properties[name]
    for ours, theirs in zip(weights(by_two), weights(by_one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_two_workers_train_a_translation_like_one(tmp_path):
    """Each takes rows of its own of batches that both read."""
    (tmp_path / "pairs.tsv").write_text(tsv(pairs(generator(), 200)))
    root = tmp_path / "root"
    preset = ("--preset", "translation")
    command = ("example_gen", "--corpus", str(tmp_path / "pairs.tsv"), "--train_fraction", "0.8")
    for arguments in (
        (*command, *preset),
        ("pair_statistics_gen",),
        ("word_schema_gen", *preset, "--least_count", "1"),
    ):
        finished = run_module("pipeline", *arguments, "--root", root)
        assert finished.returncode == 0, finished.stderr
    other = tmp_path / "other"
    shutil.copytree(root, other)
    options = ("--units", "6", "--batch_size", "15", "--steps", "12", "--dropout", "0")
    train = ("translation_trainer", *preset, *options, "--learning_rate", "0.001")
    one = run_module("pipeline", *train, "--root", root)
    assert one.returncode == 0, one.stderr
    by_one = Store(str(root)).latest("TranslationTrainer")
    by_two = train_by_two(other, train)
    assert by_two.manifest.parameters["replicas"] == 2
    for ours, theirs in zip(weights(by_two), weights(by_one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)


def lose(root, victim, checkpoint):
    """Kills one of two workers after a checkpoint, and checks the error of the other."""
    with two_workers(root) as processes:
        while not list(root.glob(f".partial/Trainer-*/checkpoints/latest/ckpt-{checkpoint}.index")):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.01)
        processes[victim].send_signal(signal.SIGKILL)
        _, errors = processes[1 - victim].communicate(timeout=PATIENCE)
        assert processes[1 - victim].returncode == 2, errors
        assert "another worker of this training was lost; start all of them again" in errors
    assert Store(str(root)).all(trainer.NAME) == []


@pytest.mark.slow
def test_restarted_workers_resume_from_the_last_checkpoint(prepared, by_two, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(prepared, root, ignore=shutil.ignore_patterns("Trainer*"))
    lose(root, victim=1, checkpoint=10)
    lose(root, victim=0, checkpoint=30)
    resumed = train_by_two(root)
    assert resumed.fingerprint == by_two.fingerprint
    for ours, theirs in zip(weights(resumed), weights(by_two), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "config", ["{", "[]", '{"cluster": {"worker": ["a"]}, "task": {"index": 3}}']
)
def test_an_invalid_cluster_is_refused(tmp_path, config):
    refused = run_module(
        "pipeline", "trainer", "--root", tmp_path, env={**os.environ, "TF_CONFIG": config}
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "TF_CONFIG" in refused.stderr


def test_other_stages_run_on_the_chief_alone(tmp_path):
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
    refused = run_module("pipeline", "run", "--root", tmp_path, env=environment)
    assert refused.returncode == 2 and "only its first one" in refused.stderr
