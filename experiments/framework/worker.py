"""Start of a process that measures points; TensorFlow is imported once its output is silenced."""

import multiprocessing
import os
import threading

from common import command_line  # noqa: F401  silences the logs of Beam
from common.progress import console
from common.quiet_tensorflow import import_tensorflow


def start(free_cores: multiprocessing.Queue) -> None:
    """Binds the process to a core, from which TensorFlow derives its number of threads.

    Args:
      free_cores: Queue of the cores that no other process has taken.
    """
    os.sched_setaffinity(0, {free_cores.get()})
    console.quiet = True  # its progress would mix with that of the other processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_tensorflow()


def _end_with_parent() -> None:
    """Ends this process with its parent, as the next run writes the same artifacts."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only processes that another one started get here
    parent.join()
    os._exit(1)
