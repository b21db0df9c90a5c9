"""Runs commands as users type them, each in its own process.

The processes are forked from one that has imported TensorFlow, as the import takes longer than most
of the commands do. Tests of how a command starts or ends begin with a fresh interpreter instead.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

from common import command_line  # noqa: F401  sets the log level of TensorFlow

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 300.0
"""Seconds after which a test gives up waiting, even on a slow and busy machine."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tensorflow", "tensorflow_text", "keras", "apache_beam"])


class ForkedCommand:
    """A running `python -m module arguments`, with the methods of `subprocess.Popen`.

    Attributes:
      command: Name of the module, and the arguments.
      pid: Process id.
    """

    def __init__(self, command: list[str], environment: dict[str, str], printed: dict[int, str]):
        """Starts the command.

        Args:
          command: Name of the module, and the arguments.
          environment: Environment of the process.
          printed: Paths of the files that the descriptors 1 and 2 are written to.
        """
        self.command = command
        self._process = _forks.Process(target=_run, args=(command, environment, printed))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Returns the exit status; None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the process, and returns its exit status."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.command, timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process."""
        self.send_signal(signal.SIGKILL)


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
        printed = {fd: os.path.join(folder, str(fd)) for fd in (1, 2)}
        process = ForkedCommand(command, dict(env or os.environ), printed)
        try:
            process.wait(3 * PATIENCE)
        finally:
            process.kill()
        output, errors = (
            pathlib.Path(path).read_text(errors="replace") for path in printed.values()
        )
    return subprocess.CompletedProcess(command, process.poll(), output, errors)


def _run(command, environment, printed):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    for descriptor, path in printed.items():
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
    sys.argv = command
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a fork of multiprocessing skips them
