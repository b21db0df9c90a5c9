"""Plots are legible: their labels do not overlap, and no two lines differ by colour alone."""

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.characters import cells
from experiments.characters import stacked_vs_grid_report as stacked_vs_grid
from experiments.characters.probing import DIMENSIONS, GATES
from experiments.highway import highway_report
from experiments.tasks import parity

GATE_ROWS = [
    {"model": model, "gate": gate, "dimension": dimension, "layer": layer, **shares}
    for model, dimensions in (("grid 6x1000", DIMENSIONS), ("stacked 6x1000", DIMENSIONS[:1]))
    for gate in GATES
    for dimension in dimensions
    for layer in range(1, 7)
    for shares in ({"right": layer / 6, "left": 0.001 * layer},)
]
BIT_ROWS = [
    {"model": model, "bits": bits, "exact": 1.0, "examples": 19_200}
    for model in parity.MODELS
    for bits in (2, 4, 8)
]
CURVE_ROWS = [
    {
        "comparison": comparison, "model": model, "layers": 3, "units": units, "dropout": dropout,
        "seed": seed, "characters": characters, "loss": 3.0 + seed,
    }
    for comparison, units, dropout in (
        (stacked_vs_grid.MAIN, 96, 0.0),
        (stacked_vs_grid.MAIN, 96, 0.25),
        (stacked_vs_grid.WIDE, 111, 0.0),
    )
    for model in stacked_vs_grid.PRESETS
    for seed in (0, 1)
    for characters in (1000, 2000)
]  # fmt: skip

DEEP_NETS = [
    {"model": model, "depth": depth, "seed": 0, "training_loss": 0.01 * depth, "exact": 0.9}
    for model in (*highway_report.STYLES, highway_report.WIDE)
    for depth in (10, 100)
]
DEEP_TESTS = [
    {**row, "examples": examples, "training_loss": row["training_loss"] + 1 / examples}
    for row in DEEP_NETS
    for examples in (1000, 2000)
]


def look(line):
    """What tells a line from others in grey."""
    return line.get_linestyle(), line.get_marker(), line.get_markersize()


def labelled(axis):
    return [line for line in axis.lines if not line.get_label().startswith("_")]


def test_shares_of_gates_do_not_overlap():
    figure = cells.draw_gates({"gates": GATE_ROWS})
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    shown = 0
    for axis in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in [*axis.texts, axis.title]]
        boxes += [text.get_window_extent(renderer) for text in axis.get_yticklabels()]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        shown += len(axis.texts)
    assert shown == 2 * len(GATE_ROWS)
    assert [text.get_text() for text in figure.axes[0].texts[:6]] == [
        f"{100 * layer / 6:.0f}" for layer in range(1, 7)
    ]


def test_lines_that_coincide_can_be_told_apart():
    figure = parity.draw_examples({"nets": BIT_ROWS})
    drawn = [line for axis in figure.axes for line in labelled(axis)]
    assert len(drawn) == len(parity.MODELS)
    for axis in figure.axes:
        assert len(set(map(look, labelled(axis)))) == len(labelled(axis)) <= 2


def test_curves_are_told_apart_without_colour_in_a_legend_of_full_size():
    figure = stacked_vs_grid.draw_curves({"curves": CURVE_ROWS})
    (axis,) = figure.axes
    lines = labelled(axis)
    assert len({look(line) for line in lines}) == len(lines) == 6
    size = axis.xaxis.label.get_size()
    assert all(text.get_size() >= size for text in axis.get_legend().get_texts())


@pytest.mark.parametrize("draw", [highway_report.draw_learning, highway_report.draw_depths])
def test_deep_nets_are_told_apart_without_colour(draw):
    figure = draw({"nets": DEEP_NETS, "tests": DEEP_TESTS})
    assert len(figure.axes) == 2
    for axis in figure.axes:
        assert axis.get_yscale() == "log"
        assert {line.get_label() for line in axis.lines} == set(highway_report.STYLES)
        assert len({look(line) for line in axis.lines}) == len(highway_report.STYLES)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(highway_report.STYLES)


@pytest.mark.parametrize(
    "draw",
    [
        cells.draw_gates,
        stacked_vs_grid.draw_curves,
        highway_report.draw_learning,
        highway_report.draw_depths,
    ],
)
def test_pictures_are_no_wider_than_a_phone_can_show(draw):
    tables = {
        "gates": GATE_ROWS, "curves": CURVE_ROWS, "nets": DEEP_NETS, "tests": DEEP_TESTS
    }  # fmt: skip
    assert draw(tables).get_figwidth() <= 5.5
