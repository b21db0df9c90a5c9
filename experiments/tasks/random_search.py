"""Random search: short fits of one net with settings drawn at random, and a full fit of the best.

The settings of trial n are a function of the seed and of n alone, so that all nets of an experiment
try the same ones.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from experiments.framework.experiment import Measurement, Row
from experiments.tasks import fitting
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net
from experiments.tasks.task import Task
from pipeline.store.artifacts import Artifact, Store

ACTIVATIONS = ("relu", "tanh")


class Settings(NamedTuple):
    """The settings of a trial.

    Attributes:
      learning_rate: Initial learning rate, log-uniform from 0.005 to 0.5.
      momentum: Momentum of SGD; 1 - momentum is log-uniform from 0.02 to 0.5.
      decay: Factor to which the learning rate falls over a fit, log-uniform from 0.01 to 1.
      activation: Activation of feed-forward layers, "relu" or "tanh".
      transform_bias: Initial bias of transform gates, uniform from -10 to -1. That of the forget
        gates of an LSTM, which carry as 1 - T does, is its negative.
    """

    learning_rate: float
    momentum: float
    decay: float
    activation: str
    transform_bias: float


@dataclasses.dataclass(frozen=True)
class Search:
    """A random search.

    Attributes:
      trials: Number of trials.
      trial: Configuration of the fit of a trial; the settings replace a part of it.
      fit: Configuration of the fit with the settings of the best trial.
    """

    trials: int
    trial: FitConfig
    fit: FitConfig


class SearchResult(NamedTuple):
    """The outcome of a random search.

    Attributes:
      artifact: Artifact of the fit with the best settings.
      net: Net of that fit.
      config: Configuration of that fit.
      measurement: The tables `trials`, with a row per trial, and those of `fitting.measure`.
    """

    artifact: Artifact
    net: Net
    config: FitConfig
    measurement: Measurement


def log_uniform(random: np.random.Generator, least: float, most: float) -> float:
    """Draws a number whose logarithm is uniform.

    Args:
      random: Generator of the draw.
      least: Smallest number.
      most: Largest number.
    """
    return math.exp(random.uniform(math.log(least), math.log(most)))


def draw(seed: int, trial: int) -> Settings:
    """Returns the settings of a trial.

    Args:
      seed: Seed of the search.
      trial: Number of the trial, from 0.
    """
    random = np.random.default_rng([seed, trial])

    def rounded(least: float, most: float) -> float:
        return float(f"{log_uniform(random, least, most):.3g}")

    return Settings(
        learning_rate=rounded(0.005, 0.5),
        momentum=round(1 - rounded(0.02, 0.5), 4),
        decay=rounded(0.01, 1.0),
        activation=ACTIVATIONS[int(random.integers(len(ACTIVATIONS)))],
        transform_bias=round(float(random.uniform(-10, -1)), 2),
    )


def apply(settings: Settings, net: Net, config: FitConfig) -> tuple[Net, FitConfig]:
    """Returns a net and the configuration of a fit by SGD with the settings of a trial."""
    net = dataclasses.replace(
        net,
        activation=settings.activation,
        input_activation="linear" if net.architecture == "grid" else settings.activation,
        transform_bias=settings.transform_bias,
        forget_bias=-settings.transform_bias,
    )
    config = dataclasses.replace(
        config,
        optimizer="sgd",
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        decay=settings.decay,
    )
    return net, config


def run(store: Store, task: Task, net: Net, search: Search, seed: int) -> SearchResult:
    """Searches for the settings with the lowest training loss, and fits a net with them.

    Args:
      store: Store of the artifacts, held by this process.
      task: Task to learn.
      net: Net to train; the settings replace a part of it.
      search: The search.
      seed: Seed of the settings and of all fits.
    """
    trials: list[Row] = []
    seconds = 0.0
    settings = [draw(seed, number) for number in range(search.trials)]
    for number, drawn in enumerate(settings):
        config = dataclasses.replace(search.trial, seed=seed)
        measured = fitting.measure(store, task, *apply(drawn, net, config))
        outcome = measured.tables["nets"][0]
        kept = {name: outcome[name] for name in ("training_loss", "loss", "exact")}
        trials.append({"trial": number, **drawn._asdict(), **kept})
        seconds += measured.seconds
    best = settings[trials.index(min(trials, key=training_loss))]
    net, config = apply(best, net, dataclasses.replace(search.fit, seed=seed))
    artifact = fitting.run(store, task, net, config)
    measured = fitting.measurement(artifact)
    outcome = {**measured.tables["nets"][0], **best._asdict()}
    tables = {"trials": trials, "tests": measured.tables["tests"], "nets": [outcome]}
    return SearchResult(artifact, net, config, Measurement(tables, seconds + measured.seconds))


def training_loss(row: Row) -> float:
    """Returns the training loss of a row; infinity where it diverged."""
    loss = row["training_loss"]
    return loss if math.isfinite(loss) else math.inf
