"""Copies of the tracked files, for tests that change them or run commands among them."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys

from servers import PATIENCE, PROJECT


@functools.cache
def project_files() -> tuple[pathlib.Path, ...]:
    """Returns the paths, relative to the project, of all files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = map(pathlib.Path, filter(None, listed.stdout.split("\0")))
    return tuple(path for path in paths if (PROJECT / path).is_file())


def copy_project(folder: pathlib.Path) -> pathlib.Path:
    """Copies the files of the project into a folder, and returns the folder."""
    for path in project_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, folder / path)
    return folder


def run_python(
    *arguments: str, folder: pathlib.Path, timeout: float = 2 * PATIENCE
) -> subprocess.CompletedProcess:
    """Runs Python in a folder, and returns the finished process, which must succeed.

    Args:
      *arguments: Arguments of the interpreter.
      folder: Working directory.
      timeout: Seconds that the process may take.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout,
        env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished


def code_blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Returns the fenced blocks of a Markdown text in order, as pairs of language and content."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(language, content) for language, content in found if language in languages]
