"""Verification: a comparison of artifacts with the checksums in their manifests."""

from collections.abc import Callable

from common import files
from common.progress import console, progress_bar
from model.errors import InputError
from pipeline.store.artifacts import Store


def verify(
    store: Store, remove: bool = False, describe: Callable[[str], str] = lambda _: ""
) -> None:
    """Reads every artifact and prints a line for each file that is damaged.

    Args:
      store: Store of the artifacts.
      remove: Whether to remove damaged artifacts, so that a run makes them again.
      describe: Function that says more about a damaged file, from its path.

    Raises:
      InputError: If there are any, and they were not removed.
    """
    paths = store.paths()
    damaged = []
    with progress_bar("Verifying", unit="artifacts") as progress:
        for number, path in enumerate(paths):
            found = store.damage(path)
            progress(number + 1, len(paths))
            for file, problem in found.items():
                console.print(f"{file} {problem}{describe(file)}", markup=False)
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
            "them, and a run makes them again"
        )
