"""The catalog of experiments, by name."""

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
EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES
}
