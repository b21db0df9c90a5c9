"""RecognitionEvaluator: measures the exported recognizer on the eval split.

metrics.json                  the metrics, and those of the version pushed last
recognized.tsv                file, transcript and recognized text of each recording
BLESSED or NOT_BLESSED        see `pipeline.store.blessing`
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from common.files import write_text
from common.progress import progress_bar
from pipeline.data.recordings import Recording, first_recordings
from pipeline.stages.context import RunContext
from pipeline.store import blessing, manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.lineage import Pushed, pushed_before, require_trained_by
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import saved_models
from serving.limits import MAX_RECORDINGS

NAME = "RecognitionEvaluator"
TRAINED_BY = "RecognitionTrainer"
METRICS = "metrics.json"
RECOGNIZED = "recognized.tsv"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a RecognitionEvaluator artifact.

    Attributes:
      character_error_rate: Insertions, deletions and substitutions of characters, divided by the
        number of characters of the transcripts.
      word_error_rate: The same of words, which white space separates.
      exact: Share of the recordings whose transcript is recognized without an error.
      recordings: Number of recordings that were recognized.
    """

    character_error_rate: float
    word_error_rate: float
    exact: float
    recordings: int


class Metrics(NamedTuple):
    """How well a model recognizes.

    Attributes:
      character_error_rate: As in `Properties`.
      word_error_rate: As in `Properties`.
      texts: What was recognized, in the order of the recordings.
    """

    character_error_rate: float
    word_error_rate: float
    texts: list[str]


def plan(context: RunContext, model: Fingerprinted, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use; reads which version was pushed last."""
    baseline = pushed_before(context.base_path, model, TRAINED_BY)
    return _cache_key(model, examples, baseline, context.settings.recognition.evaluated_recordings)


def execute(context: RunContext, model: Artifact, examples: Artifact) -> Artifact:
    """Runs the stage in a context, against the model pushed last."""
    return run(
        context.store,
        model,
        examples,
        pushed_before(context.base_path, model, TRAINED_BY),
        context.settings.recognition.evaluated_recordings,
    )


def check_options(context: RunContext) -> None:
    """Checks that versions of the model, if there are any, are of the same task.

    Raises:
      InputError: If they are not.
    """
    require_trained_by(context.base_path, TRAINED_BY)


def _cache_key(
    model: Fingerprinted, examples: Fingerprinted, baseline: Pushed | None, count: int
) -> CacheKey:
    inputs: dict[str, Fingerprinted | str] = {"model": model, "examples": examples}
    if baseline:
        inputs["baseline"] = baseline.fingerprint
    return CacheKey.of(NAME, __name__, inputs, {"recordings": count})


def run(
    store: Store,
    model: Artifact,
    examples: Artifact,
    baseline: Pushed | None,
    count: int = 1000,
) -> Artifact:
    """Evaluates an exported model on the first recordings of the eval split.

    Args:
      store: Store of the artifacts.
      model: Artifact of RecognitionTrainer. It is not blessed if silence would be no worse.
      examples: Artifact of ExampleGen, of recordings.
      baseline: Version pushed last, which must not be better; None if there is none.
      count: Largest number of recordings. Default 1000.

    Returns:
      The artifact with the metrics, the texts and the blessing.
    """

    def write(directory: str) -> Outcome:
        recordings = first_recordings(examples.path, "eval", count)
        metrics = evaluate(saved_models(model)["float32"], recordings)
        against = evaluate(baseline.path, recordings) if baseline else None
        objection = objections(metrics, against, baseline)
        pairs = list(zip(recordings, metrics.texts, strict=True))
        properties = Properties(
            character_error_rate=round(metrics.character_error_rate, 6),
            word_error_rate=round(metrics.word_error_rate, 6),
            exact=round(sum(one.transcript == text for one, text in pairs) / len(pairs), 6),
            recordings=len(pairs),
        )
        content: dict[str, Any] = {**dataclasses.asdict(properties), "baseline": None}
        if baseline and against:
            content["baseline"] = {
                "version": baseline.version,
                "character_error_rate": against.character_error_rate,
                "word_error_rate": against.word_error_rate,
            }
        write_text(os.path.join(directory, METRICS), json.dumps(content, indent=1) + "\n")
        lines = [f"{one.source}\t{one.transcript}\t{text}\n" for one, text in pairs]
        write_text(os.path.join(directory, RECOGNIZED), "".join(lines))
        blessing.write(directory, objection)
        summary = (
            f"{properties.character_error_rate:.2%} of the characters and "
            f"{properties.word_error_rate:.2%} of the words wrong over {len(pairs):,} recordings, "
            f"{'not blessed' if objection else 'blessed'}"
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(model, examples, baseline, count), write)


def objections(metrics: Metrics, against: Metrics | None, baseline: Pushed | None) -> str:
    """Returns the reason why a model is not blessed; empty if it is.

    Args:
      metrics: Metrics of the model.
      against: Metrics of the version pushed last; None if there is none.
      baseline: Version pushed last; None if there is none.
    """
    error = metrics.character_error_rate
    if not error < 1:
        return (
            f"the character error rate of {error:.1%} is no better than that of silence, 100%; "
            "train longer"
        )
    if baseline and against and error > against.character_error_rate:
        return (
            f"the character error rate of {error:.2%} is worse than the "
            f"{against.character_error_rate:.2%} of version {baseline.version}, pushed last"
        )
    return ""


def evaluate(saved_model: str, recordings: Sequence[Recording]) -> Metrics:
    """Measures a SavedModel, by its signature `recognize`.

    Args:
      saved_model: Directory of the SavedModel.
      recordings: Recordings with their transcripts.
    """
    import tensorflow as tf

    recognize = tf.saved_model.load(saved_model).signatures["recognize"]
    texts: list[str] = []
    with progress_bar("Recognizing", unit="recordings") as progress:
        for first in range(0, len(recordings), MAX_RECORDINGS):
            part = recordings[first : first + MAX_RECORDINGS]
            found = recognize(audio=tf.constant([one.audio for one in part]))["text"].numpy()
            texts += [text.decode() for text in found]
            progress(first + len(part), len(recordings))
    said = [one.transcript for one in recordings]
    return Metrics(
        character_error_rate=error_rate([list(one) for one in texts], [list(one) for one in said]),
        word_error_rate=error_rate([one.split() for one in texts], [one.split() for one in said]),
        texts=texts,
    )


def error_rate(found: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> float:
    """Returns the edit distances of what was found and what was said, per unit that was said.

    >>> error_rate([list("seven"), []], [list("sven"), list("six")])
    0.5714285714285714

    Args:
      found: Characters or words that were found in each recording.
      said: Those that were said, one at least in all.
    """
    import tensorflow as tf

    # Recordings without a word on one side have rows, too, as the dense shapes say.
    pair = (tf.ragged.constant(side, dtype=tf.string, ragged_rank=1) for side in (found, said))
    distances = tf.edit_distance(*(one.to_sparse() for one in pair), normalize=False)
    return float(tf.reduce_sum(distances)) / sum(map(len, said))
