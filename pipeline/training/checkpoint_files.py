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
