"""Classification of images by a grid over patches, with two spatial dimensions and depth."""

from experiments.tasks.classification import Benchmark, classification_experiment
from experiments.tasks.finite_tasks import DigitImages
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net

EXPERIMENT = classification_experiment(
    "images",
    "Images of digits",
    "A 3-D Grid LSTM over patches comes to an error of 0.32% on MNIST (Kalchbrenner, Danihelka, "
    "Graves, arXiv 1507.01526v1).",
    {
        "tiny": [
            Benchmark(
                task=DigitImages(source="digits", patch=4),
                nets={
                    "grid": [Net(architecture="grid", layers=1, units=16)],
                    "tanh": [Net(architecture="tanh", layers=1, units=16)],
                },
                fit=FitConfig(examples=3_200, test_every=1_600, batch_size=32, learning_rate=0.01),
            )
        ],
        "small": [
            # First, as its nets take the longest.
            Benchmark(
                task=DigitImages(source="mnist", patch=4),
                nets={
                    "grid on MNIST": [
                        Net(architecture="grid", layers=layers, units=48) for layers in (2, 1)
                    ]
                },
                fit=FitConfig(
                    examples=480_000,
                    test_every=60_000,
                    batch_size=64,
                    learning_rate=0.003,
                    cooldown=0.7,
                ),
            ),
            Benchmark(
                task=DigitImages(source="digits", patch=2),
                nets={
                    "grid": [
                        Net(architecture="grid", layers=layers, units=48) for layers in (1, 2, 4)
                    ],
                    "grid, tied": [
                        Net(architecture="grid", layers=layers, units=48, tied=True)
                        for layers in (2, 4)
                    ],
                    "tanh": [
                        Net(architecture="tanh", layers=layers, units=96) for layers in (1, 2, 4)
                    ],
                },
                fit=FitConfig(
                    examples=48_000, test_every=3_200, batch_size=32, learning_rate=0.003
                ),
                seeds=2,
            ),
        ],
        "full": [
            Benchmark(
                task=DigitImages(source="mnist", patch=4),
                nets={
                    "grid": [
                        Net(architecture="grid", layers=layers, units=200) for layers in (1, 2, 4)
                    ],
                    "grid, tied": [
                        Net(architecture="grid", layers=layers, units=200, tied=True)
                        for layers in (2, 4)
                    ],
                    "tanh": [
                        Net(architecture="tanh", layers=layers, units=400) for layers in (1, 2, 4)
                    ],
                },
                fit=FitConfig(examples=3_000_000, test_every=60_000, batch_size=128),
                seeds=3,
            )
        ],
    },
)
