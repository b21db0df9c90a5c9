"""Whether artifacts still are what was written."""

import os

import tensorflow as tf

from model.errors import InputError
from pipeline.artifacts import Store
from pipeline.progress import console, progress_bar
from pipeline.records import SHARD_PREFIX


def verify(store: Store, remove: bool = False) -> None:
    """Reads every artifact and prints a line for each file that is damaged.

    Args:
      store: where artifacts are.
      remove: whether to remove artifacts with such files, so that a run makes them anew.

    Raises:
      InputError: if there are any, and they were not removed.
    """
    paths = store.paths()
    damaged = []
    with progress_bar("Verifying", unit="artifacts") as progress:
        for number, path in enumerate(paths):
            found = store.damage(path)
            progress(number + 1, len(paths))
            for file, problem in found.items():
                console.print(f"{file} {problem}{_which_record(file)}", markup=False)
            if found:
                damaged.append(path)
    if damaged and remove:
        for path in damaged:
            tf.io.gfile.rmtree(path)
    verb = "removed" if remove else "damaged"
    console.print(f"{len(paths)} artifacts, {len(damaged)} {verb}", markup=False)
    if damaged and not remove:
        raise InputError(
            f"{len(damaged)} of {len(paths)} artifacts are damaged; `verify --remove` removes "
            "them, and a run makes them anew"
        )


def _which_record(path):
    """Where a shard of records is the damaged file, the first record that cannot be read."""
    if not os.path.basename(path).startswith(SHARD_PREFIX) or not tf.io.gfile.exists(path):
        return ""
    whole = 0
    try:
        for _ in tf.data.TFRecordDataset(path):
            whole += 1
    except tf.errors.DataLossError:
        return f": record {whole} (counted from 0) is damaged"
    return f": its {whole} records are whole, but others were written"
