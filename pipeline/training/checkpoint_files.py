"""The files of checkpoints, with their checksums.

    <folder>/ckpt-<step>.index, .data-*     a checkpoint, as TensorFlow writes it
    <folder>/ckpt-<step>.checksums          the checksums of its files

Checkpoints are found by their files and not by the list that TensorFlow keeps, which may be
damaged.
"""

import os
from collections.abc import Callable

import tensorflow as tf

from common import checksums, files
from model.errors import InputError


def save(manager: tf.train.CheckpointManager, step: int) -> None:
    """Writes a checkpoint, then its checksums, and removes those that are too many.

    Args:
      manager: Manager of the folder.
      step: Number of steps done.
    """
    path = manager.save(step)
    checksums.write_list(path)
    kept = {f"{one}{checksums.LIST}" for one in manager.checkpoints}
    for file in files.glob_in(os.path.dirname(path), f"*{checksums.LIST}"):
        if file not in kept:
            files.remove(file)


def newest_first(folder: str) -> list[str]:
    """Returns the checkpoints in a folder, as paths without suffixes."""
    paths = [path.removesuffix(".index") for path in files.glob_in(folder, "ckpt-*.index")]
    return sorted(paths, key=lambda path: int(path.rpartition("-")[2]), reverse=True)


def newest_whole(folder: str, warn: Callable[[str], None] = lambda _: None) -> str | None:
    """Returns the newest checkpoint in a folder that is not damaged; None if there is none.

    Args:
      folder: Folder of the checkpoints.
      warn: Function that is called with a sentence about each damaged one.
    """
    for path in newest_first(folder):
        if not (told := damage(path)):
            return path
        warn(f"{told}; falling back to the checkpoint before it")
    return None


def best_whole(folder: str) -> str:
    """Returns the best checkpoint of a training, or the same one among the latest.

    Args:
      folder: Folder with `best` and `latest`.

    Raises:
      InputError: If there is none, or it is damaged in both places.
    """
    newest = newest_first(os.path.join(folder, "best"))
    if not newest:
        raise InputError(f"{folder} has no checkpoint; remove it to train again")
    same = os.path.join(folder, "latest", os.path.basename(newest[0]))
    for path in (newest[0], same):
        if files.exists(f"{path}.index") and not damage(path):
            return path
    raise InputError(f"{damage(newest[0])}; remove {folder} to train again")


def damage(path: str) -> str:
    """Returns what is wrong with a checkpoint; empty if nothing is.

    A training that was killed between a checkpoint and its checksums has left none: the checkpoint
    was complete, as TensorFlow renames it last.

    Args:
      path: Path of the checkpoint, without suffixes.
    """
    if not files.exists(f"{path}{checksums.LIST}"):
        return ""
    found = checksums.damage_by_list(path)
    return next((f"{file} {problem}" for file, problem in found.items()), "")
