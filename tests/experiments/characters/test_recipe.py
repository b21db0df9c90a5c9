"""The comparison of regularisations: what its trainings share, and its summary."""

import pytest

from experiments.characters import recipe
from experiments.framework.experiment import Inputs


@pytest.mark.parametrize("scale", recipe.SCALES)
def test_the_trainings_differ_in_the_variant_alone(scale):
    plain, *others = (
        point.measure.keywords["settings"]
        for point in recipe.points(scale, Inputs(text=None))
        if point.labels["seed"] == 0
    )
    assert plain == recipe.settings(recipe.SCALES[scale], recipe.PLAIN, 0)
    for variant, settings in zip(recipe.SCALES[scale].variants[1:], others, strict=True):
        changed = {
            name: value
            for section, base in zip(settings, plain, strict=True)
            for name, value in vars(section).items()
            if value != vars(base)[name]
        }
        assert changed == recipe.VARIANTS[variant]


def table(variant, seconds, by_seed):
    """Rows of curves and outcomes of a variant that validates every so many seconds."""
    curves = [
        {"model": variant, "seed": seed, "seconds": seconds * at, "characters": at, "loss": loss}
        for seed, losses in enumerate(by_seed)
        for at, loss in enumerate(losses, start=1)
    ]
    models = [
        {"model": variant, "seed": seed, "parameters": 10, "seconds": 3 * seconds}
        for seed in range(len(by_seed))
    ]
    return curves, models


def test_variants_are_ranked_at_equal_steps_and_compared_at_equal_time():
    plain = table(recipe.PLAIN, 1.0, [[3.0, 2.0, 2.1], [3.0, 2.2, 1.9]])
    slow = table("slow", 2.0, [[2.5, 2.4, 1.5], [2.5, 2.3, 1.7]])
    tables = {"curves": plain[0] + slow[0], "models": plain[1] + slow[1]}
    summary = recipe.summarize(tables)
    assert [row[0] for row in summary.rows] == ["slow", recipe.PLAIN]
    assert summary.rows[0][2:5] == ("1.6000", "1.5000 to 1.7000", "2.5000")
    assert summary.rows[1][2:5] == ("1.9500", "1.9000 to 2.0000", "1.9500")
    assert summary.header[4] == "in 3 s"
    assert summary.sentences[1].endswith(": slow.")
