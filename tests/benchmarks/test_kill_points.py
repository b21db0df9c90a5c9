"""Stages are killed at changes of files, and what is wrong afterwards is found."""

import re
import shutil

import pytest
from commands import run_module

from benchmarks.kill_points import differences


def test_differences_are_of_names_and_of_exact_bytes():
    expected = {"same": b"1", "exact": b"2", "with a time": b"3", "missing": b"4"}
    found = {"same": b"1", "exact": b"x", "with a time": b"y", "new": b"5"}
    assert differences(expected, {"same", "exact"}, found) == ["exact", "missing", "new"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_stage_is_killed_and_leaves_no_wrong_byte():
    done = run_module("benchmarks.kill_points", "--stage", "SchemaGen", "--limit", "4")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"│ (\w+) +│ (\d+) +│ (\d+) +│ (\d+) +│", done.stdout)
    assert [(name, killed, wrong) for name, _, killed, wrong in rows] == [
        ("ExampleGen", "0", "0"),
        ("StatisticsGen", "0", "0"),
        ("SchemaGen", "4", "0"),
    ]
    assert int(rows[2][1]) > 20, "a stage makes many changes"
