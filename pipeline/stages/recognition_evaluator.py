"""RecognitionEvaluator: measures the exported recognizer on the eval split.

metrics.json                  the metrics, and those of the version pushed last
recognized.tsv                file, transcript and recognized text of each recording
BLESSED or NOT_BLESSED        see `pipeline.store.blessing`
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from common.files import write_text
from common.progress import progress_bar
from common.quiet_tensorflow import import_tensorflow
from model.errors import InputError
from pipeline.data.recordings import Recording, first_recordings, gathered
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


class Recognized(NamedTuple):
    """What was recognized in a recording.

    Attributes:
      file: Name of its file.
      transcript: What is said in it.
      text: What was recognized.
    """

    file: str
    transcript: str
    text: str


class Metrics(NamedTuple):
    """How well a model recognizes.

    Attributes:
      character_error_rate: As in `Properties`.
      word_error_rate: As in `Properties`.
      recognized: What was recognized, in the order of the recordings.
    """

    character_error_rate: float
    word_error_rate: float
    recognized: list[Recognized]


def plan(context: RunContext, model: Fingerprinted, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use; reads which version was pushed last."""
    baseline = pushed_before(context.base_path, model, TRAINED_BY)
    return _cache_key(model, examples, baseline, context.settings.recognition.evaluated_recordings)


def execute(context: RunContext, model: Artifact, examples: Artifact) -> Artifact:
    """Runs the stage in a context, against the model pushed last."""
    if not context.takes_corpus:  # otherwise checked before the model was trained
        _require_same_audio(context, model.manifest.parameters["recognition"])
    return run(
        context.store,
        model,
        examples,
        pushed_before(context.base_path, model, TRAINED_BY),
        context.settings.recognition.evaluated_recordings,
    )


def check_options(context: RunContext) -> None:
    """Checks that versions of the model, if there are any, are of the same task, and hear the same.

    Raises:
      InputError: If they are not, or do not.
    """
    require_trained_by(context.base_path, TRAINED_BY)
    if context.takes_corpus:
        _require_same_audio(context, dataclasses.asdict(context.settings.recognition))


def _require_same_audio(context: RunContext, recognition: Mapping[str, Any]) -> None:
    """Checks that a new model reads such recordings as the one that was pushed last.

    Args:
      context: Context of the run.
      recognition: Settings of the recognition of the new model.

    Raises:
      InputError: If it does not, so that they cannot be compared.
    """
    pushed = pushed_before(context.base_path, None, TRAINED_BY)
    if pushed is None:
        return
    trained = context.store.find(pushed.fingerprint)
    known = trained.manifest.parameters["recognition"] if trained else audio_format(pushed.path)
    for name in ("sample_rate", "max_seconds"):
        # A SavedModel has them in float32.
        if not math.isclose(known[name], recognition[name], rel_tol=1e-6):
            raise InputError(
                f"version {pushed.version} of {context.model_name} has the {name} "
                f"{known[name]:g}, and the new model {recognition[name]:g}, so that they cannot be "
                "compared; give the new one another --model_name"
            )


def audio_format(saved_model: str) -> dict[str, float]:
    """Returns the `sample_rate` of recordings that a SavedModel reads, and their `max_seconds`.

    Args:
      saved_model: Directory of the SavedModel.
    """
    import_tensorflow()
    import tensorflow as tf

    signatures = tf.saved_model.load(saved_model).signatures
    found = signatures["spectrogram"](audio=tf.zeros([0], tf.string))
    return {name: float(found[name]) for name in ("sample_rate", "max_seconds")}


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
        paths = [saved_models(model)["float32"], *([baseline.path] if baseline else [])]
        measured = [
            evaluate(path, first_recordings(examples.path, "eval", count)) for path in paths
        ]
        metrics, against = measured[0], measured[1] if baseline else None
        objection = objections(metrics, against, baseline)
        found = metrics.recognized
        properties = Properties(
            character_error_rate=round(metrics.character_error_rate, 6),
            word_error_rate=round(metrics.word_error_rate, 6),
            exact=round(sum(one.transcript == one.text for one in found) / len(found), 6),
            recordings=len(found),
        )
        content: dict[str, Any] = {**dataclasses.asdict(properties), "baseline": None}
        if baseline and against:
            content["baseline"] = {
                "version": baseline.version,
                "character_error_rate": against.character_error_rate,
                "word_error_rate": against.word_error_rate,
            }
        write_text(os.path.join(directory, METRICS), json.dumps(content, indent=1) + "\n")
        lines = ["\t".join(one) + "\n" for one in found]
        write_text(os.path.join(directory, RECOGNIZED), "".join(lines))
        blessing.write(directory, objection)
        summary = (
            f"{properties.character_error_rate:.2%} of the characters and "
            f"{properties.word_error_rate:.2%} of the words wrong over {len(found):,} recordings, "
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


def evaluate(saved_model: str, recordings: Iterable[Recording]) -> Metrics:
    """Measures a SavedModel, by its signature `recognize`.

    Args:
      saved_model: Directory of the SavedModel.
      recordings: Recordings with their transcripts.
    """
    import tensorflow as tf

    recognize = tf.saved_model.load(saved_model).signatures["recognize"]
    found: list[Recognized] = []
    with progress_bar("Recognizing", unit="recordings") as progress:
        for part in gathered(recordings, MAX_RECORDINGS):
            texts = recognize(audio=tf.constant([one.audio for one in part]))["text"].numpy()
            found += [
                Recognized(one.shown, one.transcript, text.decode())
                for one, text in zip(part, texts, strict=True)
            ]
            progress(len(found), 0)
    return Metrics(
        character_error_rate=error_rate(
            [list(one.text) for one in found], [list(one.transcript) for one in found]
        ),
        word_error_rate=error_rate(
            [one.text.split() for one in found], [one.transcript.split() for one in found]
        ),
        recognized=found,
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
