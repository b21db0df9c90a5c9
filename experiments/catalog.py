"""The experiments, by name."""

from experiments import addition, memorisation, parity
from experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in (parity, addition, memorisation)
}
