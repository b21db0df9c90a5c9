"""Fits of nets to tasks: what they measure, when they end, and one that is killed."""

import csv
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT
from servers import PATIENCE

from experiments.tasks import fitting, metrics
from experiments.tasks.algorithmic_tasks import Parity
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net
from experiments.tasks.task import UNCOUNTED
from pipeline.store.artifacts import Store


def test_the_learning_rate_falls_at_the_end():
    rate = fitting.Cooldown(0.1, steps=100, cooldown=40)
    np.testing.assert_allclose([rate(s) for s in (0, 60, 80, 100)], [0.1, 0.1, 0.05, 0], rtol=1e-6)


def test_a_share_is_of_examples_and_of_labels():
    labels = tf.constant([[1, 0, UNCOUNTED], [2, 2, 1]])
    logits = tf.one_hot([[1, 0, 2], [2, 1, 1]], 3)
    for metric, share in ((metrics.ExampleAccuracy(), 1 / 2), (metrics.LabelAccuracy(), 4 / 5)):
        metric.update_state(labels, logits)
        assert float(metric.result()) == pytest.approx(share)


def test_a_fit_learns_and_then_stops(tmp_path):
    store = Store(str(tmp_path))
    with store.writing():
        net = Net("grid", 2, 32, input_signs=2.0)
        config = FitConfig(examples=64_000, test_every=1600, batch_size=32, learning_rate=0.005)
        measured = fitting.measure(store, Parity(4), net, config)
    logged = b"".join(path.read_bytes() for path in tmp_path.glob("Fitting/*/logs/*tfevents*"))
    assert all(name in logged for name in (b"Parity", b"bits", b"input_signs", b"learning_rate"))
    last = measured.tables["nets"][0]
    assert last["exact"] >= fitting.LEARNED and last["examples"] < config.examples
    assert not fitting.has_failed(measured.tables)
    assert [row["exact"] < fitting.LEARNED for row in measured.tables["tests"][:-1]] == [True] * (
        len(measured.tables["tests"]) - 1
    )


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    program = """
import sys
from experiments.tasks import fitting
from experiments.tasks import metrics
from experiments.tasks.algorithmic_tasks import Memorisation
from experiments.tasks.nets import Net
from pipeline.store.artifacts import Store

config = fitting.FitConfig(6400, 640, batch_size=32, learning_rate=0.01, cooldown=0.5, seed=3)
store = Store(sys.argv[1])
with store.writing():
    fitting.run(store, Memorisation(4, 8), Net("grid", 2, 16, True), config)
"""

    def start(root):
        command = [sys.executable, "-c", program, str(root)]
        return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)

    def tests(root):
        with open(next(root.glob("Fitting/*/history.csv")), newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["examples"]: (row["loss"], row["training_loss"]) for row in rows}

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert start(straight).wait(PATIENCE) == 0
    for rows in (2, 5):
        process = start(killed)
        deadline = time.monotonic() + PATIENCE
        while True:
            found = list(killed.glob(".partial/Fitting-*/history.csv"))
            if found and len(found[0].read_text().splitlines()) > rows:
                break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(killed).wait(PATIENCE) == 0
    assert tests(killed) == tests(straight) and len(tests(killed)) == 10
