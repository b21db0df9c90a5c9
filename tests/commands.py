"""Runs commands as users type them, each in its own process.

The processes are forked from one that has imported TensorFlow, as the import takes longer than most
of the commands do. Tests that kill, watch or serve a process start it as a user would instead.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

import servers

from common import command_line  # noqa: F401  sets the log level of TensorFlow

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tensorflow", "tensorflow_text", "apache_beam"])


def run_module(
    module: str, *arguments, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Runs `python -m module arguments`, and returns the finished process with its output as text.

    Args:
      module: Name of the module.
      *arguments: Arguments of the command.
      env: Environment of the process; None for that of this process.
    """
    command = [module, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        printed = {fd: pathlib.Path(folder, str(fd)) for fd in (1, 2)}
        process = _forks.Process(target=_run, args=(command, dict(env or os.environ), printed))
        process.start()
        process.join(3 * servers.PATIENCE)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, 3 * servers.PATIENCE)
        output, errors = (path.read_text(errors="replace") for path in printed.values())
    return subprocess.CompletedProcess(command, process.exitcode, output, errors)


def _run(command, environment, printed):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(servers.PROJECT)
    for descriptor, path in printed.items():
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
    sys.argv = command
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a fork of multiprocessing skips them
