"""The experiments, by name."""

from experiments import (
    addition,
    cells,
    code_attribution,
    images,
    memorisation,
    parity,
    stacked_vs_grid,
)
from experiments.experiment import Experiment

MODULES = (stacked_vs_grid, parity, addition, memorisation, images, code_attribution, cells)
EXPERIMENTS: dict[str, Experiment] = {one.EXPERIMENT.name: one.EXPERIMENT for one in MODULES}
