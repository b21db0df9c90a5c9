"""Evaluator: measures the exported model on the whole eval split, and against the one pushed last.

metrics.json                  the metrics of this model, the losses of its quantized exports, and
                              the metrics of the model it is compared with
BLESSED or NOT_BLESSED        see `pipeline.store.blessing`
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import NamedTuple

from common.files import write_text
from common.progress import progress_bar
from model.config import CharacterUnit
from model.errors import InputError
from pipeline.data import statistics as split_statistics
from pipeline.data.records import read_index
from pipeline.stages.context import RunContext
from pipeline.store import blessing, manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.lineage import Pushed, pushed_before, require_trained_by
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import saved_models

NAME = "Evaluator"
TRAINED_BY = "Trainer"
METRICS = "metrics.json"
WINDOW = 100
CODES: Mapping[CharacterUnit, int] = {"bytes": 1 << 8, "unicode": 0x110000}
"""Number of characters that each unit of text can have."""


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of an Evaluator artifact; `metrics.json` holds all metrics.

    Attributes:
      nats_per_character: Mean of -ln p over the eval split.
      bits_per_character: The same in bits.
      accuracy: Share of the characters whose most likely prediction is right.
      characters: Number of characters that count.
      entropy_order_0_bits: Entropy of a character of the eval split, in bits.
    """

    nats_per_character: float
    bits_per_character: float
    accuracy: float
    characters: int
    entropy_order_0_bits: float


class Metrics(NamedTuple):
    """How well a model predicts a text.

    Attributes:
      nats_per_character: Mean of -ln p.
      bits_per_character: The same in bits.
      perplexity: Exponential of the nats.
      accuracy: Share of the characters whose most likely prediction is right.
      characters: Number of characters that count.
      unknown_characters: Number of characters that the model's vocabulary lacks, which do not
        count.
      bits_per_byte: Bits of the whole text per byte of it, by which models of other units and
        vocabularies are compared. A character that is unknown costs as much as one out of all that
        its unit can have.
    """

    nats_per_character: float
    bits_per_character: float
    perplexity: float
    accuracy: float
    characters: int
    unknown_characters: int
    bits_per_byte: float


def plan(
    context: RunContext, model: Fingerprinted, examples: Fingerprinted, statistics: Fingerprinted
) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    baseline = pushed_before(context.base_path, model, TRAINED_BY)
    return _cache_key(model, examples, statistics, baseline, context.settings.run.eval_batch_size)


def execute(
    context: RunContext, model: Artifact, examples: Artifact, statistics: Artifact
) -> Artifact:
    """Runs the stage in a context, against the model pushed last."""
    return run(
        context.store,
        model,
        examples,
        statistics,
        pushed_before(context.base_path, model, TRAINED_BY),
        context.settings.run.eval_batch_size,
    )


def check_options(context: RunContext) -> None:
    """Checks that versions of the model, if there are any, are of the same task.

    Raises:
      InputError: If they are not.
    """
    require_trained_by(context.base_path, TRAINED_BY)


def _cache_key(
    model: Fingerprinted,
    examples: Fingerprinted,
    statistics: Fingerprinted,
    baseline: Pushed | None,
    streams: int,
) -> CacheKey:
    inputs: dict[str, Fingerprinted | str] = {
        "model": model,
        "examples": examples,
        "statistics": statistics,
    }
    if baseline:
        inputs["baseline"] = baseline.fingerprint
    return CacheKey.of(NAME, __name__, inputs, {"streams": streams})


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
      store: Store of the artifacts.
      model: Artifact of Trainer.
      examples: Artifact of ExampleGen or Transform.
      statistics: Artifact of StatisticsGen; a model that does not beat the entropy of single
        characters is not blessed.
      baseline: Version pushed last, which must not be better; None if there is none.
      streams: Number of contiguous parts of the split that are read in parallel, each with its
        state carried from its beginning to its end. Default 64.

    Returns:
      The artifact with `metrics.json` and the blessing.

    Raises:
      InputError: If the model knows no character of the eval split.
    """
    if streams < 1:
        raise InputError(f"eval_batch_size is {streams}; it must be at least 1")

    def write(directory: str) -> Outcome:
        measured: dict[str, Metrics] = {
            variant: evaluate(path, examples.path, streams)
            for variant, path in saved_models(model).items()
            if variant != "xla"  # it has the losses of float32
        }
        metrics = measured.pop("float32")
        against, compared = None, None
        if baseline:
            against = evaluate(baseline.path, examples.path, streams)
            compared = {"version": baseline.version, **against._asdict()}
        entropy = split_statistics.read(statistics.path, "eval").entropies[0]
        objection = objections(metrics, against, entropy, baseline)
        quantized = _losses(measured, metrics)
        content = {
            **metrics._asdict(),
            "entropy_order_0_bits": entropy,
            "streams": streams,
            "quantized": quantized,
            "baseline": compared,
        }
        write_text(os.path.join(directory, METRICS), json.dumps(content, indent=1) + "\n")
        blessing.write(directory, objection)
        summary = (
            f"{metrics.nats_per_character:.4f} nats, {metrics.bits_per_character:.4f} bits per "
            f"character, {metrics.accuracy:.1%} right, {'not blessed' if objection else 'blessed'}"
        )
        for variant, loss in quantized.items():
            summary += f"; {variant} {loss['loss_in_bits']:+.5f} bits"
        properties = Properties(
            nats_per_character=metrics.nats_per_character,
            bits_per_character=metrics.bits_per_character,
            accuracy=metrics.accuracy,
            characters=metrics.characters,
            entropy_order_0_bits=entropy,
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(model, examples, statistics, baseline, streams), write)


def _losses(quantized: Mapping[str, Metrics], metrics: Metrics) -> dict[str, dict[str, float]]:
    """Returns the metrics of quantized models, and the bits per character that each loses."""
    full = metrics.bits_per_character
    return {
        variant: {**one._asdict(), "loss_in_bits": one.bits_per_character - full}
        for variant, one in quantized.items()
    }


def objections(
    metrics: Metrics, against: Metrics | None, entropy: float, baseline: Pushed | None
) -> str:
    """Returns the reason why a model is not blessed; empty if it is.

    Args:
      metrics: Metrics of the model.
      against: Metrics of the version pushed last; None if there is none.
      entropy: Entropy of a character, in bits.
      baseline: Version pushed last; None if there is none.
    """
    bits = metrics.bits_per_character
    if not bits < entropy:
        return (
            f"{bits:.4f} bits per character are no better than the {entropy:.4f} of the "
            "characters' frequencies alone; train longer"
        )
    if baseline and against and metrics.bits_per_byte > against.bits_per_byte:
        return (
            f"{metrics.bits_per_byte:.4f} bits per byte are worse than the "
            f"{against.bits_per_byte:.4f} of version {baseline.version}, pushed last"
        )
    return ""


def evaluate(saved_model: str, examples: str, streams: int) -> Metrics:
    """Measures a SavedModel, by the functions it exports, on the eval split.

    Args:
      saved_model: Directory of the SavedModel.
      examples: Directory of the examples.
      streams: Number of parallel streams.
    """
    import tensorflow as tf

    from pipeline.data.windows import StreamedSplit
    from serving.graph.export import read_text_vocabulary

    loaded = tf.saved_model.load(saved_model)
    vocabulary = read_text_vocabulary(saved_model)
    split = StreamedSplit.open(examples, "eval", vocabulary)
    windows, count = split.evaluation_windows(streams, WINDOW)
    state = loaded.initial_state(tf.constant(streams))
    totals = [0.0, 0.0, 0.0]
    with progress_bar("Evaluating", unit="characters") as progress:
        for number, ids in enumerate(windows.prefetch(tf.data.AUTOTUNE)):
            sums, state = loaded.evaluate_window(ids, *state)
            totals = [total + float(part) for total, part in zip(totals, sums, strict=True)]
            progress((number + 1) * streams * WINDOW, count * streams * WINDOW)
    nats, hits, characters = totals
    if not characters:
        raise InputError(
            "the eval split has no character that the model knows; train on a longer corpus, or "
            "with another --split_by"
        )
    unknown = split.total - int(characters)
    size = sum(shard.bytes for shard in read_index(examples, "eval"))
    nats_of_text = nats + unknown * math.log(CODES[vocabulary.unit])
    mean = nats / characters
    return Metrics(
        nats_per_character=mean,
        bits_per_character=mean / math.log(2),
        perplexity=math.exp(min(mean, 700.0)),
        accuracy=hits / characters,
        characters=int(characters),
        unknown_characters=unknown,
        bits_per_byte=nats_of_text / math.log(2) / size,
    )
