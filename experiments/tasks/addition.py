"""Addition: a net reads two numbers, a digit per step, and writes their sum."""

import dataclasses

from experiments.tasks.algorithmic_tasks import Addition
from experiments.tasks.depth_sweep import DepthSweep, depth_experiment
from experiments.tasks.fitting import FitConfig

SMALL_FIT = FitConfig(
    examples=500_000, test_every=10_000, batch_size=16, learning_rate=0.01, cooldown=0.3
)

EXPERIMENT = depth_experiment(
    "addition",
    "Adding two numbers",
    "A tied 2-D Grid LSTM of 400 units learns to add 15-digit numbers almost without error, where "
    "stacked LSTMs do not (Kalchbrenner, Danihelka, Graves, 2015, section 4.2).",
    "digits",
    Addition,
    {
        "tiny": DepthSweep(
            sizes=(1,),
            layers=(2,),
            units=32,
            fit=FitConfig(examples=6_400, test_every=3_200, batch_size=64, learning_rate=0.01),
        ),
        "small": DepthSweep(
            sizes=(1, 2, 3, 4, 5, 7, 10, 15),
            layers=(1, 2),
            units=64,
            fit=SMALL_FIT,
            seeds=2,
            forget_bias=3.0,
            deeper=(
                DepthSweep(
                    sizes=(1,),
                    layers=(18,),
                    units=64,
                    fit=dataclasses.replace(SMALL_FIT, examples=200_000),
                    seeds=2,
                    forget_bias=3.0,
                ),
                DepthSweep(
                    sizes=(1, 2), layers=(6,), units=64, fit=SMALL_FIT, seeds=2, forget_bias=3.0
                ),
            ),
        ),
        "full": DepthSweep(
            sizes=(15,),
            layers=(1, 2, 5, 10, 18, 30, 50),
            units=400,
            fit=FitConfig(examples=5_000_000, test_every=10_000, batch_size=15),
            seeds=3,
        ),
    },
)
