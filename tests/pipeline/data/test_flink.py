"""ExampleGen to SchemaGen on a real Flink cluster: the same bytes, also after kills."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from commands import run_module
from conftest import contents, words

from benchmarks.flink_cluster import SLOTS, flink_cluster

STAGES = ("example_gen", "statistics_gen", "schema_gen")


@pytest.fixture(scope="module")
def cluster(pytestconfig, tmp_path_factory):
    installed = pytestconfig.getoption("--flink")
    if installed is None:
        pytest.skip("`make test-flink` runs these, with --flink")
    with flink_cluster(installed, tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of several sizes, in two scripts, 60 MB in all."""
    folder = tmp_path_factory.mktemp("texts")
    paragraph = words(7, 100_000).replace("grid", "Gitter, größer")
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"{number}\n" + paragraph * (25 * number + 1))
    return folder


def run_stages(root, folder, beam_options=()):
    """Runs the stages as a user would."""
    for stage in STAGES:
        corpus = ["--corpus", folder, "--shards", "40"] if stage == "example_gen" else []
        beam = ["--", *beam_options] if stage != "schema_gen" else []
        finished = run_module("pipeline", stage, "--root", root, *corpus, *beam)
        assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def direct(folder, tmp_path_factory):
    """The files that DirectRunner writes."""
    root = tmp_path_factory.mktemp("direct") / "root"
    run_stages(root, folder)
    return contents(root)


def test_flink_writes_the_same_bytes(cluster, folder, direct, tmp_path):
    run_stages(tmp_path / "root", folder, cluster.beam_options)
    assert contents(tmp_path / "root") == direct


@pytest.mark.parametrize("victim", ["TaskManager", "workers"])
def test_a_kill_in_the_middle_changes_nothing(cluster, folder, direct, tmp_path, victim):
    root = tmp_path / "root"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run_stages, root, folder, cluster.beam_options)
        shards = []
        while not 1 <= len(shards) < 40:
            assert not running.done(), running.result()
            shards = list(root.glob(".partial/ExampleGen-*/Split-train/data_tfrecord-*-of-00040"))
            time.sleep(0.002)
        process = cluster.task_managers[-1] if victim == "TaskManager" else cluster.workers
        os.killpg(process.pid, signal.SIGKILL)
        if victim == "TaskManager":
            cluster.start_task_manager()
        else:
            cluster.start_workers()
        running.result()
    assert contents(root) == direct
    assert not list((root / ".partial").glob("ExampleGen-*"))
    cluster.wait_for_slots(2 * SLOTS)
