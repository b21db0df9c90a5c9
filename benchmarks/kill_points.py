"""Kills every stage at every change of a file: `python -m benchmarks.kill_points`.

A stage begins where those before it are complete. It is killed just before the n-th change that it
makes under the root, for each n: a file created, written to, flushed, synchronized, closed, renamed
or removed, or a directory made or removed. Afterwards every artifact that can be seen must match
its checksums, and the same command must complete and leave what a run that was never killed leaves.
Files that two such runs write differently, as they hold times, need only match their checksums.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
import rich.console
import rich.table

from common import command_line
from common.commands import Command
from common.machine import machine
from common.progress import progress_bar
from model.errors import InputError
from pipeline.stages.graph import STAGES, Stage

SHIM = pathlib.Path(__file__).with_name("kill_points.c")
SERVER = "from benchmarks.kill_point_server import main; main()"
OPTIONS = {
    "ExampleGen": ["--corpus", "{corpus}", "--shards", "16"],
    "Trainer": ["--layers", "1", "--units", "16", "--batch_size", "8", "--window", "10", "--steps",
                "60", "--validate_every", "30", "--validation_characters", "400",
                "--learning_rate", "0.05", "--warmup_steps", "0", "--sample_length", "10"],
    "Evaluator": ["--eval_batch_size", "4"],
}  # fmt: skip
"""Options of the commands of stages, which make runs short."""

REQUIRED = [stage.name for stage in STAGES if stage.optional is None]
"""Stages that are part of every run."""

Contents = dict[str, bytes]


class Found(NamedTuple):
    """What was found for a stage.

    Attributes:
      stage: Name of the stage.
      changes: Changes of files that a run of the stage makes.
      killed: Number of runs that were killed.
      wrong: What was wrong after a kill, as sentences.
    """

    stage: str
    changes: int
    killed: int
    wrong: list[str]


class Forks:
    """Commands of the pipeline that can be killed at a change of a file."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def run(self, arguments: list[str], root: pathlib.Path, at: int = 0) -> dict[str, Any]:
        """Runs a command; see `kill_point_server.run`."""
        request = {"arguments": arguments, "root": str(root), "at": at}
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise InputError("the process that runs the commands has ended; see what it printed")
        return json.loads(answer)


@contextlib.contextmanager
def forks(folder: pathlib.Path) -> Iterator[Forks]:
    """Compiles the shim, and yields what runs commands under it.

    Args:
      folder: Directory for the shim.

    Raises:
      InputError: If there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise InputError("no C compiler is installed; install `cc`, such as gcc, and try again")
    shim = folder / "kill_points.so"
    build = [compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(SHIM), "-ldl"]
    subprocess.run(build, check=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "LD_PRELOAD": str(shim), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    with process:
        yield Forks(process)
        assert process.stdin
        process.stdin.close()


def contents(root: pathlib.Path) -> Contents:
    """Returns the visible files below a root, but for manifests, which hold times."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".partial" not in path.parts and path.name != "manifest.json"
    }


def damaged(root: pathlib.Path) -> list[str]:
    """Returns the files of visible artifacts that do not match their checksums."""
    from pipeline.store.artifacts import Store

    store = Store(str(root))
    return [name for path in store.paths() for name in store.damage(path)]


def differences(expected: Contents, exact: set[str], found: Contents) -> list[str]:
    """Returns the names of files that should not be there, are not, or have other bytes.

    Args:
      expected: Files of a run that was never killed.
      exact: Names of those whose bytes do not depend on the run.
      found: Files to compare.
    """
    others = {name for name in exact & found.keys() if expected[name] != found[name]}
    return sorted(expected.keys() ^ found.keys() | others)


def measure(
    runner: Forks, stage: Stage, folder: pathlib.Path, limit: int | None, seed: int
) -> Found:
    """Kills a stage at every change of a file, and adds its artifact to `folder/before`.

    Args:
      runner: What runs the commands.
      stage: The stage.
      folder: Directory with the root `before`, of all stages before this one.
      limit: Most changes at which the stage is killed, drawn from all; None for all.
      seed: Seed of what is drawn.

    Raises:
      InputError: If the stage fails without being killed.
    """
    before, root, after = folder / "before", folder / "root", folder / "after"
    options = [one.format(corpus=folder / "text.txt") for one in OPTIONS.get(stage.name, [])]
    arguments = [stage.run, "--root", str(root), *options]

    def run(at: int = 0, again: bool = False) -> dict[str, Any]:
        if not again:
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(before, root)
        return runner.run(arguments, root, at)

    def undisturbed() -> tuple[int, Contents]:
        done = run()
        if done["status"]:
            raise InputError(f"{stage.name} fails without being killed: {done['output']}")
        return done["changes"], contents(root)

    (changes, expected), (_, once_more) = undisturbed(), undisturbed()
    exact = {name for name in expected if expected[name] == once_more.get(name)}
    shutil.copytree(root, after)
    points = list(range(1, changes + 1))
    if limit is not None and limit < changes:
        points = sorted(random.Random(f"{seed} {stage.name}").sample(points, limit))
    wrong, killed = [], 0
    with progress_bar(stage.name, "kills") as progress:
        for number, point in enumerate(points, 1):
            killed += run(point)["status"] < 0
            wrong += [f"{name} is damaged after change {point}" for name in damaged(root)]
            done = run(again=True)
            if done["status"]:
                wrong.append(f"change {point}: the next run fails: {done['output']}")
            for name in differences(expected, exact, contents(root)) + damaged(root):
                wrong.append(f"{name} is wrong after change {point} and another run")
            progress(number, len(points))
    shutil.rmtree(before)
    after.rename(before)
    return Found(stage.name, changes, killed, wrong)


@click.command(cls=Command, example="python -m benchmarks.kill_points --stage SchemaGen")
@click.option(
    "--stage",
    "chosen",
    multiple=True,
    type=click.Choice(REQUIRED),
    help="Stage to kill; may be repeated. Default: all that are part of every run.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Most kills of a stage. Default: one at every change of a file.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of what is drawn.")
def main(chosen: tuple[str, ...], limit: int | None, seed: int) -> None:
    """Kill the stages of a run at every change of a file, run them again, and compare the bytes."""
    table = rich.table.Table("stage", "changes of files", "killed", "wrong", title=machine())
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        generator = random.Random(seed)
        words = ("grid", "memory", "hidden", "gate", "depth", "time", "über", "\n")
        (folder / "text.txt").write_text(" ".join(generator.choices(words, k=5000)))
        (folder / "before").mkdir()
        with forks(folder) as runner:
            last = max(REQUIRED.index(one) for one in chosen or REQUIRED)
            for stage in (one for one in STAGES if one.name in REQUIRED[: last + 1]):
                # The stages after one that is left out begin with its artifact.
                skipped = bool(chosen) and stage.name not in chosen
                found = measure(runner, stage, folder, 0 if skipped else limit, seed)
                counts = (f"{found.changes:,}", f"{found.killed:,}", f"{len(found.wrong):,}")
                table.add_row(stage.name, *counts)
                wrong += found.wrong
    rich.console.Console().print(table)
    for line in wrong:
        click.echo(line, err=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    command_line.main(main, resumes=False)
