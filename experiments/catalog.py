"""The catalog of experiments, by name."""

from experiments.characters import alternatives, cells, depth, recipe, rhn, stacked_vs_grid
from experiments.documents import documents
from experiments.framework.experiment import Experiment
from experiments.highway import highway
from experiments.odyssey import odyssey
from experiments.sentences import sentences
from experiments.speech import connected_digits, speech
from experiments.tasks import addition, code_attribution, images, memorisation, parity
from experiments.translation import translation
from experiments.words import character_aware

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
