"""Start of a process that measures points; TensorFlow is imported once its output is silenced."""

import multiprocessing
import os
import threading

from common import command_line
from common.progress import console


def start(free_cores: multiprocessing.Queue) -> None:
    """Binds the process to a core, from which TensorFlow derives its number of threads.

    Args:
      free_cores: Queue of the cores that no other process has taken.
    """
    os.sched_setaffinity(0, {free_cores.get()})
    console.quiet = True  # its progress would mix with that of the other processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    command_line.import_tensorflow()


def _end_with_parent() -> None:
    """Ends this process with its parent, as the next run writes the same artifacts."""
    multiprocessing.parent_process().join()
    os._exit(1)
