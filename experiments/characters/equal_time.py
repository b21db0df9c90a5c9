"""The comparison of two models at equal time of training."""

import math
from collections.abc import Callable, Sequence
from statistics import mean

from experiments.framework.experiment import Row, distinct


def lowest_losses(
    curves: Sequence[Row], first: str, second: str, name_of: Callable[[Row], str]
) -> tuple[float, float, float]:
    """Returns the lowest losses of two models until the fastest training of either ends.

    Args:
      curves: Rows with `seed`, `seconds` and `loss`, one per validation.
      first: Name of one model.
      second: Name of the other.
      name_of: Function of a row to the name of its model.

    Returns:
      Both losses, means over the seeds of the lowest loss of each, and the seconds. A loss is NaN
      if no validation of a model was that early.
    """
    rows = [row for row in curves if name_of(row) in (first, second)]
    end = min(
        max(row["seconds"] for row in rows if (name_of(row), row["seed"]) == (model, seed))
        for model in (first, second)
        for seed in distinct(rows, "seed")
    )
    means = []
    for model in (first, second):
        best: dict[int, float] = {}
        for row in rows:
            if name_of(row) == model and row["seconds"] <= end:
                best[row["seed"]] = min(best.get(row["seed"], math.inf), row["loss"])
        means.append(mean(best.values()) if best else math.nan)
    return means[0], means[1], end
