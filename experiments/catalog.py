"""The experiments, by name."""

from experiments import addition, memorisation, parity, stacked_vs_grid
from experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (stacked_vs_grid, parity, addition, memorisation)
}
