"""Faults around a run: nothing is lost or half visible, and a rerun repairs it."""

import concurrent.futures
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import run_module
from conftest import PROJECT, contents, words
from seeds import generator

from common import checksums, files
from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.data import layout, sharding
from pipeline.data.records import read_index
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, schema_gen, statistics_gen
from pipeline.store import artifacts
from pipeline.store.artifacts import Store

STAGES = ("example_gen", "statistics_gen", "schema_gen")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A corpus of 14 MB, more than fits on the disk that is full."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(words(11, 100_000) * 140)
    return path


def make(root, path, stages=3):
    """Returns the artifacts of the first stages."""
    store = Store(str(root))
    with store.writing():
        made = [example_gen.run(store, corpus.resolve(str(path)), DataConfig(shards=8))]
        if stages > 1:
            made.append(statistics_gen.run(store, made[0]))
        if stages > 2:
            made.append(schema_gen.run(store, made[1]))
    return made


@pytest.fixture(scope="module")
def undisturbed(text, tmp_path_factory):
    """The files that an undisturbed run writes."""
    root = tmp_path_factory.mktemp("undisturbed")
    make(root, text)
    return contents(root)


def assert_nothing_visible(root):
    assert [path for path in contents(root) if not path.startswith(".")] == []
    assert not list((root / ".partial").glob("*Gen-*"))


@pytest.mark.slow
def test_kills_at_random_moments_until_a_run_completes(text, undisturbed, tmp_path):
    root, killed = tmp_path / "root", 0
    command = " && ".join(
        f"{sys.executable} -m pipeline {stage} --root {root}"
        + (f" --corpus {text} --shards 8" if stage == "example_gen" else "")
        for stage in STAGES
    )
    while True:
        process = subprocess.Popen(
            command, shell=True, cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL
        )
        try:
            assert process.wait(generator().uniform(0.5, 4 + killed)) == 0
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        for path in Store(str(root)).paths():
            assert Store(str(root)).damage(path) == {}
    assert contents(root) == undisturbed
    assert not list((root / ".partial").glob("*Gen-*"))


def append(path):
    with path.open("a") as file:
        file.write("more")


@pytest.mark.parametrize(
    "change,message",
    [
        (append, "changed while it was read; run again"),
        (lambda path: os.utime(path, (1, 1)), "changed while it was read; run again"),
        (lambda path: os.truncate(path, 1_500_000), "became shorter while it was read"),
        (lambda path: path.unlink(), "No such file or directory"),
    ],
    ids=["longer", "touched", "shorter", "removed"],
)
def test_a_source_that_changes_while_it_is_read(tmp_path, change, message):
    path, root = tmp_path / "text.txt", tmp_path / "root"
    path.write_text(words(1, 3_000_000))
    store, resolved = Store(str(root)), corpus.resolve(str(path))
    change(path)
    with store.writing(), pytest.raises((InputError, OSError), match=message):
        example_gen.run(store, resolved)
    assert_nothing_visible(root)
    path.write_text(words(1, 3_000_000))
    (made,) = make(root, path, 1)
    assert example_gen.Properties.read(made).bytes == 3_000_000


def test_two_runs_at_once_on_one_root(text, undisturbed, tmp_path):
    command = ["example_gen", "--root", tmp_path, "--corpus", text, "--shards", "8"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: run_module("pipeline", *command), range(2)))
    assert sorted(run.returncode for run in both) in ([0, 0], [0, 2])
    for run in both:
        assert run.returncode == 0 or "another run is writing" in run.stderr
    make(tmp_path, text)
    assert contents(tmp_path) == undisturbed


def test_two_workers_that_write_the_same_shard(text, tmp_path):
    segments = [layout.whole(source) for source in corpus.resolve(str(text)).sources]
    (plan,) = layout.shards("train", segments, 1)
    os.mkdir(tmp_path / "Split-train")

    def write(_):
        return list(sharding.WriteShard("ExampleGen", str(tmp_path)).process(plan))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        first, second = pool.map(write, range(2))
    assert first == second
    assert os.listdir(tmp_path / "Split-train") == [first[0][1].name]
    path = str(tmp_path / "Split-train" / first[0][1].name)
    assert first[0][1].checksum == checksums.of_file(path)


def test_a_file_written_by_several_at_once_is_complete(tmp_path):
    path = tmp_path / "latest"

    def write(name):
        for _ in range(300):
            files.write_text(str(path), name)
            assert files.read_text(str(path)) in ("one", "another")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(write, ("one", "another")))
    assert list(tmp_path.iterdir()) == [path]


def test_a_worker_that_died_leaves_nothing(text, undisturbed, tmp_path, monkeypatch):
    original = sharding.WriteShard.process

    def process(self, plan):
        if plan.split == "train" and plan.index == 3:
            (directory,) = tmp_path.glob(".partial/ExampleGen-*/Split-train")
            (directory / "data_tfrecord-00003-of-00008.dead.tmp").write_bytes(b"half")
        yield from original(self, plan)

    monkeypatch.setattr(sharding.WriteShard, "process", process)
    make(tmp_path, text)
    assert contents(tmp_path) == undisturbed


@contextlib.contextmanager
def mounted(path, options):
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a filesystem takes root")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk(text, undisturbed, tmp_path):
    with mounted(tmp_path / "disk", "size=10m") as disk:
        command = ["example_gen", "--root", disk / "root", "--corpus", text, "--shards", "8"]
        full = run_module("pipeline", *command)
        assert (full.returncode, full.stderr.count("\n")) == (2, 1), full.stderr
        assert "No space left on device" in full.stderr and "--root" in full.stderr
        assert_nothing_visible(disk / "root")
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        make(disk / "root", text)
        assert contents(disk / "root") == undisturbed


def test_a_root_that_is_read_only(text, tmp_path):
    with mounted(tmp_path / "disk", "size=10m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        command = ["example_gen", "--root", disk / "root", "--corpus", text]
        refused = run_module("pipeline", *command)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "Read-only file system" in refused.stderr and "choose another" in refused.stderr


@pytest.mark.slow
def test_a_slow_filesystem(undisturbed, text, tmp_path, monkeypatch):
    original = files.open_file

    class Slow:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            time.sleep(0.05)
            self._file.close()

    monkeypatch.setattr(files, "open_file", lambda *a: Slow(original(*a)))
    store = Store(str(tmp_path))
    with store.writing():
        command = ["example_gen", "--root", tmp_path, "--corpus", text]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            other = pool.submit(run_module, "pipeline", *command)
            made = example_gen.run(store, corpus.resolve(str(text)), DataConfig(shards=8))
            schema_gen.run(store, statistics_gen.run(store, made))
            assert "another run is writing" in other.result().stderr
    assert contents(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_clock_that_jumps(text, tmp_path, monkeypatch):
    class Clock(datetime.datetime):
        year_now = 2040

        @classmethod
        def now(cls, tz=None):
            return cls(cls.year_now, 1, 1, tzinfo=tz)

    monkeypatch.setattr(artifacts.datetime, "datetime", Clock)
    first = make(tmp_path, text)
    Clock.year_now = 1990
    assert make(tmp_path, text) == first
    store = Store(str(tmp_path))
    with store.writing():
        again = example_gen.run(store, corpus.resolve(str(text)), DataConfig(shards=9))
    assert store.latest("ExampleGen") == again
    assert again.manifest.seconds < 60
    monkeypatch.undo()
    command = ["status", "--root", tmp_path, "--corpus", text, "--shards", "9"]
    status = run_module("pipeline", *command)
    assert "ExampleGen        complete" in status.stdout
    assert status.returncode == 0 and " -" not in status.stdout, status.stdout


def flip(path):
    content = bytearray(path.read_bytes())
    content[-70_000] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "flipped": (flip, "statistics_gen", r"record \d+ (counted from 0) is damaged"),
    "cut": (lambda p: os.truncate(p, 100_000), "statistics_gen", "record 1 (counted from 0)"),
    "removed": (lambda path: path.unlink(), "statistics_gen", "No such file or directory"),
    "index": (
        lambda p: (p.parent / "index.json").write_text("[{"), "statistics_gen", "index.json",
    ),
    "statistics": (
        lambda p: next(p.parents[3].glob("StatisticsGen/*/Split-train/*.pb")).write_bytes(b"\xff"),
        "schema_gen", "FeatureStats.pb",
    ),
    "pointer": (
        lambda p: (p.parents[2] / "latest").write_text("nowhere"), "statistics_gen",
        "python -m pipeline example_gen",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_later_damage_is_named_and_repaired(text, undisturbed, tmp_path, damage):
    inflict, stage, message = DAMAGES[damage]
    examples, statistics, schema = make(tmp_path, text)
    inflict(tmp_path / "ExampleGen" / examples.fingerprint / "Split-train" / (
        read_index(examples.path, "train")[2].name
    ))  # fmt: skip
    # The artifacts of the stage itself would be returned as cached.
    for artifact in (statistics, schema)[stage == "schema_gen" :]:
        files.remove(artifact.file("manifest.json"))
    named = run_module("pipeline", stage, "--root", tmp_path)
    assert (named.returncode, named.stderr.count("\n")) == (2, 1), named.stderr
    assert message.split(r"\d")[0] in named.stderr
    run_module("pipeline", "verify", "--remove", "--root", tmp_path)
    make(tmp_path, text)
    assert contents(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_damaged_manifest_is_repaired(text, undisturbed, tmp_path):
    examples, *_ = make(tmp_path, text)
    manifest = examples.file("manifest.json")
    content = json.loads(files.read_text(manifest))
    for damaged in ("", "{", json.dumps({**content, "format": 99}), json.dumps([content])):
        files.write_text(manifest, damaged)
        command = ["example_gen", "--root", tmp_path, "--corpus", text, "--shards", "8"]
        refused = run_module("pipeline", *command)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "manifest.json is" in refused.stderr
    run_module("pipeline", "verify", "--remove", "--root", tmp_path)
    make(tmp_path, text)
    assert contents(tmp_path) == undisturbed
