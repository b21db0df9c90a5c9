"""The catalog of experiments, by name."""

from experiments import (
    addition,
    alternatives,
    cells,
    character_aware,
    code_attribution,
    connected_digits,
    depth,
    documents,
    highway,
    images,
    memorisation,
    odyssey,
    parity,
    recipe,
    rhn,
    sentences,
    speech,
    stacked_vs_grid,
    translation,
)
from experiments.experiment import Experiment

MODULES = (
    stacked_vs_grid,
    depth,
    alternatives,
    rhn,
    recipe,
    parity,
    addition,
    memorisation,
    images,
    highway,
    odyssey,
    speech,
    connected_digits,
    translation,
    character_aware,
    sentences,
    documents,
    code_attribution,
    cells,
)
EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES
}
