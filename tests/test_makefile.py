"""`make help` shows every target and every variable."""

import re
import subprocess

import pytest
from conftest import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
VARIABLES = re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.M)


@pytest.fixture(scope="module")
def shown():
    """The first word of each line of the help, and the rest of it."""
    finished = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=PROJECT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return dict(re.findall(r"^  (\S+) +(\S.*)$", finished.stdout, re.M))


def test_every_target_is_shown(shown):
    assert {"help", "run", "test", "test-all", "lint", "format"} <= set(TARGETS)
    assert set(TARGETS) == {name for name in shown if name.islower()}
    for target in TARGETS:
        assert re.search(rf"^{target}:.*## \S", MAKEFILE, re.M), target


def test_every_variable_is_shown(shown):
    assert {"CORPUS", "PRESET", "ROOT", "ARGS"} <= set(VARIABLES)
    assert set(VARIABLES) == {name for name in shown if name.isupper()}
