"""Trainings by passes over their data, of which one that was killed resumes.

history.csv    a row per pass
checkpoints/   the state after the last pass
"""

import os
from collections.abc import Callable

import tensorflow as tf

from common.progress import progress_bar
from experiments.framework.epoch_history import HISTORY, read_history, write_history
from experiments.framework.experiment import Row

CHECKPOINTS = "checkpoints"


def run_passes(
    directory: str,
    title: str,
    checkpoint: tf.train.Checkpoint,
    epochs: int,
    one_pass: Callable[[list[Row]], Row],
    note: Callable[[Row], str],
) -> list[Row]:
    """Runs the passes of a training that are left, and saves the state after each.

    Args:
      directory: Directory of the history and of the checkpoints.
      title: Title of the progress bar.
      checkpoint: What a training resumes from: its net and its optimizer.
      epochs: Number of all passes.
      one_pass: Function that trains once over the data, given the rows of the passes before, and
        returns what is to be recorded of it, with `seconds`, those that the pass took.
      note: Function of a row that returns what the progress bar says of the pass.

    Returns:
      The rows of all passes, in order, each with its number, `epoch`, from 1; their `seconds` are
      those of the training so far.
    """
    checkpoints = tf.train.CheckpointManager(
        checkpoint, os.path.join(directory, CHECKPOINTS), max_to_keep=2
    )
    history = os.path.join(directory, HISTORY)
    rows: list[Row] = []
    if checkpoints.latest_checkpoint:
        checkpoint.restore(checkpoints.latest_checkpoint)
        rows = read_history(history)[: int(checkpoints.latest_checkpoint.rpartition("-")[2])]
    with progress_bar(title, "passes") as progress:
        for epoch in range(len(rows) + 1, epochs + 1):
            row = one_pass(rows)
            before = rows[-1]["seconds"] if rows else 0.0
            rows.append({"epoch": epoch, **row, "seconds": round(before + row["seconds"], 3)})
            write_history(history, rows)
            checkpoints.save(epoch)
            progress(epoch, epochs, note(rows[-1]))
    return rows
