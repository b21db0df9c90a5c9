"""Memorisation: a net reads a sequence of symbols and then repeats it."""

from experiments.tasks.algorithmic_tasks import Memorisation
from experiments.tasks.depth_sweep import DepthSweep, depth_experiment
from experiments.tasks.fitting import FitConfig

SMALL_FIT = FitConfig(
    examples=200_000, test_every=10_000, batch_size=16, learning_rate=0.005, cooldown=0.4
)

EXPERIMENT = depth_experiment(
    "memorisation",
    "Memorising a sequence",
    "A tied 2-D Grid LSTM of 100 units repeats 20 symbols out of 64 almost without error, where "
    "stacked LSTMs do not (Kalchbrenner, Danihelka, Graves, 2015, section 4.3).",
    "symbols",
    Memorisation,
    {
        "tiny": DepthSweep(
            sizes=(2,),
            layers=(2,),
            units=32,
            fit=FitConfig(examples=6_400, test_every=3_200, batch_size=64, learning_rate=0.01),
        ),
        "small": DepthSweep(
            sizes=(5, 10, 20),
            layers=(1, 2),
            units=64,
            fit=SMALL_FIT,
            seeds=2,
            forget_bias=4.0,
            deeper=(
                DepthSweep(
                    sizes=(5,), layers=(6,), units=64, fit=SMALL_FIT, seeds=2, forget_bias=4.0
                ),
            ),
        ),
        "full": DepthSweep(
            sizes=(20,),
            layers=(1, 2, 5, 10, 20, 30, 43, 50),
            units=100,
            fit=FitConfig(examples=5_000_000, test_every=10_000, batch_size=15),
            seeds=3,
        ),
    },
)
