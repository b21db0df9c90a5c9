"""The search for the settings of a preset: trainings of equal time with settings that optuna draws.

trials.jsonl   a line for each trial: its settings, steps, loss and seconds
trials.md      the same as a table, the best first
trials.svg     the loss over the learning rate, by batch size and window
"""

import json
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import optuna
import tensorflow as tf
from matplotlib.figure import Figure

from common.files import write_text
from experiments.characters import language_models
from experiments.framework import plots
from pipeline.corpora.corpus import Mixture
from pipeline.data.windows import StreamedSplit
from pipeline.preset_files import load_preset
from pipeline.settings import Settings
from pipeline.stages.trainer import make_strategy, read_text_vocabulary
from pipeline.store.artifacts import Store
from pipeline.training.learner import Learner

optuna.logging.set_verbosity(optuna.logging.WARNING)

BATCH_SIZES = (16, 32, 64, 128)
WINDOWS = (16, 32, 64, 128)
LEARNING_RATES = (1e-3, 3e-2)
TIMED_STEPS = 20
"""Number of steps, after the first one, that the time of a step is measured on."""
TRIALS, TABLE, PLOT = "trials.jsonl", "trials.md", "trials.svg"


class Choice(NamedTuple):
    """The settings of a trial.

    Attributes:
      learning_rate: Highest learning rate, log-uniform within `LEARNING_RATES` at first.
      batch_size: Number of streams, one of `BATCH_SIZES`.
      window: Characters per stream and step, one of `WINDOWS`.
    """

    learning_rate: float
    batch_size: int
    window: int


class Trial(NamedTuple):
    """A training with the settings of a trial.

    Attributes:
      choice: The settings.
      steps: Number of steps that fitted in the time.
      loss: Validation loss at the end, in nats per character; infinite if the training diverged.
      seconds: Seconds of the training, without compilation.
    """

    choice: Choice
    steps: int
    loss: float
    seconds: float


def search(
    store: Store,
    text: Mixture,
    preset: str,
    trials: int,
    seconds: float,
    folder: pathlib.Path,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> list[Trial]:
    """Tries settings until there are as many trials; those of an earlier search count.

    The sampler is optuna's tree-structured Parzen estimator (Bergstra et al., NIPS 2011), whose
    first ten trials are random.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      preset: Name of the preset, whose other settings all trials have.
      trials: Number of trials.
      seconds: Seconds of training of each trial, without compilation.
      folder: Folder of the results.
      seed: Seed of the choices and of all trainings. Default 0.
      progress: Function that is called with the trials done, their number, and a note.

    Returns:
      The trials in the order in which they were made.
    """
    settings = load_preset(preset, {"seed": seed})
    examples, schema = language_models.examples_of(store, text, settings.data)
    vocabulary = read_text_vocabulary(schema)
    splits = [StreamedSplit.open(examples.path, name, vocabulary) for name in ("train", "eval")]
    done = read_trials(folder)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed + len(done)))
    for one in done:
        study.add_trial(
            optuna.trial.create_trial(
                params=one.choice._asdict(), distributions=_distributions(), value=one.loss
            )
        )
    while len(done) < trials:
        asked = study.ask(_distributions())
        trial = train(settings, Choice(**asked.params), splits[0], splits[1], seconds)
        study.tell(asked, trial.loss)
        done.append(trial)
        _write(done, folder, preset, seconds)
        progress(len(done), trials, f"lowest loss {min(one.loss for one in done):.4f}")
    return done


def _distributions() -> dict[str, optuna.distributions.BaseDistribution]:
    return {
        "learning_rate": optuna.distributions.FloatDistribution(*LEARNING_RATES, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution(BATCH_SIZES),
        "window": optuna.distributions.CategoricalDistribution(WINDOWS),
    }


def train(
    settings: Settings,
    choice: Choice,
    train_split: StreamedSplit,
    eval_split: StreamedSplit,
    seconds: float,
) -> Trial:
    """Trains for a time and validates.

    Args:
      settings: Settings of the preset.
      choice: Settings that replace some of them.
      train_split: Training split.
      eval_split: Eval split.
      seconds: Seconds of the training, without compilation.
    """
    timed = _Training(settings, choice, train_split, TIMED_STEPS + 1)
    timed.run(1)
    steps = max(TIMED_STEPS, int(seconds * TIMED_STEPS / timed.run(TIMED_STEPS)))
    training = _Training(settings, choice, train_split, steps)
    training.run(1)  # compiles
    took = training.run(steps - 1)
    windows, _ = eval_split.evaluation_windows(
        choice.batch_size, choice.window, settings.training.validation_characters
    )
    loss = training.learner.validate(windows)
    return Trial(choice, steps, loss if math.isfinite(loss) else math.inf, round(took, 1))


class _Training:
    """A training without checkpoints, logs and export.

    Attributes:
      learner: Model and optimizer.
    """

    def __init__(
        self, settings: Settings, choice: Choice, split: StreamedSplit, steps: int
    ) -> None:
        values = {**vars(settings.training), **choice._asdict(), "steps": steps}
        values["warmup_steps"] = min(settings.training.warmup_steps, steps // 10)
        config = type(settings.training)(**values)
        per_epoch = split.windows_per_epoch(choice.batch_size, choice.window)
        self.learner = Learner(
            make_strategy(()), settings.model, split.vocabulary.size, config, per_epoch, steps
        )
        self._choice, self._split, self._per_epoch = choice, split, per_epoch
        self._step, self._state = 0, self.learner.initial_state()

    def run(self, steps: int) -> float:
        """Performs steps; returns the seconds that they took."""
        start, end = time.perf_counter(), self._step + steps
        result = None
        while self._step < end:
            at = self._step % self._per_epoch
            if at == 0:
                self._state = self.learner.initial_state()
            windows = self._split.training_windows(
                self._choice.batch_size, self._choice.window, at
            ).take(end - self._step)
            for ids in self.learner.distribute(windows):
                result, self._state = self.learner.train(
                    ids, self._state, tf.constant(self._step, tf.int64)
                )
                self._step += 1
        assert result is not None
        float(result.loss)  # waits for the last step
        return time.perf_counter() - start


def read_trials(folder: pathlib.Path) -> list[Trial]:
    """Returns the trials of an earlier search; none if there was none."""
    path = folder / TRIALS
    if not path.exists():
        return []
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Trial(**{**row, "choice": Choice(**row["choice"])}) for row in rows]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Returns trials in the order of their losses."""
    return sorted(trials, key=lambda trial: trial.loss)


def _write(trials: Sequence[Trial], folder: pathlib.Path, preset: str, seconds: float) -> None:
    """Writes the trials, their table and their plot."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**one._asdict(), "choice": one.choice._asdict()}) for one in trials]
    write_text(os.fspath(folder / TRIALS), "\n".join(lines) + "\n")
    write_text(os.fspath(folder / TABLE), table(trials, preset, seconds))
    draw(trials).savefig(folder / PLOT)


def table(trials: Sequence[Trial], preset: str, seconds: float) -> str:
    """Returns the trials as a table in Markdown, the best first."""
    rows = [
        f"| {one.choice.learning_rate:.2g} | {one.choice.batch_size} | {one.choice.window} "
        f"| {one.steps:,} | {one.loss:.4f} |"
        for one in ranked(trials)
    ]
    head = [
        f"{len(trials)} trials of the preset `{preset}`, each trained for {seconds:g} seconds:",
        "",
        "| learning rate | batch size | window | steps | nats per character |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def draw(trials: Sequence[Trial]) -> Figure:
    """Draws the loss over the learning rate; the marker is the batch size, the size the window."""
    figure, (axis,) = plots.panels(1, width=6, height=4)
    markers = dict(zip(BATCH_SIZES, "osD^", strict=True))
    finite = [one for one in trials if math.isfinite(one.loss)]
    for number, (batch_size, marker) in enumerate(markers.items()):
        own = [one for one in finite if one.choice.batch_size == batch_size]
        axis.scatter(
            [one.choice.learning_rate for one in own],
            [one.loss for one in own],
            s=[15 + one.choice.window for one in own],
            marker=marker,
            facecolors="none",
            edgecolors=plots.OTHERS[number],
            label=f"batch of {batch_size}",
        )
    axis.set_xscale("log")
    axis.set(
        xlabel="learning rate (larger markers: longer windows)",
        ylabel="validation loss, nats per character",
    )
    axis.legend()
    return figure
