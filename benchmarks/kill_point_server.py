"""Runs commands of the pipeline in forks of one process, killed at given changes of files.

`benchmarks.kill_points` starts it with `kill_points.c` preloaded. It reads a JSON object per line,
`{"arguments": [...], "root": ..., "at": n}`, and answers each with `{"status": ..., "changes": ...,
"output": ...}`. A fork begins with all libraries imported, which takes seconds otherwise.
"""

import ctypes
import json
import os
import sys
import tempfile
from typing import Any

from common.quiet_tensorflow import import_tensorflow


def run(arguments: list[str], root: str, at: int) -> dict[str, Any]:
    """Runs a command of the pipeline in a fork of this process.

    Args:
      arguments: Arguments of `python -m pipeline`.
      root: Directory whose changes count.
      at: Number of the change before which the fork is killed, from 1; 0 to let it end.

    Returns:
      Its exit status, negative for a signal; the number of changes, if it was not killed; and the
      end of what it printed.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become_command(arguments, root, at, writer, output.fileno())
        os.close(writer)
        with os.fdopen(reader) as pipe:
            changes = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(max(0, output.tell() - 2000))
        return {
            "status": status,
            "changes": int(changes or 0),
            "output": output.read().decode(errors="replace"),
        }


def _become_command(arguments: list[str], root: str, at: int, writer: int, output: int) -> None:
    """Runs a command, and ends this process with its exit status."""
    from pipeline.__main__ import commands

    # The group that is killed is that of the command and its children, without this program.
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    shim = ctypes.CDLL(None)
    shim.kill_points_arm(root.encode(), ctypes.c_long(at))
    status = 1
    try:
        commands.main(arguments, prog_name="python -m pipeline", standalone_mode=False)
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        os.write(writer, str(shim.kill_points_count()).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answers requests until the end of the standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Imported before the forks, but not used: threads of TensorFlow would be missing in a fork.
    import_tensorflow()
    import apache_beam  # noqa: F401

    import pipeline.orchestration  # noqa: F401
    from pipeline.stages.graph import STAGES

    for stage in STAGES:
        assert stage.module
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), file=answers, flush=True)
