"""Images: a grid over patches, two spatial dimensions and depth, read from its last cell."""

from experiments.classification import Benchmark, classification_experiment
from experiments.finite_tasks import DigitImages
from experiments.fitting import FitConfig
from experiments.nets import Net

EXPERIMENT = classification_experiment(
    "images",
    "Images of digits",
    "A 3-D Grid LSTM over patches comes to an error of 0.32% on MNIST (Kalchbrenner, Danihelka, "
    "Graves, arXiv 1507.01526v1).",
    {
        "tiny": Benchmark(
            DigitImages("digits", 4),
            {"grid": [Net("grid", 1, 16)], "tanh": [Net("tanh", 1, 16)]},
            FitConfig(examples=3_200, test_every=1_600, batch_size=32, learning_rate=0.01),
        ),
        "small": Benchmark(
            DigitImages("digits", 2),
            {
                "grid": [Net("grid", layers, 48) for layers in (1, 2, 4)],
                "grid, tied": [Net("grid", layers, 48, tied=True) for layers in (2, 4)],
                "tanh": [Net("tanh", layers, 96) for layers in (1, 2, 4)],
            },
            FitConfig(examples=48_000, test_every=3_200, batch_size=32, learning_rate=0.003),
            seeds=2,
        ),
        "full": Benchmark(
            DigitImages("mnist", 4),
            {
                "grid": [Net("grid", layers, 200) for layers in (1, 2, 4)],
                "grid, tied": [Net("grid", layers, 200, tied=True) for layers in (2, 4)],
                "tanh": [Net("tanh", layers, 400) for layers in (1, 2, 4)],
            },
            FitConfig(examples=3_000_000, test_every=60_000, batch_size=128),
            seeds=3,
        ),
    },
)
