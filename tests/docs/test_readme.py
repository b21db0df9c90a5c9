"""Every command of the README and of the pages of docs/, as a reader would type it.

Blocks marked `bash` and `python` are run in order, on a small corpus and with a short training. All
pages share one checkout and one trained root. Blocks marked `sh` need what a test machine lacks
(Docker, a cluster, a download of 36 MB) or take long; their options are parsed by what they would
start.
"""

import contextlib
import importlib.metadata
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from checkouts import code_blocks, copy_project, run_python
from conftest import PROJECT, words
from servers import PATIENCE

from benchmarks import (
    data,
    endurance,
    execution_table,
    keras_layers,
    kill_points,
    learning_curves,
    pjrt,
    skewed_wavefront,
    suite,
    train_step,
)
from benchmarks import serving as serving_benchmark
from experiments.__main__ import ALL
from experiments.__main__ import commands as experiments_commands
from experiments.catalog import EXPERIMENTS
from pipeline.__main__ import commands as pipeline_commands
from pipeline.preset_files import preset_names
from pipeline.training.workers import this_worker
from serving.__main__ import commands as serving_commands

SHORT = (
    "--batch_size 16 --window 20 --steps 150 --warmup_steps 0 --units 16 --validate_every 150 "
    "--validation_characters 500"
)
BENCHMARKS = {
    "benchmarks.data": data.main,
    "benchmarks.endurance": endurance.main,
    "benchmarks.execution_table": execution_table.main,
    "benchmarks.keras_layers": keras_layers.main,
    "benchmarks.kill_points": kill_points.main,
    "benchmarks.learning_curves": learning_curves.main,
    "benchmarks.serving": serving_benchmark.main,
    "benchmarks.skewed_wavefront": skewed_wavefront.main,
    "benchmarks.train_step": train_step.main,
}
SERVERS = {
    "make serve": "http://localhost:8501/v1/models/stdlib",
    "make tensorboard": "http://localhost:6006",
}


def lines_of(block):
    """Returns the commands of a block as they are, each of which may take several lines."""
    commands, command = [], ""
    for line in block.splitlines():
        command += line
        try:
            shlex.split(command, comments=True)
        except ValueError:  # a quotation is open
            is_whole = False
        else:
            is_whole = not line.endswith("\\")
        if not is_whole:
            command += "\n"
            continue
        if command.strip():
            commands.append(command)
        command = ""
    return commands


def pages():
    """Returns the texts of the README and of all pages, by path; the README comes first."""
    found = sorted(path.relative_to(PROJECT) for path in PROJECT.glob("docs/**/*.md"))
    written = [path for path in found if path.parent.name != "experiments"]  # the report is not
    return {name: (PROJECT / name).read_text() for name in ["README.md", *map(str, written)]}


PAGES = pages()
RUN = [name for name, text in PAGES.items() if code_blocks(text, "bash", "python")]
PARSED = dict.fromkeys(
    command
    for text in PAGES.values()
    for _, block in code_blocks(text, "sh")
    for command in lines_of(block)
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files, with this environment in place of the one make would install."""
    if not os.path.exists(f"{sys.prefix}/.tests") or lacking_requirements():
        pytest.skip("the environment is not the one that make installs")
    folder = copy_project(tmp_path_factory.mktemp("checkout"))
    (folder / ".venv").symlink_to(sys.prefix)
    for path in (*folder.glob("*.txt"), *folder.glob("*/requirements.txt")):
        os.utime(path, (0, 0))  # installed already, whenever they were checked out
    (folder / "my-texts").mkdir()
    (folder / "my-texts" / "text.txt").write_text(words(8, 60_000))
    return folder


def lacking_requirements():
    """Returns the pins of all requirements that this environment does not fulfil."""
    names = ("requirements.txt", "experiments/requirements.txt", "tests/requirements.txt")
    text = "\n".join((PROJECT / name).read_text() for name in names)
    pins = re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE)
    installed = {
        distribution.name.lower().replace("_", "-"): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    return [name for name, version in pins if installed.get(name.lower()) != version]


@pytest.fixture(scope="module")
def trained(checkout):
    """The checkout after `make run`, which trains and pushes the model `stdlib`."""
    run("make run", checkout)
    return checkout


def environment(command):
    """Returns the environment of a command: that of a reader who has activated `.venv`."""
    short = "--collect-only" if command.startswith("make test") else SHORT
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    # The variables of a make that runs these tests would win over those of the commands.
    inherited = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    # curl ends well where the server refuses a request, unless it is told otherwise.
    curl = str(PROJECT / "tests" / "docs" / "curl")
    return {
        **inherited,
        "ARGS": "" if command in SERVERS else short,
        "PATH": path,
        "CURL_HOME": curl,
    }


def shortened(command):
    """Returns a command with a short training in place of a long one."""
    if command.startswith("make run "):  # ARGS on a command line win over the environment
        return command.replace('ARGS="', f'ARGS="{SHORT} ')
    trains = re.match(r"python -m pipeline (run|trainer)\b(?!.*--help)", command)
    return f"{command} {SHORT}" if trains else command


def run(command, folder):
    """Runs a command in a shell; it must succeed."""
    finished = subprocess.run(
        shortened(command), cwd=folder, env=environment(command), shell=True,
        executable="/bin/bash", capture_output=True, text=True, errors="replace",
        timeout=2 * PATIENCE,
    )  # fmt: skip
    assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"


@contextlib.contextmanager
def started(command, folder):
    """Starts a server as a command does, waits until it answers, and kills it at the end."""
    process = subprocess.Popen(
        f"exec {command}", cwd=folder, env=environment(command), shell=True,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(SERVERS[command], process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url, process):
    """Waits until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture(scope="module")
def already_run():
    """The commands that an earlier page has shown, which need not be run again."""
    return set()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_a_page_works(trained, already_run, page):
    with contextlib.ExitStack() as servers:
        for language, block in code_blocks(PAGES[page], "bash", "python"):
            if language == "python":
                run_python("-c", block, folder=trained)
                continue
            for command in lines_of(block):
                if command in SERVERS:
                    servers.enter_context(started(command, trained))
                elif command not in already_run:
                    run(command, trained)
                    already_run.add(command)


@pytest.mark.parametrize("command", PARSED)
def test_the_other_commands_have_options_that_exist(command, tmp_path, monkeypatch):
    (tmp_path / "my-data").mkdir()
    (tmp_path / "exported").mkdir()
    (tmp_path / "my-texts").mkdir()
    (tmp_path / "my-texts" / "text.txt").touch()
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(command.split("#")[0])
    while "=" in arguments[0]:
        setting = arguments.pop(0)
        assert not setting.startswith("TF_CONFIG=") or this_worker_of(setting).count == 2
    if arguments[:3] == ["python", "-m", "pipeline"]:
        own, _, beam_options = " ".join(arguments[3:]).partition(" -- ")
        parse(pipeline_commands, shlex.split(own))
        unknown = PipelineOptions(shlex.split(beam_options)).get_all_options(drop_default=True)
        assert set(unknown) >= set(re.findall(r"--(\w+)=", beam_options))
    elif arguments[:3] == ["python", "-m", "serving"]:
        parse(serving_commands, arguments[3:])
    elif arguments[:3] == ["python", "-m", "experiments"]:
        parse(experiments_commands, arguments[3:])
        assert arguments[3] != "run" or arguments[4] in (ALL, *EXPERIMENTS)
    elif arguments[:3] == ["python", "-m", "benchmarks.pjrt"]:
        parse(pjrt.main, arguments[3:])
    elif arguments[:2] == ["python", "-m"]:
        BENCHMARKS[arguments[2]].make_context(arguments[2], arguments[3:])
    elif arguments[0] == "make":
        check_make(*arguments[1:])
    elif arguments[:2] == ["git", "apply"]:
        assert all((PROJECT / path).exists() for path in arguments[2:])
    elif arguments[:2] == ["docker", "run"]:
        assert "tensorflow/serving" in arguments
    else:
        assert arguments[0] in ("docker", "kubectl")
        ours = [part for part in arguments if part.startswith(("serving/", "pipeline/"))]
        assert ours and all((PROJECT / part).exists() for part in ours)


def check_make(target, *assignments):
    """Checks that a target and the options in its ARGS exist."""
    rules = re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert target in rules
    given = dict(assignment.split("=", 1) for assignment in assignments)
    assert given.get("PRESET", "demo") in preset_names()
    arguments = shlex.split(given.get("ARGS", ""))
    if target == "run":
        parse(pipeline_commands, ["run", *arguments])
    elif target == "bench":
        suite.main.make_context("suite", arguments)
    else:
        assert not arguments


def this_worker_of(setting):
    """Returns the worker that a setting of TF_CONFIG makes of a process."""
    name, value = setting.split("=", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        return this_worker()


def parse(group, arguments):
    """Parses the arguments of a group of commands, which fails where an option does not exist."""
    name, *options = arguments
    if "--help" in options:
        assert name in group.commands
        return
    group.get_command(None, name).make_context(name, options)
