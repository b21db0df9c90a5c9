"""Comparisons of recurrent cores: equal parameters, equal time, and how deep a core trains."""

import math

import pytest

from experiments.characters import core_comparison, depth, rhn
from experiments.characters.equal_time import lowest_losses
from experiments.characters.parameter_counts import VOCABULARY, parameters_of
from experiments.framework.experiment import Inputs, difference
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig


@pytest.mark.parametrize("experiment", [depth, rhn])
def test_all_cores_have_as_many_parameters(experiment):
    comparison = experiment.SCALES["small"]
    for point in experiment.EXPERIMENT.points("small", Inputs(text=None)):
        config: ModelConfig = point.measure.keywords["settings"].model
        parameters = CharacterModel(config, VOCABULARY).count_params()
        if config.architecture == "highway_lstm":  # its first layer has no memory below it
            parameters -= 2 * config.units**2 + 3 * config.units
        assert parameters == parameters_of(config)
        assert parameters == pytest.approx(comparison.parameters, rel=0.04), point.labels
        assert config.units == point.labels["units"]


@pytest.fixture
def tables():
    """Curves of two cores of which one takes twice the time for an update, and their outcomes."""
    curves, models = [], []
    for model, seconds, losses in (("grid", 2.0, [3.0, 2.0, 1.0]), ("rhn", 1.0, [2.9, 2.5, 2.4])):
        for seed in (0, 1):
            labels = {"model": model, "layers": 2, "units": 8, "seed": seed}
            for at, loss in enumerate(losses, start=1):
                curves.append({**labels, "seconds": seconds * at, "loss": loss + 0.1 * seed})
            row = {"loss": losses[-1] + 0.1 * seed, "parameters": 100, "seconds": 3 * seconds}
            models.append({**labels, **row})
    return {"curves": curves, "models": models}


def test_equal_time_ends_with_the_faster_core(tables):
    grid, other, seconds = lowest_losses(
        tables["curves"], "grid", "rhn", name_of=lambda row: row["model"]
    )
    assert seconds == 3.0
    assert grid == pytest.approx(3.05) and other == pytest.approx(2.45)


def test_the_summary_has_means_over_seeds_in_bits(tables):
    assert core_comparison.losses(tables, "grid") == {2: pytest.approx(1.05)}
    summary = core_comparison.summary(tables, [])
    assert [row[:2] for row in summary.rows] == [("recurrent highway", "2"), ("grid LSTM", "2")]
    assert summary.rows[1][4] == f"{1.05 / math.log(2):.4f}"
    assert difference(1.05, 2.45) == "57.14% lower"


def test_nets_that_do_not_train_do_not_count_as_trained():
    losses = {1: 2.0, 2: 1.9, 5: 2.05, 10: 3.2, 12: 1.95}
    models = [
        {"model": "grid", "layers": layers, "seed": 0, "loss": loss}
        for layers, loss in losses.items()
    ]
    assert core_comparison.deepest_trained({"models": models}, "grid") == 5
