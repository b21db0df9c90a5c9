"""Spoken digits by nets over time and frequency, among them grids of two and three dimensions."""

import dataclasses
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point
from experiments.framework.scale import Scale
from experiments.speech import speech_data, speech_nets
from experiments.speech.speech_report import draw_errors, draw_folds, summarize
from pipeline.store.artifacts import Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "SpokenDigits"


class Comparison(NamedTuple):
    """The comparison at one scale.

    Attributes:
      source: Where the recordings come from.
      parameters: Number of parameters of each net.
      epochs: Number of passes over the training recordings.
      seeds: Number of trainings of each net on each split.
      nets: Names of the nets.
      batch_size: Number of recordings of a step. Default 32.
      learning_rate: Initial learning rate of Adam, which falls to 0 by half a cosine. Default
        0.004.
    """

    source: speech_data.Source
    parameters: int
    epochs: int
    seeds: int
    nets: Sequence[str]
    batch_size: int = 32
    learning_rate: float = 0.004


SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison("tones", 12_000, epochs=2, seeds=1, nets=("LSTM", "3-D grid")),
    "small": Comparison("fsdd", 60_000, epochs=6, seeds=1, nets=tuple(speech_nets.NETS)),
    "full": Comparison("fsdd", 500_000, epochs=60, seeds=5, nets=tuple(speech_nets.NETS)),
}


@dataclasses.dataclass(frozen=True)
class FitProperties(Properties):
    """The outcome of a training.

    Attributes:
      error: Share of the test recordings whose digit is wrong.
      loss: Mean of -ln p of their digits, in nats.
      units: Width of the net.
      parameters: Number of trainable parameters.
    """

    error: float
    loss: float
    units: int
    parameters: int


def measure(
    store: Store, net: str, split: str, seed: int, comparison: Comparison, folder: str | None
) -> Measurement:
    """Trains a net on a split, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      net: Name of the net in `speech_nets.NETS`.
      split: Name of the split; see `speech_data.load`.
      seed: Seed of the initial weights and of the order of the recordings.
      comparison: The comparison.
      folder: Local copy of the data set.

    Returns:
      The table `nets` with one row.
    """
    # The other nets and the number of seeds change nothing here.
    settings = comparison._replace(nets=(net,), seeds=1)._asdict()
    parameters: dict[str, Any] = {**settings, "split": split, "seed": seed}

    def write(_: str) -> Outcome:
        properties = train(
            net, speech_data.load(comparison.source, split, folder), seed, comparison
        )
        return Outcome(properties, f"{100 * properties.error:.2f}% wrong")

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    artifact = store.produce(key, write, resumable=True)
    row = dataclasses.asdict(FitProperties.read(artifact))
    return Measurement({"nets": [row]}, artifact.manifest.seconds)


def train(net: str, data: speech_data.Split, seed: int, comparison: Comparison) -> FitProperties:
    """Trains a net for a fixed number of epochs and tests it once.

    Args:
      net: Name of the net.
      data: The recordings.
      seed: Seed of the training.
      comparison: The comparison.
    """
    keras.utils.set_random_seed(seed)
    units = speech_nets.width_of(net, comparison.parameters)
    model = speech_nets.build(net, units)
    steps = comparison.epochs * -(-len(data.train.digits) // comparison.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(comparison.learning_rate, steps)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(*data.train, batch_size=comparison.batch_size, epochs=comparison.epochs, verbose=0)
    logits = model.predict(data.test.spectrograms, batch_size=256, verbose=0)
    logits = logits.astype(np.float64)
    of_digit = np.take_along_axis(logits, data.test.digits[:, None], axis=1)[:, 0]
    return FitProperties(
        error=float(np.mean(logits.argmax(axis=1) != data.test.digits)),
        loss=float(np.mean(np.logaddexp.reduce(logits, axis=1) - of_digit)),
        units=units,
        parameters=model.count_params(),
    )


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per split, seed and net."""
    comparison = SCALES[scale]
    made = []
    names = speech_data.splits(comparison.source, inputs.data)
    for seed, split, net in itertools.product(
        inputs.seeds(comparison.seeds), names, comparison.nets
    ):
        labels = {"model": net, "split": split, "seed": seed}
        measured = partial(
            measure,
            net=net,
            split=split,
            seed=seed,
            comparison=comparison,
            folder=inputs.data,
        )
        made.append(Point(labels=labels, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="speech",
    title="Spoken digits over time and frequency",
    claim="LSTMs over time and frequency lower the word error of large-vocabulary recognizers by 1 "
    "to 4% relative to LSTMs over time, with and without convolutions (Sainath, Li, Interspeech "
    "2016).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="errors",
            caption="Errors on the official test split and on the speakers left out, with each "
            "training.",
            draw=draw_errors,
        ),
        Plot(
            name="folds",
            caption="Error on each speaker who was left out of training; mean over seeds.",
            draw=draw_folds,
        ),
    ),
    outcomes="nets",
    data_sets={"small": ("fsdd",), "full": ("fsdd",)},
)
