"""Evaluator: the exported model on the whole eval split, and against the model pushed last.

metrics.json                  the measures of this model, what quantizing it loses, and the measures
                              of the model it is compared with
BLESSED or NOT_BLESSED        the latter with the reason
"""

import json
import math
import os
from typing import NamedTuple

import tensorflow as tf

from common import files
from common.files import write_text
from common.progress import progress_bar
from model.errors import InputError
from pipeline.data.windows import Split
from pipeline.stages import statistics_gen
from pipeline.stages.names import EVALUATOR
from pipeline.stages.trainer import saved_models
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.lineage import Pushed
from serving.graph.export import read_text_vocabulary

METRICS = "metrics.json"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"
WINDOW = 100


class Metrics(NamedTuple):
    """How well a model predicts a text.

    Attributes:
      nats_per_character: the mean of -ln p.
      bits_per_character: the same in bits.
      perplexity: exp of the nats.
      accuracy: share of the characters that were the likeliest.
      characters: characters that count.
      unknown_characters: characters that the model's vocabulary lacks, which do not count.
    """

    nats_per_character: float
    bits_per_character: float
    perplexity: float
    accuracy: float
    characters: int
    unknown_characters: int


def run(
    store: Store,
    model: Artifact,
    examples: Artifact,
    statistics: Artifact,
    baseline: Pushed | None,
    streams: int = 64,
) -> Artifact:
    """Evaluates an exported model.

    Args:
      store: where artifacts are.
      model: from Trainer.
      examples: from ExampleGen.
      statistics: from StatisticsGen; a model that does not beat the entropy of single characters
        is not blessed.
      baseline: the model pushed last, which must not be better; None if there is none.
      streams: contiguous parts of the split that are read side by side, each with its state
        carried from its beginning to its end.

    Returns:
      The artifact.
    """
    if streams < 1:
        raise InputError(f"eval_streams is {streams}; it must be at least 1")

    def write(directory: str) -> Outcome:
        measured = {
            precision: evaluate(path, examples.path, streams)
            for precision, path in saved_models(model).items()
        }
        metrics = measured.pop("float32")
        against = evaluate(baseline.path, examples.path, streams) if baseline else None
        entropy = statistics_gen.read(statistics.path, "eval").entropies[0]
        objection = objections(metrics, against, entropy, baseline)
        content = {
            **metrics._asdict(),
            "entropy_order_0_bits": entropy,
            "streams": streams,
            "quantized": _losses(measured, metrics),
            "baseline": against and {"version": baseline.version, **against._asdict()},
        }
        write_text(os.path.join(directory, METRICS), json.dumps(content, indent=1) + "\n")
        write_text(os.path.join(directory, NOT_BLESSED if objection else BLESSED), objection)
        figure = (
            f"{metrics.nats_per_character:.4f} nats, {metrics.bits_per_character:.4f} bits per "
            f"character, {metrics.accuracy:.1%} right, {'not blessed' if objection else 'blessed'}"
        )
        for precision, quantized in content["quantized"].items():
            figure += f"; {precision} {quantized['loss_in_bits']:+.5f} bits"
        return Outcome({**content, "not_blessed": objection}, figure)

    inputs = {"model": model, "examples": examples, "statistics": statistics}
    if baseline:
        inputs["baseline"] = baseline.fingerprint
    return store.produce(EVALUATOR, __name__, inputs, {"streams": streams}, write)


def _losses(quantized, metrics):
    """The measures of quantized models, and how many bits per character each loses."""
    full = metrics.bits_per_character
    return {
        precision: {**one._asdict(), "loss_in_bits": one.bits_per_character - full}
        for precision, one in quantized.items()
    }


def objections(
    metrics: Metrics, against: Metrics | None, entropy: float, baseline: Pushed | None
) -> str:
    """Why a model is not blessed; empty if it is."""
    bits = metrics.bits_per_character
    if not bits < entropy:
        return (
            f"{bits:.4f} bits per character are no better than the {entropy:.4f} of the "
            "characters' frequencies alone; train longer"
        )
    if against and against.unknown_characters <= metrics.unknown_characters:
        if bits > against.bits_per_character:
            return (
                f"{bits:.4f} bits per character are worse than the "
                f"{against.bits_per_character:.4f} of version {baseline.version}, pushed last"
            )
    return ""


def blessed(evaluation: Artifact) -> bool:
    """Whether an evaluation blessed its model."""
    return files.exists(evaluation.file(BLESSED))


def evaluate(saved_model: str, examples: str, streams: int) -> Metrics:
    """Measures a SavedModel, by the functions it exports, on the eval split."""
    loaded = tf.saved_model.load(saved_model)
    split = Split.open(examples, "eval", read_text_vocabulary(saved_model))
    windows, count = split.evaluation_windows(streams, WINDOW)
    state = loaded.initial_state(tf.constant(streams))
    totals = [0.0, 0.0, 0.0]
    with progress_bar("Evaluating", unit="characters") as progress:
        for number, ids in enumerate(windows.prefetch(tf.data.AUTOTUNE)):
            sums, state = loaded.evaluate_window(ids, *state)
            totals = [total + float(part) for total, part in zip(totals, sums, strict=True)]
            progress((number + 1) * streams * WINDOW, count * streams * WINDOW)
    nats, hits, characters = totals
    mean = nats / max(characters, 1.0)
    return Metrics(
        nats_per_character=mean,
        bits_per_character=mean / math.log(2),
        perplexity=math.exp(min(mean, 700.0)),
        accuracy=hits / max(characters, 1.0),
        characters=int(characters),
        unknown_characters=split.total - int(characters),
    )
