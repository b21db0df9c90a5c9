"""The seed of a run: it decides over all random numbers, whichever tests run and wherever."""

import os
import subprocess
import sys

import pytest
from conftest import PROJECT

TESTS = """
import os
import pathlib
import random

import pytest
from hypothesis import given, settings, strategies
from seeds import example, generator

FOLDER = pathlib.Path(os.environ["FOLDER"])
drawn = []


@pytest.fixture(scope="module")
def shared():
    return generator().random()


def test_first(shared):
    (FOLDER / "first").write_text(f"{shared} {generator().random()} {generator().random()}")


def test_second(shared):
    (FOLDER / "second").write_text(f"{shared} {generator().random()}")


@settings(database=None, deadline=None, max_examples=5)
@given(strategies.integers(0, 2**32 - 1))
def test_hypothesis(number):
    with example(number):
        first = generator().random()
    with example(number):
        assert generator().random() == first
    drawn.append((number, first))
    (FOLDER / "hypothesis").write_text(str(drawn))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "conftest.py").write_text('pytest_plugins = ("seeds",)\n')
    (folder / "test_drawn.py").write_text(TESTS)
    return folder


def drawn(project, folder, *options):
    """Returns what a run printed, and the numbers that each of its tests drew."""
    folder.mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "tests"), "FOLDER": str(folder)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout, {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.slow
def test_the_seed_decides_over_all_numbers(project, tmp_path):
    _, expected = drawn(project, tmp_path / "one", "--seed", "5")
    _, in_workers = drawn(project, tmp_path / "workers", "--seed", "5", "-n2", "--dist=load")
    assert len(expected) == 3 and in_workers == expected
    _, alone = drawn(project, tmp_path / "alone", "--seed", "5", "-k", "second")
    assert alone == {"second": expected["second"]}
    _, other = drawn(project, tmp_path / "other", "--seed", "6")
    assert all(other[name] != numbers for name, numbers in expected.items())
    words = expected["first"].split()
    assert len(set(words)) == 3 and words[0] == expected["second"].split()[0]


@pytest.mark.slow
def test_runs_without_a_seed_draw_the_same_numbers(project, tmp_path):
    _, first = drawn(project, tmp_path / "first")
    _, second = drawn(project, tmp_path / "second", "-n2", "--dist=load")
    assert first == second


@pytest.mark.slow
def test_a_run_with_a_random_seed_prints_the_one_that_replays_it(project, tmp_path):
    for name, workers in (("alone", ()), ("in-workers", ("-n2", "--dist=load"))):
        printed, expected = drawn(project, tmp_path / name, "--seed", "random", *workers)
        (line,) = (line for line in printed.splitlines() if line.startswith("seed: "))
        again, numbers = drawn(project, tmp_path / f"{name}-again", "--seed", line.split()[1])
        assert line in again and numbers == expected
