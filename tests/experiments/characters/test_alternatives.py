"""The experiment on contexts: what is counted, and what the report says."""

import math

import pytest

from experiments.characters import alternatives
from experiments.framework.experiment import Inputs
from experiments.framework.scale import Scale
from model.language_model.config import ModelConfig
from pipeline.corpora.corpus import Mixture


def row(model, addition, units, seed, loss):
    return {
        "model": model, "addition": addition, "units": units, "seed": seed, "loss": loss,
        "parameters": 100 * units, "multiplications": 90 * units, "characters": 1000,
        "seconds": 2.0, "text": "3-grams",
    }  # fmt: skip


TABLES = {
    "models": [
        row("n-gram", "none", 0, 0, 2.0 * math.log(2)),
        row("stacked", "none", 8, 0, 1.5),
        row("stacked", "none", 8, 1, 1.4),
        row("stacked", "word", 8, 0, 1.3),
        row("stacked", "word", 8, 1, 1.35),
        row("stacked", "none", 16, 0, 1.2),
        row("stacked", "word", 16, 0, 1.26),
        row("grid", "none", 8, 0, 1.25),
        row("grid", "both", 8, 0, 1.0),
    ]
}


def test_the_report_compares_at_equal_width():
    summary = alternatives.summarize(TABLES)
    told = " ".join(summary.sentences)
    assert (
        "The addition word makes the loss of the LSTM 8.62% lower at 8 units, 5.00% higher at 16 "
        "units; every seed is below every seed without it at 1 of 2 widths." in told
    )
    assert "Both additions make the loss of the Grid LSTM 20.00% lower at 8 units" in told
    assert "come to 2.0000 bits per character; 6 of the 8 trained models are better" in told
    assert summary.rows[3][:5] == ("LSTM", "16", "word", "1,600", "1,440")
    assert len(summary.rows) == 7
    # It also reports what is measured so far.
    assert alternatives.summarize({"models": TABLES["models"][1:3]}).rows
    figure = alternatives.draw_widths(TABLES)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert {"none", "word", "n-grams"} <= lines.keys()
    styles = [(line.get_marker(), line.get_linestyle()) for line in lines.values()]
    assert len(set(styles)) == len(styles), "told apart without colour"


def test_multiplications_are_the_kernels_per_character():
    plain = alternatives.multiplications(ModelConfig("stacked", 1, 8), 10, 5.0)
    assert plain == 16 * 32 + 8 * 10
    output = ModelConfig("stacked", 1, 8, contexts=("output:4",))
    assert alternatives.multiplications(output, 10, 5.0) == plain
    word = ModelConfig("stacked", 1, 8, contexts=("word:5",))
    assert alternatives.multiplications(word, 10, 5.0) == plain + (10 * 20 + 5 * 8) / 5
    assert alternatives.characters_per_word(b"ab cde\nf ") == 3


@pytest.mark.parametrize("scale", list(alternatives.SCALES))
def test_every_addition_is_measured_at_every_width(scale: Scale):
    chosen = alternatives.SCALES[scale]
    points = alternatives.points(scale, Inputs(Mixture((), ())))
    nets = len(chosen.architectures) * len(chosen.units) * len(alternatives.ADDITIONS)
    assert len(points) == 1 + chosen.seeds * nets
    assert len({tuple(point.labels.items()) for point in points}) == len(points)
