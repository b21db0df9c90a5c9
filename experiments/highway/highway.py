"""Highway networks: deep feed-forward nets with gated, residual and no connections on digits."""

import dataclasses
from collections.abc import Sequence
from functools import partial

from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point
from experiments.framework.scale import Scale
from experiments.highway.highway_analysis import analyse
from experiments.highway.highway_report import (
    CLASSES,
    GRID,
    HIGHWAY,
    LAYERWISE,
    PLAIN,
    RESIDUAL,
    WIDE,
    draw_classes,
    draw_depths,
    draw_learning,
    draw_lesions,
    draw_units,
    summarize,
)
from experiments.tasks import random_search
from experiments.tasks.finite_tasks import DigitVectors
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Architecture, Net
from experiments.tasks.random_search import Search
from pipeline.store.artifacts import Store

MODELS: dict[str, Architecture] = {
    GRID: "grid",  # first, as it takes the longest
    HIGHWAY: "highway",
    LAYERWISE: "highway_layerwise",
    RESIDUAL: "residual",
    PLAIN: "plain",
}

EPOCH = 60_000
"""Number of training images of MNIST."""


@dataclasses.dataclass(frozen=True)
class Study:
    """The comparison at one scale.

    Attributes:
      task: Task.
      depths: Depths of every model, the input projection included.
      units: Width of the highway nets; the others have as many parameters per layer.
      wide: Depth and width of a further highway net.
      analysed: Depth of the highway net whose gates are analysed.
      search: Search of the settings of each net.
      seeds: Number of searches for each net. Default 1.
    """

    task: DigitVectors
    depths: Sequence[int]
    units: int
    wide: tuple[int, int]
    analysed: int
    search: Search
    seeds: int = 1


def _search(trials: int, trial: int, fit: int, test_every: int, batch_size: int = 128) -> Search:
    """Returns a search whose trials and final fit have these numbers of training examples."""
    config = FitConfig(trial, trial, batch_size, until_learned=False)
    final = dataclasses.replace(config, examples=fit, test_every=test_every, keep_weights=True)
    return Search(trials, config, final)


SCALES: dict[Scale, Study] = {
    "tiny": Study(
        task=DigitVectors("digits"),
        depths=(4,),
        units=16,
        wide=(4, 32),
        analysed=4,
        search=_search(2, trial=1_280, fit=3_840, test_every=1_280, batch_size=64),
    ),
    "small": Study(
        task=DigitVectors("mnist"),
        depths=(10, 20, 50, 100),
        units=50,
        wide=(10, 200),
        analysed=50,
        search=_search(8, trial=EPOCH, fit=15 * EPOCH, test_every=EPOCH),
    ),
    "full": Study(
        task=DigitVectors("mnist"),
        depths=(10, 20, 50, 100),
        units=50,
        wide=(10, 400),
        analysed=50,
        search=_search(40, trial=10 * EPOCH, fit=400 * EPOCH, test_every=EPOCH),
        seeds=3,
    ),
}


def parameters(architecture: Architecture, units: int) -> int:
    """Returns the number of parameters of one layer between the input and the output."""
    own = units * (units + 1)
    if architecture == "highway":
        return 2 * own
    if architecture == "highway_layerwise":
        return own + units + 1
    return 4 * own if architecture == "grid" else own


def equal_width(architecture: Architecture, units: int) -> int:
    """Returns the width of a net with about as many parameters per layer as a highway net.

    >>> equal_width("plain", 50)
    71

    Args:
      architecture: Architecture of the net.
      units: Width of the highway net.
    """
    wanted = parameters("highway", units)
    widths = range(1, 2 * units)
    return min(widths, key=lambda width: abs(parameters(architecture, width) - wanted))


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per depth, model and seed, and one for the wide net; deepest first."""
    study = SCALES[scale]
    task = study.task.in_folder(inputs.data)

    def point(model: str, depth: int, units: int, seed: int) -> Point:
        measure = partial(
            measure_net,
            task=task,
            net=Net(architecture=MODELS.get(model, "highway"), layers=depth - 1, units=units),
            search=study.search,
            seed=seed,
            is_analysed=(model, depth) == (HIGHWAY, study.analysed),
        )
        return Point(labels={"model": model, "depth": depth, "seed": seed}, measure=measure)

    points = []
    for seed in inputs.seeds(study.seeds):
        for depth in sorted(study.depths, reverse=True):
            for model, architecture in MODELS.items():
                points.append(point(model, depth, equal_width(architecture, study.units), seed))
        points.append(point(WIDE, *study.wide, seed))
    return points


def measure_net(
    store: Store, task: DigitVectors, net: Net, search: Search, seed: int, is_analysed: bool
) -> Measurement:
    """Searches for the settings of a net, fits it with the best, and analyses it if asked to.

    Args:
      store: Store of the artifacts, held by this process.
      task: Task to learn.
      net: Net to train.
      search: Search of its settings.
      seed: Seed of the search.
      is_analysed: Whether the gates of the net are analysed.
    """
    found = random_search.run(store, task, net, search, seed)
    if not is_analysed:
        return found.measurement
    tables = {**found.measurement.tables, **analyse(found, task, CLASSES)}
    return found.measurement._replace(tables=tables)


EXPERIMENT = Experiment(
    name="highway",
    title="Highway networks: depth without recurrence",
    claim="Plain nets stop training as their depth grows from 10 to 100 layers, highway nets do "
    "not; most gates of a trained net of 50 layers stay closed, what differs between digits is "
    "decided in the first 15 or so, and few layers can be closed without harm there (Srivastava, "
    "Greff, Schmidhuber, arXiv 1505.00387 and 1507.06228).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="learning",
            caption="Training loss over the training examples, of each net with the best of the "
            "settings tried.",
            draw=draw_learning,
        ),
        Plot(
            name="depths",
            caption="Training loss and test error at the end, by depth.",
            draw=draw_depths,
        ),
        Plot(
            name="units",
            caption="A trained highway net, by layer and unit: the biases of the transform gates, "
            "which all began at the same value; the mean gate over the test images; the gates and "
            "the outputs of the blocks for one image.",
            draw=draw_units,
        ),
        Plot(
            name="classes",
            caption="Mean gates over the test images of one digit, minus the mean over all images.",
            draw=draw_classes,
        ),
        Plot(
            name="lesions",
            caption="Test error when the transform gates of one layer are set to 0, without "
            "further training.",
            draw=draw_lesions,
        ),
    ),
    data_sets={"small": ("mnist",), "full": ("mnist",)},
)
