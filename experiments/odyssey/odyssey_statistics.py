"""Statistics of random searches: the best trials, Welch's test, and the shares of variance."""

import math
from collections.abc import Mapping, Sequence

import optuna
from scipy import stats

from experiments.framework.experiment import Row

optuna.logging.set_verbosity(optuna.logging.WARNING)

LEAST_BEST = 3
"""The smallest number of trials that count as the best of a variant."""


def best_trials(rows: Sequence[Row]) -> list[Row]:
    """Returns the best tenth of trials, and at least `LEAST_BEST`, by their validation loss.

    Args:
      rows: Rows of one variant and task.
    """
    count = max(LEAST_BEST, math.ceil(len(rows) / 10))
    return sorted(rows, key=lambda row: row["valid_loss"])[:count]


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the p-value of Welch's t-test that two samples have the same mean.

    >>> round(welch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), 3)
    1.0

    Args:
      first: One sample.
      second: The other; the variances may differ.
    """
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def variance_shares(
    rows: Sequence[Row], ranges: Mapping[str, tuple[float, float, bool]], seed: int = 0
) -> dict[str, float]:
    """Returns the share of the losses' variance that each setting explains by itself (fANOVA).

    Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance"
    (ICML 2014), as optuna has it. What the shares leave of 1 are interactions.

    Args:
      rows: Trials with their settings and `loss`.
      ranges: Per setting the least and largest value, and whether it was drawn log-uniformly.
      seed: Seed of the random forest. Default 0.
    """

    # optuna integrates over the values themselves, also where they are drawn log-uniformly.
    def placed(value: float, is_log: bool) -> float:
        return math.log10(value) if is_log else float(value)

    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(placed(least, is_log), placed(most, is_log))
        for name, (least, most, is_log) in ranges.items()
    }
    study = optuna.create_study()
    for row in rows:
        params = {name: placed(row[name], is_log) for name, (_, _, is_log) in ranges.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=row["loss"])
        )
    if len({row["loss"] for row in rows}) < 2:
        return dict.fromkeys(ranges, 0.0)  # no variance to explain
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = evaluator.evaluate(study)
    return {name: float(shares[name]) for name in ranges}
