"""Presets: those of the Torch7 experiment are what it says it ran."""

import re

import pytest

from model.errors import InputError
from model.language_model.character_model import CharacterModel
from pipeline.settings import load_preset, preset_names
from pipeline.training.learner import make_optimizer


@pytest.mark.parametrize("kind,layers", [("stacked", 3), ("stacked", 6), ("grid", 3), ("grid", 6)])
def test_the_seed_experiment(kind, layers):
    data, model, training, run, _ = load_preset(f"enwik8-{kind}{layers}")
    assert run.corpus == ("enwik8",)
    assert (model.architecture, model.layers, model.units, model.dropout) == (
        kind,
        layers,
        1000,
        0.25,
    )
    assert (model.init_scale, model.forget_bias) == (0.08, 1.0)
    assert kind == "stacked" or (model.tied, model.depth_priority) == ("depth", True)
    assert (training.batch_size, training.window, training.clip_value) == (50, 50, 5.0)
    assert (training.decay_rate, training.decay_after, data.train_fraction) == (0.97, 10, 0.95)
    optimizer = make_optimizer(training, 100, 1000)
    assert (type(optimizer).__name__, optimizer.rho) == ("RMSprop", 0.95)


@pytest.mark.parametrize(
    "tied,parameters",
    [("none", 2 * 2 * (16 * 32 + 32)), ("depth", 3 * (16 * 32 + 32)), ("all", 2 * (16 * 32 + 32))],
)
def test_tying_shares_parameters(tied, parameters):
    config = load_preset("demo", {"layers": 2, "units": 8, "tied": tied}).model
    model = CharacterModel(config, 5)
    outside = 6 * 16 + 8 * 5 + 5
    assert model.count_params() == parameters + outside


def test_every_preset_loads():
    assert "demo" in preset_names()
    for name in preset_names():
        load_preset(name)


@pytest.mark.parametrize(
    "text,problem",
    [
        ("[model]\nlairs = 3\n", "unknown parameter lairs in [model]; did you mean layers?"),
        ("[modell]\n", "unknown section [modell]; did you mean model?"),
        ("model = [", "is no TOML file"),
    ],
)
def test_a_wrong_preset_is_refused(tmp_path, text, problem):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(problem)):
        load_preset(str(path))
