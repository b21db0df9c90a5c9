"""The locked requirements are those that are stated, with a hash for each."""

import re

import pytest
from commands import PROJECT
from packaging.utils import canonicalize_name

PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.!+-]+)", re.M)


def pins(path):
    """Versions by name in a file of requirements."""
    return {canonicalize_name(name): version for name, version in PIN.findall(path.read_text())}


@pytest.mark.parametrize("folder", [".", "pipeline/worker"])
def test_locked_requirements_are_those_stated(folder):
    lock = PROJECT / folder / "requirements.lock"
    stated = pins(PROJECT / "requirements.txt") | pins(PROJECT / folder / "requirements.txt")
    constraints = pins(PROJECT / "constraints.txt")
    locked = pins(lock)
    remedy = "run `make lock`"
    assert stated.keys() <= locked.keys(), remedy
    assert locked == locked | {
        name: version for name, version in (constraints | stated).items() if name in locked
    }, remedy
    entries = re.split(r"\n(?=\S)", lock.read_text())
    assert all("--hash=sha256:" in entry for entry in entries if PIN.match(entry)), remedy
