"""DynamicEvaluator: scores a text while the weights of the model follow it.

The text is the eval split, or another corpus.

dynamic.json       the losses, and the rates
static.json        the losses of the same characters with the trained weights
trials.json        the rates that were tried on the training split, the best first, and their losses
"""

import dataclasses
import io
import json
import math
import os
import time
import zipfile
from typing import TYPE_CHECKING, Any

from common import files
from common.files import read_text, write_text
from common.progress import print_warning, progress_bar
from model.errors import InputError
from pipeline.settings import DynamicEvaluationConfig
from pipeline.stages import other_corpora
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

if TYPE_CHECKING:
    from pipeline.data.windows import StreamedSplit
    from pipeline.training.dynamic_evaluation import DynamicModel, Losses, Rates

NAME = "DynamicEvaluator"
CONTENT = "dynamic.json"
TRIALS = "trials.json"
STATIC = "static.json"
LEARNING_RATES = (0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
DECAYS = (1e-3, 3e-3, 1e-2, 3e-2)
SECONDS_BETWEEN_CHECKPOINTS = 30.0
_PROGRESS = "progress.npz"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a DynamicEvaluator artifact; `dynamic.json` has more.

    Attributes:
      nats_per_character: Mean of -ln p over the eval split.
      bits_per_character: The same in bits.
      static_nats_per_character: Mean of -ln p of the same characters with the trained weights.
      characters: Number of characters that count.
      learning_rate: Learning rate of the weights.
      decay: Rate at which they return to the trained ones.
    """

    nats_per_character: float
    bits_per_character: float
    static_nats_per_character: float
    characters: int
    learning_rate: float
    decay: float


def plan(context: RunContext, model: Fingerprinted, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(model, examples, context.settings.dynamic_evaluation)


def execute(context: RunContext, model: Artifact, examples: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, model, examples, context.settings.dynamic_evaluation)


def _cache_key(
    model: Fingerprinted,
    examples: Fingerprinted,
    config: DynamicEvaluationConfig,
    text: Fingerprinted | None = None,
) -> CacheKey:
    parameters = dataclasses.asdict(config)
    del parameters["dynamic_evaluation"]  # whether the stage is part of a run
    inputs = {"model": model, "examples": examples}
    return CacheKey.of(NAME, __name__, inputs | ({"text": text} if text else {}), parameters)


def run_on_corpus(
    store: Store,
    model: Artifact,
    examples: Artifact,
    config: DynamicEvaluationConfig,
    corpus: str,
) -> Artifact:
    """Evaluates the best checkpoint of a training on all of a corpus that it was not trained on.

    Args:
      store: Store of the model.
      model: Artifact of Trainer.
      examples: Artifact of ExampleGen or Transform that the model was trained on.
      config: Settings of the evaluation.
      corpus: Corpus, as in `RunConfig`.

    Returns:
      The artifact with `dynamic.json`, in a root of its own.

    Raises:
      InputError: As `run` does, or if the corpus is unusable.
    """
    apart, text = other_corpora.examples_of(
        store, "scored", corpus, examples, other_corpora.ALL_IN_EVAL_SPLIT
    )
    return run(apart, model, examples, config, text)


def run(
    store: Store,
    model: Artifact,
    examples: Artifact,
    config: DynamicEvaluationConfig,
    text: Artifact | None = None,
) -> Artifact:
    """Evaluates the best checkpoint of a training while its weights follow the text.

    Args:
      store: Store of the artifacts.
      model: Artifact of Trainer.
      examples: Artifact of ExampleGen or Transform that the model was trained on.
      config: Settings of the evaluation.
      text: Examples whose eval split is scored. Default: those that the model was trained on.

    Returns:
      The artifact with `dynamic.json`.

    Raises:
      InputError: If the training split is too short to choose the rates on, the model knows no
        character of the text, or the weights diverge.
    """

    def write(directory: str) -> Outcome:
        from pipeline.data.windows import StreamedSplit
        from pipeline.training.dynamic_evaluation import dynamic_model

        dynamic, vocabulary = dynamic_model(model.path)
        trained_on = StreamedSplit.open(examples.path, "train", vocabulary)
        split = StreamedSplit.open((text or examples).path, "eval", vocabulary)
        rates = _choose(dynamic, trained_on, config, directory)
        static = _evaluate(dynamic, split, config, directory)
        losses = _score(dynamic, split, rates, config, directory)
        return _outcome(directory, losses, static, rates)

    return store.produce(_cache_key(model, examples, config, text), write, resumable=True)


def _choose(
    dynamic: "DynamicModel",
    split: "StreamedSplit",
    config: DynamicEvaluationConfig,
    directory: str,
) -> "Rates":
    """Measures gradients at the beginning of the training split, and tries rates at its end."""
    from pipeline.training.dynamic_evaluation import Rates, choose_rates

    window = config.dynamic_window
    if split.total < 2 * window:
        raise InputError(
            f"the training split has {split.total:,} characters; dynamic evaluation needs two "
            f"windows of {window}: use a smaller dynamic_window or a longer text"
        )
    count = max(1, min(config.dynamic_search_characters, split.total // 2) // window)
    dynamic.measure_gradients(split.training_windows(1, window).take(count).as_numpy_iterator())
    if config.dynamic_learning_rate:
        return Rates(config.dynamic_learning_rate, config.dynamic_decay)
    path = os.path.join(directory, TRIALS)
    if not files.exists(path):  # an interrupted evaluation has chosen before
        first = split.windows_per_epoch(1, window) - count
        tried_on = list(split.training_windows(1, window, start=first).as_numpy_iterator())
        trials = choose_rates(dynamic, tried_on, LEARNING_RATES, DECAYS)
        rows = [{**one.rates._asdict(), "nats_per_character": one.losses.mean} for one in trials]
        write_text(path, json.dumps(rows, indent=1) + "\n")
    best = json.loads(read_text(path))[0]
    return Rates(best["learning_rate"], best["decay"])


def _evaluate(
    dynamic: "DynamicModel", split: "StreamedSplit", config: DynamicEvaluationConfig, directory: str
) -> "Losses":
    """Scores the text with the trained weights."""
    from pipeline.training.dynamic_evaluation import Losses

    path, total = os.path.join(directory, STATIC), Losses(0.0, 0)
    if not files.exists(path):  # an interrupted evaluation has done so before
        window = config.dynamic_window
        windows, count = split.evaluation_windows(1, window, config.dynamic_characters)
        dynamic.reset()
        with progress_bar("Evaluating", unit="characters") as progress:
            for number, ids in enumerate(windows.as_numpy_iterator(), start=1):
                total = total.plus(dynamic.evaluate(ids))
                progress(number * window, count * window)
        if not total.characters:
            raise InputError("the model knows no character of the text; give more of it")
        write_text(path, json.dumps(total._asdict(), indent=1) + "\n")
    return Losses(**json.loads(read_text(path)))


def _score(
    dynamic: "DynamicModel",
    split: "StreamedSplit",
    rates: "Rates",
    config: DynamicEvaluationConfig,
    directory: str,
) -> "Losses":
    """Scores the text, from where an interrupted evaluation was."""
    window = config.dynamic_window
    windows, count = split.evaluation_windows(1, window, config.dynamic_characters)
    total, done = _resume(dynamic, directory)
    saved_at = time.monotonic()
    with progress_bar("Evaluating dynamically", unit="characters") as progress:
        for number, ids in enumerate(windows.skip(done).as_numpy_iterator(), start=done + 1):
            total = total.plus(dynamic.score(ids, rates))
            if not math.isfinite(total.nats):
                raise InputError(
                    f"the weights diverge within {number * window:,} characters; use a "
                    f"dynamic_learning_rate below {rates.learning_rate:g}"
                )
            progress(number * window, count * window, f"{total.mean:.4f} nats")
            if time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                _save(dynamic, directory, total, number)
                saved_at = time.monotonic()
    path = os.path.join(directory, _PROGRESS)
    if files.exists(path):
        files.remove(path)
    return total


def _save(dynamic: "DynamicModel", directory: str, total: "Losses", windows: int) -> None:
    """Writes all that the evaluation resumes from."""
    import numpy as np

    with files.replacing(os.path.join(directory, _PROGRESS), "wb") as file:
        saved: dict[str, Any] = dynamic.saved()
        np.savez(file, total=np.array(total, np.float64), windows=windows, **saved)


def _resume(dynamic: "DynamicModel", directory: str) -> "tuple[Losses, int]":
    """Returns to where an interrupted evaluation was; its losses, and the windows scored."""
    import numpy as np

    from pipeline.training.dynamic_evaluation import Losses

    path = os.path.join(directory, _PROGRESS)
    if files.exists(path):
        try:
            with files.open_file(path, "rb") as file, np.load(io.BytesIO(file.read())) as saved:
                dynamic.restore(saved)
                nats, characters = saved["total"]
                return Losses(float(nats), int(characters)), int(saved["windows"])
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            print_warning(f"{path} is damaged ({error}); the evaluation begins anew")
    dynamic.reset()
    return Losses(0.0, 0), 0


def _outcome(directory: str, losses: "Losses", static: "Losses", rates: "Rates") -> Outcome:
    """Writes the content of the artifact."""
    bits = losses.mean / math.log(2)
    properties = Properties(
        nats_per_character=losses.mean,
        bits_per_character=bits,
        static_nats_per_character=static.mean,
        characters=losses.characters,
        learning_rate=rates.learning_rate,
        decay=rates.decay,
    )
    content = json.dumps(dataclasses.asdict(properties), indent=1)
    write_text(os.path.join(directory, CONTENT), content + "\n")
    summary = (
        f"{losses.mean:.4f} nats, {bits:.4f} bits per character with weights that follow the text, "
        f"{static.mean:.4f} nats with the trained ones, over {losses.characters:,} characters"
    )
    return Outcome(properties, summary)
