"""No bytes make what reads them raise anything but an error in a line."""

import subprocess
import sys

import pytest
from commands import PROJECT
from fuzzing.targets import TARGETS
from seeds import generator

FOLDER = PROJECT / "tests" / "fuzzing"
SECONDS = 10


@pytest.mark.parametrize("name", TARGETS)
def test_samples_and_findings_are_read(name):
    target = TARGETS[name]
    found = [path.read_bytes() for path in sorted((FOLDER / "findings" / name).glob("*"))]
    for content in [*target.samples, *found, b""]:
        target.read(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_new_is_found(name, tmp_path):
    seed = int(generator().integers(1, 2**31))
    command = [sys.executable, str(FOLDER / "fuzz.py"), name, f"--seconds={SECONDS}"]
    command += [f"--seed={seed}", f"--findings={tmp_path}"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
    assert not list(tmp_path.glob("*/*"))
