"""Widths of nets of as many parameters, against all widths tried one by one."""

from typing import get_args

import pytest
from seeds import generator

from experiments.characters import core_comparison
from experiments.framework.widths import nearest_width
from experiments.speech import speech_nets
from model.language_model.config import Architecture


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_no_other_width_of_a_core_comes_nearer(architecture):
    counts = {n: core_comparison._parameters(architecture, 3, n) for n in range(1, 40)}
    for wanted in generator().integers(100, counts[38], 5):
        found = core_comparison.width_of(architecture, 3, int(wanted))
        assert abs(counts[found] - wanted) == min(abs(one - wanted) for one in counts.values())


@pytest.mark.parametrize("name", ["LSTM", "grid up and down + LSTM", "3-D grid"])
def test_no_other_width_of_a_net_comes_nearer(name):
    found = speech_nets.width_of(name, 20_000)
    distances = {
        units: abs(speech_nets.build(name, units).count_params() - 20_000)
        for units in (found - 1, found, found + 1)
    }
    assert distances[found] == min(distances.values())


def test_the_smallest_width_is_1():
    assert nearest_width(3, lambda units: 8 * units**2 + 4 * units + 100) == 1
