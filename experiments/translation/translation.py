"""Translation by 3-D grids, beside LSTM encoder-decoders of as many parameters."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from experiments.framework.experiment import Experiment, Inputs, Plot, Point
from experiments.framework.scale import Scale
from experiments.translation import translation_trial
from experiments.translation.translation_nets import BASELINE, NETS, REENCODER
from experiments.translation.translation_report import (
    draw_alignments,
    draw_curves,
    draw_lengths,
    summarize,
)
from experiments.translation.translation_training import TrainConfig
from experiments.translation.translation_trial import TrialConfig


class Comparison(NamedTuple):
    """The comparison at one scale.

    Attributes:
      trial: What all nets have in common.
      seeds: Number of trainings of each net.
      nets: Names of the nets, those that take longest first.
    """

    trial: TrialConfig
    seeds: int
    nets: Sequence[str] = tuple(NETS)


SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        TrialConfig(
            source="generated",
            parameters=10_000,
            least_count=1,
            train=TrainConfig(epochs=6, learning_rate=0.01),
            dropout=0.0,
            beam_width=2,
            max_words=8,
            length_power=1.0,
        ),
        seeds=1,
        nets=(REENCODER, BASELINE),
    ),
    "small": Comparison(
        TrialConfig(
            source="tanaka-ja-en",
            parameters=1_500_000,
            least_count=2,
            train=TrainConfig(epochs=6, batch_size=64, learning_rate=0.004),
            dropout=0.0,
            beam_width=4,
            max_words=32,
            length_power=0.6,
        ),
        seeds=1,
    ),
    "full": Comparison(
        TrialConfig(
            source="tanaka-ja-en",
            parameters=12_000_000,
            least_count=2,
            train=TrainConfig(epochs=40, learning_rate=0.001),
            dropout=0.5,
            beam_width=20,
            max_words=32,
            length_power=0.6,
        ),
        seeds=3,
    ),
}


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per seed and net."""
    comparison = SCALES[scale]
    made = []
    for seed, net in itertools.product(inputs.seeds(comparison.seeds), comparison.nets):
        measured = partial(
            translation_trial.measure,
            net=net,
            seed=seed,
            config=comparison.trial,
            folder=inputs.data,
        )
        made.append(Point(labels={"model": net, "seed": seed}, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="translation",
    title="Translation by grids over source, target and depth",
    claim="The Reencoder, a translation model of grids over both sentences, without attention and "
    "without a vector that stands for the source, outperforms a phrase-based reference system on "
    "Chinese to English (Kalchbrenner, Danihelka, Graves, arXiv 1507.01526).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="curves",
            caption="Perplexity on the dev part during the training, by passes and by time.",
            draw=draw_curves,
        ),
        Plot(
            name="lengths",
            caption="BLEU on the test part by the number of words of the source; first seed.",
            draw=draw_lengths,
        ),
        Plot(
            name="alignments",
            caption="Norm of the gradient of ln p of each word of the reference by the embedding "
            "of each source word, relative to the largest of its row: the Reencoder, which has no "
            "attention.",
            draw=draw_alignments,
        ),
    ),
    outcomes="nets",
    data_sets={"small": ("tanaka-ja-en",), "full": ("tanaka-ja-en",)},
)
