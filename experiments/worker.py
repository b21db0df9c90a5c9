"""A process of its own for measurements; nothing here imports TensorFlow before it is quiet."""

import multiprocessing
import os
import threading

from common import command_line
from common.progress import console


def begin(free: multiprocessing.Queue) -> None:
    """Takes a core, from which TensorFlow concludes how many threads there should be."""
    os.sched_setaffinity(0, {free.get()})
    console.quiet = True  # this process's progress would run into that of the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    command_line.import_tensorflow()


def _end_with_parent() -> None:
    """A run that was killed must not go on writing what the next one writes."""
    multiprocessing.parent_process().join()
    os._exit(1)
