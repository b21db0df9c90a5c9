"""Artifacts: on the disk before they are published, and found under a root of any name."""

import os
import subprocess
import sys
import uuid

import pytest
from conftest import PROJECT

from pipeline.store.artifacts import PARTIAL, Outcome, Store, publish
from pipeline.store.manifest import CacheKey, Properties

KEY = CacheKey.of("Stage", "pipeline.settings", {"corpus": "abc"}, {"size": 3})


def write(directory):
    os.makedirs(os.path.join(directory, "deep"))
    for name in ("a.txt", "deep/b.txt"):
        with open(os.path.join(directory, name), "w") as file:
            file.write(name)
    return Outcome(Properties(), "two files")


@pytest.fixture
def synchronized(monkeypatch):
    """Every path that was brought to the disk or renamed, in order."""
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def record_replace(source, destination):
        events.append(("rename", str(destination)))
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    return events


def test_files_and_directories_are_on_the_disk_before_and_after_a_rename(tmp_path, synchronized):
    source, destination = tmp_path / "source", tmp_path / "target" / "final"
    write(str(source))
    publish(str(source), str(destination), last="a.txt")
    renamed = synchronized.index(("rename", str(destination)))
    before = {path for _, path in synchronized[:renamed]}
    assert before == {str(source / name) for name in ("a.txt", "deep", "deep/b.txt")} | {
        str(source)
    }
    assert synchronized[renamed + 1 :] == [("fsync", str(tmp_path / "target"))]


def test_the_manifest_and_the_pointer_are_on_the_disk(tmp_path, synchronized):
    with (store := Store(str(tmp_path))).writing():
        artifact = store.produce(KEY, write)
    synced = [path for event, path in synchronized if event == "fsync"]
    assert any("manifest.json" in path for path in synced)
    assert any("latest" in path for path in synced)
    assert synced[-1] == os.path.dirname(artifact.path)


@pytest.mark.parametrize("name", ["r[1]", "r*", "r?", "r{a,b}", "r**"])
def test_a_root_is_a_name_and_no_pattern(tmp_path, name):
    root = tmp_path / name
    with (store := Store(str(root))).writing():
        artifact = store.produce(KEY, write)
        assert store.paths() == [artifact.path]
        assert store.find(artifact.fingerprint) == store.latest("Stage") == artifact


def test_what_a_killed_run_has_left_is_removed(tmp_path):
    with (store := Store(str(tmp_path))).writing():
        store.produce(KEY, write)
    leftovers = [
        tmp_path / folder / f"{name}.{uuid.uuid4().hex}.tmp"
        for folder, name in (("Stage", "latest"), (PARTIAL, "probe"))
    ]
    (tmp_path / "notes").mkdir()
    others = [tmp_path / "notes" / "draft.tmp", tmp_path / "Stage" / "mine.12ab.tmp"]
    for path in (*leftovers, *others):
        path.touch()
    with store.writing():
        pass
    assert not any(leftover.exists() for leftover in leftovers)
    assert all(other.exists() for other in others)


LOCKING = """
import sys
from model.errors import InputError
from pipeline.store.artifacts import Store

refused = []
for _ in range(300):
    try:
        with Store(sys.argv[1]).writing():
            pass
    except InputError as error:
        refused.append(str(error))
print(*set(refused), sep="\\n")
"""


def test_runs_that_begin_at_once_are_told_of_each_other_alone(tmp_path):
    command = [sys.executable, "-c", LOCKING, str(tmp_path)]
    runs = [
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = {line for run in runs for line in run.communicate()[0].splitlines() if line}
    assert all(run.returncode == 0 for run in runs)
    assert said <= {f"another run is writing {tmp_path}; wait for it or choose --root"}
