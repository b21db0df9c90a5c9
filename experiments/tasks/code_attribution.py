"""Code attribution: classification of lines of code by the project they are from."""

from experiments.tasks.classification import Benchmark, classification_experiment
from experiments.tasks.finite_tasks import CodeAttribution
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net

EXPERIMENT = classification_experiment(
    "code-attribution",
    "The project of a line of code",
    "A grid gathers a sequence in the cell that is last in time and highest in depth, from which a "
    "classifier reads (Kalchbrenner, Danihelka, Graves, 2015, section 3).",
    {
        "tiny": [
            Benchmark(
                task=CodeAttribution(length=24, lines=400),
                nets={
                    "grid": [Net(architecture="grid", layers=1, units=16)],
                    "stacked": [Net(architecture="stacked", layers=1, units=16)],
                },
                fit=FitConfig(examples=1_600, test_every=800, batch_size=32, learning_rate=0.01),
            )
        ],
        "small": [
            Benchmark(
                task=CodeAttribution(length=40, lines=10_000),
                nets={
                    "grid": [
                        Net(architecture="grid", layers=layers, units=64, forget_bias=2.0)
                        for layers in (1, 2)
                    ],
                    "grid, tied": [
                        Net(architecture="grid", layers=2, units=64, tied=True, forget_bias=2.0)
                    ],
                    "stacked": [
                        Net(architecture="stacked", layers=layers, units=64, forget_bias=2.0)
                        for layers in (1, 2)
                    ],
                },
                fit=FitConfig(
                    examples=128_000,
                    test_every=12_800,
                    batch_size=32,
                    learning_rate=0.005,
                    cooldown=0.5,
                ),
                seeds=2,
            )
        ],
        "full": [
            Benchmark(
                task=CodeAttribution(length=128, lines=50_000),
                nets={
                    "grid": [
                        Net(architecture="grid", layers=layers, units=512)
                        for layers in (1, 2, 4, 6)
                    ],
                    "grid, tied": [
                        Net(architecture="grid", layers=layers, units=512, tied=True)
                        for layers in (2, 4, 6)
                    ],
                    "stacked": [
                        Net(architecture="stacked", layers=layers, units=512)
                        for layers in (1, 2, 4, 6)
                    ],
                },
                fit=FitConfig(examples=10_000_000, test_every=100_000, batch_size=128),
                seeds=3,
            )
        ],
    },
)
