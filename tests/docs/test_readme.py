"""Every command of the README, as a reader would type it, on a small corpus and a short training.

Blocks marked `bash` are run in order. Blocks marked `sh` need what a test machine lacks (Docker, a
cluster, a download of 36 MB); their options are parsed by what they would start.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import PROJECT, words
from servers import PATIENCE

from benchmarks import data, endurance, train_step
from benchmarks import serving as serving_benchmark
from experiments.__main__ import ALL
from experiments.__main__ import commands as experiments_commands
from experiments.catalog import EXPERIMENTS
from pipeline.__main__ import commands as pipeline_commands
from pipeline.settings import preset_names
from pipeline.training.workers import this_worker
from serving.__main__ import commands as serving_commands

README = (PROJECT / "README.md").read_text()
SHORT = (
    "--batch_size 16 --window 20 --steps 150 --warmup_steps 0 --units 16 --validate_every 150 "
    "--validation_characters 500"
)
BENCHMARKS = {
    "benchmarks.data": data.main,
    "benchmarks.endurance": endurance.main,
    "benchmarks.serving": serving_benchmark.main,
    "benchmarks.train_step": train_step.main,
}
SERVERS = {
    "make serve": "http://localhost:8501/v1/models/stdlib",
    "make tensorboard": "http://localhost:6006",
}


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def commands(block):
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files, with this environment in place of the one make would install."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split():
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    pins = [folder / name for name in ("requirements.txt", "constraints.txt")]
    marker = folder / ".venv" / ".installed"
    newest = max(path.stat().st_mtime for path in pins)
    if not marker.exists() or marker.stat().st_mtime < newest:
        pytest.skip("the environment is not the one that make installs")
    (folder / "my-texts").mkdir()
    (folder / "my-texts" / "text.txt").write_text(words(8, 60_000))
    return folder


def environment(command):
    short = "--collect-only" if command.startswith("make test") else SHORT
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    # The variables of a make that runs these tests would win over those of the commands.
    inherited = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return {**inherited, "ARGS": short, "PATH": path}


def shortened(command):
    trains = re.match(r"python -m pipeline (run|trainer)\b", command)
    return f"{command} {SHORT}" if trains else command


def wait_for(url, process):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.timeout(3600)
def test_every_command_of_the_readme_works(checkout):
    servers = []
    try:
        for command in (command for block in blocks("bash") for command in commands(block)):
            options = {"cwd": checkout, "env": environment(command), "shell": True}
            if command in SERVERS:
                serving = {**options["env"], "ARGS": ""}
                process = subprocess.Popen(
                    f"exec {command}", start_new_session=True, **{**options, "env": serving},
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                servers.append(process)
                wait_for(SERVERS[command], process)
                continue
            finished = subprocess.run(
                shortened(command), executable="/bin/bash", capture_output=True, text=True,
                errors="replace", timeout=2 * PATIENCE, **options,
            )  # fmt: skip
            assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
        for program in blocks("python"):
            subprocess.run(
                [sys.executable, "-c", program], cwd=checkout, check=True, timeout=PATIENCE
            )
    finally:
        for process in servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("command", [c for block in blocks("sh") for c in commands(block)])
def test_the_other_commands_have_options_that_exist(command):
    arguments = shlex.split(command.split("#")[0])
    while "=" in arguments[0]:
        assert this_worker_of(arguments.pop(0)).count == 2
    if arguments[:3] == ["python", "-m", "pipeline"]:
        own, _, beam_options = " ".join(arguments[3:]).partition(" -- ")
        parse(pipeline_commands, shlex.split(own))
        unknown = PipelineOptions(shlex.split(beam_options)).get_all_options(drop_default=True)
        assert not beam_options or unknown["runner"] in beam_options
    elif arguments[:3] == ["python", "-m", "serving"]:
        parse(serving_commands, arguments[3:])
    elif arguments[:3] == ["python", "-m", "experiments"]:
        parse(experiments_commands, arguments[3:])
        assert arguments[3] != "run" or arguments[4] in (ALL, *EXPERIMENTS)
    elif arguments[:2] == ["python", "-m"]:
        BENCHMARKS[arguments[2]].make_context(arguments[2], arguments[3:])
    elif arguments[0] == "make":
        assert arguments[1] in ("run", "bench", "test-flink")
        given = dict(argument.split("=", 1) for argument in arguments[2:])
        assert given.get("PRESET", "demo") in preset_names()
        if "ARGS" in given:
            parse(pipeline_commands, ["run", *shlex.split(given["ARGS"])])
    elif arguments[:2] == ["docker", "run"]:
        assert "tensorflow/serving" in arguments
    else:
        assert arguments[0] in ("docker", "kubectl")
        ours = [part for part in arguments if part.startswith(("serving/", "pipeline/"))]
        assert ours and all((PROJECT / part).exists() for part in ours)


def this_worker_of(setting):
    """What a setting of TF_CONFIG makes of a process."""
    name, value = setting.split("=", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        return this_worker()


def parse(group, arguments):
    """Parses the arguments of a group of commands, which fails where an option does not exist."""
    name, *options = arguments
    group.get_command(None, name).make_context(name, options)
