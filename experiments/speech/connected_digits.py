"""Connected digits: nets over time and frequency that are trained by CTC, and served."""

import dataclasses
import itertools
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point, Row
from experiments.framework.scale import Scale
from experiments.speech import connected_data, speech_data, speech_nets
from experiments.speech.connected_data import NOTHING, Connected, Utterances
from experiments.speech.connected_hypotheses import (
    SHOWN,
    edit_distances,
    hypotheses_of,
    read_rows,
    spectrogram_rows,
    write_rows,
)
from experiments.speech.connected_report import draw_errors, draw_utterance, summarize
from model.speech import ctc
from model.speech.recognizer import Recognizer
from pipeline.store.artifacts import Outcome, Store
from pipeline.store.manifest import CacheKey, Properties
from serving.graph.export_recognizer import export_recognizer

STAGE = "ConnectedDigits"
LABELS = "0123456789"

NETS = (
    "3-D grid",  # takes as long as all others together, so it begins first
    "time-depth grid",
    "tied grid + LSTM",
    "time-frequency grid + LSTM",
    "frequency LSTM + LSTM",
    "convolution + LSTM",
    "LSTM",
)
"""Names of the nets that are compared."""

HYPOTHESES = "hypotheses.csv"
"""Name of the file of an artifact with what was recognized."""

RECOGNIZER = "recognizer"
"""Name of the folder of an artifact with the versions of the served recognizer."""

_AT_ONCE = 64


class Comparison(NamedTuple):
    """The comparison at one scale.

    Attributes:
      source: Where the recordings come from.
      parameters: Number of parameters of each net.
      train: Number of utterances to train on.
      test: Number of utterances to test on.
      epochs: Number of passes over the utterances to train on.
      seeds: Number of trainings of each net.
      nets: Names of the nets.
      batch_size: Number of utterances of a step. Default 32.
      learning_rate: Initial learning rate of Adam, which falls to 0 by half a cosine. Default
        0.004.
      beam_width: Width of the beam search. Default 16.
    """

    source: speech_data.Source
    parameters: int
    train: int
    test: int
    epochs: int
    seeds: int
    nets: Sequence[str]
    batch_size: int = 32
    learning_rate: float = 0.004
    beam_width: int = 16


SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        "tones", 12_000, train=64, test=16, epochs=2, seeds=1, nets=("LSTM", "3-D grid")
    ),
    "small": Comparison("fsdd", 60_000, train=1_024, test=240, epochs=10, seeds=1, nets=NETS),
    "full": Comparison("fsdd", 500_000, train=8_192, test=960, epochs=60, seeds=5, nets=NETS),
}


@dataclasses.dataclass(frozen=True)
class FitProperties(Properties):
    """The outcome of a training.

    Attributes:
      greedy_error: Digit error rate of the likeliest path: edit distance divided by digits.
      beam_error: Digit error rate of the beam search.
      exact: Share of the utterances whose digits the beam search finds without an error.
      loss: -ln p of the digits of the test utterances, in nats per digit.
      units: Width of the net.
      parameters: Number of trainable parameters.
    """

    greedy_error: float
    beam_error: float
    exact: float
    loss: float
    units: int
    parameters: int


def measure(
    store: Store, net: str, seed: int, comparison: Comparison, folder: str | None, is_shown: bool
) -> Measurement:
    """Trains a net, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      net: Name of the net in `speech_nets.NETS`.
      seed: Seed of the initial weights and of the order of the utterances.
      comparison: The comparison.
      folder: Local copy of the data set.
      is_shown: Whether to return the spectrogram of the utterance that the report shows.

    Returns:
      The tables `nets` with one row, `hypotheses` with one per test utterance, and `spectrogram`
      with one per frame if it is shown.
    """
    # The other nets and the number of seeds change nothing here.
    settings = comparison._replace(nets=(net,), seeds=1)._asdict()
    parameters: dict[str, Any] = {**settings, "seed": seed}

    def write(directory: str) -> Outcome:
        data = utterances(comparison, folder)
        recognizer = train(net, data, seed, comparison)
        errors, rows = evaluate(recognizer, data.test, comparison.beam_width)
        write_rows(os.path.join(directory, HYPOTHESES), rows)
        version = os.path.join(directory, RECOGNIZER, "1")
        export_recognizer(recognizer, version, comparison.beam_width)
        properties = FitProperties(
            **errors,
            units=speech_nets.width_of(net, comparison.parameters, connected=True),
            parameters=recognizer.net.count_params(),
        )
        return Outcome(properties, f"{100 * properties.beam_error:.2f}% digit errors")

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    artifact = store.produce(key, write, resumable=True)
    row = dataclasses.asdict(FitProperties.read(artifact))
    tables = {
        "nets": [{**row, "saved_model": artifact.file(RECOGNIZER)}],
        "hypotheses": read_rows(artifact.file(HYPOTHESES)),
    }
    if is_shown:
        tables["spectrogram"] = spectrogram_rows(utterances(comparison, folder).test, SHOWN)
    return Measurement(tables, artifact.manifest.seconds)


def utterances(comparison: Comparison, folder: str | None) -> Connected:
    """Returns the utterances of a comparison.

    Args:
      comparison: The comparison.
      folder: Local copy of the data set.
    """
    return connected_data.load(comparison.source, comparison.train, comparison.test, folder=folder)


def ctc_loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns -ln p of the digits of each utterance, float32 `[batch]`.

    Args:
      targets: Number of frames, then the digits padded with `NOTHING`, int32 `[batch, 1 + MOST]`.
      logits: Logits, float32 `[batch, frames, digits + 1]`; the last is the blank's.
    """
    targets = tf.cast(targets, tf.int32)
    return -ctc.log_probability(logits, targets[:, 0], targets[:, 1:])


def targets_of(part: Utterances) -> np.ndarray:
    """Returns what `ctc_loss` compares the logits of utterances with.

    Args:
      part: The utterances.
    """
    return np.concatenate([part.frames[:, None], part.digits], axis=1)


def train(net: str, data: Connected, seed: int, comparison: Comparison) -> Recognizer:
    """Trains a net for a fixed number of epochs.

    Args:
      net: Name of the net.
      data: The utterances.
      seed: Seed of the training.
      comparison: The comparison.
    """
    keras.utils.set_random_seed(seed)
    units = speech_nets.width_of(net, comparison.parameters, connected=True)
    model = speech_nets.build_recognizer(net, units)
    steps = comparison.epochs * -(-len(data.train.frames) // comparison.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(comparison.learning_rate, steps)
    # XLA has no kernel for the loss of sparse labels, the fast one on a CPU.
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), ctc_loss, jit_compile=False)
    model.fit(
        data.train.spectrograms,
        targets_of(data.train),
        batch_size=comparison.batch_size,
        epochs=comparison.epochs,
        verbose=0,
    )
    return Recognizer(model, LABELS, connected_data.SPECTROGRAM, data.mean, data.scale)


def evaluate(
    recognizer: Recognizer, part: Utterances, beam_width: int
) -> tuple[dict[str, float], list[Row]]:
    """Tests a recognizer by the likeliest path and by beam search.

    Args:
      recognizer: The recognizer.
      part: Utterances to test on.
      beam_width: Width of the beam search.

    Returns:
      `greedy_error`, `beam_error`, `exact` and `loss` of `FitProperties`, and the hypotheses, a row
      per utterance.
    """
    logits = recognizer.net.predict(part.spectrograms, batch_size=_AT_ONCE, verbose=0)
    lengths = tf.constant(part.frames)
    greedy, beam = (ctc.decode(tf.constant(logits), lengths, width) for width in (0, beam_width))
    greedy_errors, beam_errors = (
        edit_distances(found.labels.numpy(), part.digits) for found in (greedy, beam)
    )
    digits = int(np.sum(part.digits != NOTHING))
    found = {
        "greedy_error": float(greedy_errors.sum() / digits),
        "beam_error": float(beam_errors.sum() / digits),
        "exact": float(np.mean(beam_errors == 0)),
        "loss": float(ctc_loss(targets_of(part), logits).numpy().sum() / digits),
    }
    return found, hypotheses_of(recognizer, part, greedy, beam)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per seed and net."""
    comparison = SCALES[scale]
    made: list[Point] = []
    for seed, net in itertools.product(inputs.seeds(comparison.seeds), comparison.nets):
        measured = partial(
            measure,
            net=net,
            seed=seed,
            comparison=comparison,
            folder=inputs.data,
            is_shown=not made,
        )
        made.append(Point(labels={"model": net, "seed": seed}, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="connected-digits",
    title="Connected digits by CTC, over time and frequency",
    claim="LSTMs over time and frequency lower the word error of large-vocabulary recognizers by 1 "
    "to 4% relative to LSTMs over time (Sainath, Li, Interspeech 2016), and grids over time and "
    "depth by 4 to 7% relative to stacked LSTMs (Hsu, Zhang, Glass, SLT 2016).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="errors",
            caption="Digit error rate of each training on the test utterances, by the likeliest "
            "path and by beam search.",
            draw=draw_errors,
        ),
        Plot(
            name="utterance",
            caption="Spectrogram of a test utterance, the darker the louder. Solid lines are where "
            "the recording of each digit begins, dashed ones where the best net recognizes one.",
            draw=draw_utterance,
        ),
    ),
    outcomes="nets",
    data_sets={"small": ("fsdd",), "full": ("fsdd",)},
)
