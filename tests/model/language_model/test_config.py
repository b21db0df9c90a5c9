"""The configuration of a character model: contradictory options are refused in one line."""

import subprocess
import sys

import pytest
from conftest import PROJECT

from model.errors import InputError
from model.language_model.config import ModelConfig


@pytest.mark.parametrize(
    "options,problem",
    [
        ({"cells": ("lstm_peepole",)}, "no cell; did you mean lstm_peephole"),
        ({"cells": ("lstm",) * 3}, "cells names 3 cells; a grid net has one cell, or one of time"),
        ({"cells": ()}, "cells names 0 cells"),
        ({"cells": ("gru", "lstm"), "architecture": "stacked"}, "a stacked net has one cell"),
        ({"cells": ("tanh", "lstm")}, "'tanh' along time, which has no memory; use one of lstm,"),
        (
            {"architecture": "rhn", "layer_normalization": True},
            "layer_normalization needs the architecture grid, and the architecture is rhn; ",
        ),
        ({"architecture": "stacked", "mogrifier_rounds": 2}, "mogrifier_rounds needs the archi"),
        ({"mogrifier_rounds": -1}, "mogrifier_rounds is -1"),
        ({"mogrifier_rank": 0}, "mogrifier_rank is 0"),
        (
            {"cells": ("gru",), "output_equation": "tanh(o*m)"},
            "output_equation is 'tanh(o*m)', which only the cell lstm has; leave it out",
        ),
    ],
)
def test_contradictory_options_are_refused(options, problem):
    with pytest.raises(InputError) as raised:
        ModelConfig(**options)
    assert problem in str(raised.value) and "\n" not in str(raised.value)


def test_cells_of_time_and_depth_may_differ():
    assert ModelConfig(cells=("gru", "tanh")).cells == ("gru", "tanh")
    mixed = ModelConfig(cells=("lstm", "gru"), output_equation="tanh(o*m)")
    assert mixed.output_equation == "tanh(o*m)"


def test_a_configuration_is_checked_without_tensorflow():
    code = (
        "import sys; from model.language_model.config import ModelConfig;"
        "ModelConfig(cells=('gru',)); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
