"""Whether artifacts still are what was written."""

import os

from model.errors import InputError
from pipeline import files
from pipeline.artifacts import Store
from pipeline.progress import console, progress_bar
from pipeline.records import SHARD_PREFIX, read_records


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
            files.rmtree(path)
    verb = "removed" if remove else "damaged"
    console.print(f"{len(paths)} artifacts, {len(damaged)} {verb}", markup=False)
    if damaged and not remove:
        raise InputError(
            f"{len(damaged)} of {len(paths)} artifacts are damaged; `verify --remove` removes "
            "them, and a run makes them anew"
        )


def _which_record(path):
    """Where a shard of records is the damaged file, the first record that cannot be read."""
    if not os.path.basename(path).startswith(SHARD_PREFIX) or not files.exists(path):
        return ""
    whole = 0
    try:
        for _ in read_records(path):
            whole += 1
    except InputError:
        return f": record {whole} (counted from 0) is damaged"
    return f": its {whole} records are whole, but others were written"
