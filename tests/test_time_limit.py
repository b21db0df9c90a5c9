"""The limit on the time of a run of the tests."""

import os
import re
import subprocess
import sys

import pytest
from conftest import PROJECT

TEST = """
import time


def test_first():
    time.sleep({seconds})


def test_second():
    pass
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "conftest.py").write_text('pytest_plugins = ("time_limit",)\n')
    for number in range(4):
        (folder / f"test_{number}.py").write_text(TEST.format(seconds=0))
    (folder / "slow").mkdir()
    (folder / "slow" / "test_long.py").write_text(TEST.format(seconds=2))
    return folder


def run(project, folder, *options):
    """Returns the outcome of each test of a folder of the project, in their order."""
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", folder, *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return re.findall(r"(test_\w+)\.py::(test_\w+) (\w+)", finished.stdout)


@pytest.mark.slow
def test_no_test_begins_after_the_limit(project):
    outcomes = run(project, "slow", "--minutes", "0.02")
    assert outcomes == [
        ("test_long", "test_first", "PASSED"),
        ("test_long", "test_second", "SKIPPED"),
    ]


@pytest.mark.slow
def test_each_run_has_another_order_of_files(project):
    files = [[name for name, *_ in run(project, ".", "--minutes", "1")] for _ in range(4)]
    assert len({tuple(order) for order in files}) > 1
    assert all(order[::2] == order[1::2] for order in files), "the tests of a file stay together"


@pytest.mark.slow
def test_without_a_limit_the_order_is_that_of_the_files(project):
    assert [name for name, *_ in run(project, ".")][::2] == [
        "test_long", "test_0", "test_1", "test_2", "test_3",
    ]  # fmt: skip


@pytest.mark.slow
def test_workers_have_one_order(project):
    run(project, ".", "--minutes", "1", "-n2")  # pytest-xdist refuses to run anything otherwise
