"""The history of a training by passes over its data, and the perplexity of what it predicts."""

import csv
import math
from collections.abc import Sequence

from experiments.framework.experiment import Row

HISTORY = "history.csv"


def perplexity_of(nats: float, words: float) -> float:
    """Returns e^(nats / words), and infinity where nats is no number.

    Args:
      nats: Sum of -ln p over the words.
      words: Number of words.
    """
    return math.exp(min(nats / words, 700.0)) if math.isfinite(nats) else math.inf


def read_history(path: str) -> list[Row]:
    """Returns the rows of a history, one per pass.

    Args:
      path: Path of the file.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def write_history(path: str, rows: Sequence[Row]) -> None:
    """Writes a history.

    Args:
      path: Path of the file.
      rows: A row per pass, of which `epoch` is the number.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
