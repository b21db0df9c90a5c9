"""The search for the settings of a preset."""

import math

import pytest
from commands import run_module

from experiments.characters import tuning
from experiments.characters.tuning import Choice, Trial


@pytest.mark.slow
def test_a_search_goes_on_where_it_was(corpus_file, tmp_path):
    preset = tmp_path / "small.toml"
    preset.write_text(
        'base = "demo"\n[model]\nlayers = 1\nunits = 8\n'
        "[training]\nwarmup_steps = 2\nvalidation_characters = 2000\n"
    )
    command = ["experiments", "tune", preset, "--corpus", corpus_file, "--root", tmp_path / "root"]
    for trials in (2, 3):
        finished = run_module(*command, "--trials", trials, "--seconds", 0.2)
        assert finished.returncode == 0, finished.stderr
    (folder,) = (tmp_path / "root" / "tuning").iterdir()
    done = tuning.read_trials(folder)
    assert len(done) == 3
    assert all(math.isfinite(one.loss) and one.steps >= tuning.TIMED_STEPS for one in done)
    assert len({one.choice for one in done}) > 1
    assert tuning.table(done, str(preset), 0.2) == (folder / tuning.TABLE).read_text()
    assert (folder / tuning.PLOT).read_text().startswith("<?xml")


def test_the_best_trial_comes_first_and_a_diverged_one_last():
    losses = {16: 2.0, 32: math.inf, 64: 1.5}
    trials = [Trial(Choice(0.01, 32, window), 100, loss, 1.0) for window, loss in losses.items()]
    assert [one.choice.window for one in tuning.ranked(trials)] == [64, 16, 32]
    rows = tuning.table(trials, "demo", 60).splitlines()
    assert rows[0] == "3 trials of the preset `demo`, each trained for 60 seconds:"
    assert rows[-1].startswith("| 0.01 | 32 | 32 | 100 | inf")


def test_an_unknown_preset_is_refused_before_the_search(tmp_path):
    finished = run_module("experiments", "tune", "demmo", "--root", tmp_path / "root")
    assert finished.returncode == 2
    assert "error: there is no preset demmo" in finished.stderr
    assert not (tmp_path / "root").exists()
