"""The search space odyssey: variants of the LSTM, and the grid, by random search."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from experiments.characters import language_models
from experiments.framework.experiment import Experiment, Inputs, Plot, Point
from experiments.framework.scale import Scale
from experiments.odyssey import odyssey_trial
from experiments.odyssey.odyssey_report import (
    VARIANTS,
    draw_learning_rates,
    draw_map,
    draw_variants,
    summarize,
)
from experiments.odyssey.odyssey_trial import Budget
from experiments.odyssey.sequence_data import SequenceSource, SequenceTask
from pipeline.settings import DataConfig
from pipeline.store.artifacts import Store


class Search(NamedTuple):
    """The search at one scale.

    Attributes:
      variants: Names of the variants.
      trials: Number of trials of each variant and task.
      budgets: How long a trial trains, by its task.
      characters: Number of characters of the text that are used.
    """

    variants: Sequence[str]
    trials: int
    budgets: Mapping[SequenceTask, Budget]
    characters: int


SCALES: dict[Scale, Search] = {
    "tiny": Search(
        variants=("lstm_peephole", "lstm_coupled_gates", "grid"),
        trials=3,
        budgets={"characters": Budget(epochs=1, patience=1)},
        characters=6_000,
    ),
    "small": Search(
        variants=tuple(VARIANTS),
        trials=8,
        budgets={
            "chorales": Budget(epochs=15, patience=4),
            "spoken digits": Budget(epochs=4, patience=2),
            "characters": Budget(epochs=3, patience=2, batch_size=32),
        },
        characters=120_000,
    ),
    "full": Search(
        variants=tuple(VARIANTS),
        trials=200,
        budgets={
            "chorales": Budget(epochs=500, patience=15, batch_size=1),
            "spoken digits": Budget(epochs=150, patience=15, batch_size=1),
            "characters": Budget(epochs=50, patience=5, batch_size=32),
        },
        characters=5_000_000,
    ),
}


def source(task: SequenceTask, search: Search, inputs: Inputs) -> SequenceSource:
    """Returns where the sequences of a task come from."""
    if task == "characters":
        return SequenceSource(task, text=inputs.text, characters=search.characters)
    return SequenceSource(task, folder=inputs.data)


def prepare(store: Store, scale: Scale, inputs: Inputs) -> None:
    """Writes the examples of the text, which all trials on characters read."""
    if "characters" in SCALES[scale].budgets:
        language_models.examples_of(store, inputs.text, DataConfig())


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per task, trial and variant; all variants try the same settings."""
    search = SCALES[scale]
    (seed,) = inputs.seeds(1)
    made = []
    for task, trial, variant in itertools.product(
        search.budgets, range(search.trials), search.variants
    ):
        measure = partial(
            odyssey_trial.measure,
            variant=variant,
            settings=odyssey_trial.draw(seed, trial),
            budget=search.budgets[task],
            seed=seed,
            source=source(task, search, inputs),
        )
        labels = {"task": task, "variant": variant, "trial": trial, "seed": seed}
        made.append(Point(labels=labels, measure=measure))
    return made


EXPERIMENT = Experiment(
    name="odyssey",
    title="Variants of the LSTM: a search space odyssey",
    claim="No variant of the LSTM is clearly better than the vanilla one; forget gate and output "
    "activation matter most; the learning rate explains more than two thirds of the variance of "
    "the test loss, and settings hardly interact (Greff, Srivastava, Koutnik, Steunebrink, "
    "Schmidhuber, arXiv 1503.04069).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="variants",
            caption="Test loss of the best trials of each variant: the range, the quartiles, the "
            "median, and each trial.",
            draw=draw_variants,
        ),
        Plot(
            name="learning-rates",
            caption="Test loss of every trial by its learning rate, and the median of each decade.",
            draw=draw_learning_rates,
        ),
        Plot(
            name="map",
            caption="Test loss by learning rate and units, of all variants; the darker, the lower.",
            draw=draw_map,
        ),
    ),
    outcomes="trials",
    prepare=prepare,
    data_sets={"small": ("jsb", "fsdd"), "full": ("jsb", "fsdd")},
)
