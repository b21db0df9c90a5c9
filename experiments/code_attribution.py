"""Authors: which project a line of code is from, read from the last cell, top right."""

from experiments.classification import Benchmark, classification_experiment
from experiments.finite_tasks import Authors
from experiments.fitting import FitConfig
from experiments.nets import Net

EXPERIMENT = classification_experiment(
    "authors",
    "Who wrote a line",
    "A grid gathers a sequence in the cell that is last in time and highest in depth, from which a "
    "classifier reads (Kalchbrenner, Danihelka, Graves, 2015, section 3).",
    {
        "tiny": Benchmark(
            Authors(length=24, lines=400),
            {"grid": [Net("grid", 1, 16)], "stacked": [Net("stacked", 1, 16)]},
            FitConfig(examples=1_600, test_every=800, batch_size=32, learning_rate=0.01),
        ),
        "small": Benchmark(
            Authors(length=40, lines=10_000),
            {
                "grid": [Net("grid", layers, 64, forget_bias=2.0) for layers in (1, 2)],
                "grid, tied": [Net("grid", 2, 64, tied=True, forget_bias=2.0)],
                "stacked": [Net("stacked", layers, 64, forget_bias=2.0) for layers in (1, 2)],
            },
            FitConfig(
                examples=128_000,
                test_every=12_800,
                batch_size=32,
                learning_rate=0.005,
                cooldown=0.5,
            ),
            seeds=2,
        ),
        "full": Benchmark(
            Authors(length=128, lines=50_000),
            {
                "grid": [Net("grid", layers, 512) for layers in (1, 2, 4, 6)],
                "grid, tied": [Net("grid", layers, 512, tied=True) for layers in (2, 4, 6)],
                "stacked": [Net("stacked", layers, 512) for layers in (1, 2, 4, 6)],
            },
            FitConfig(examples=10_000_000, test_every=100_000, batch_size=128),
            seeds=3,
        ),
    },
)
