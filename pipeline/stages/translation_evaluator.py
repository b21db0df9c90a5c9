"""TranslationEvaluator: measures the exported model on the eval split.

metrics.json                  the metrics, and those of the version pushed last
translations.tsv              source, reference and translation of each pair that was translated
BLESSED or NOT_BLESSED        see `pipeline.store.blessing`
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.files import read_text, write_text
from common.progress import progress_bar
from model.errors import InputError
from pipeline.data import pair_statistics
from pipeline.data.sentence_pairs import SentencePair
from pipeline.stages import word_schema_gen
from pipeline.stages.context import RunContext
from pipeline.store import blessing, manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.lineage import Pushed, pushed_before, require_trained_by
from pipeline.store.manifest import CacheKey, Fingerprinted
from pipeline.training.exports import saved_models

NAME = "TranslationEvaluator"
TRAINED_BY = "TranslationTrainer"
METRICS = "metrics.json"
TRANSLATIONS = "translations.tsv"
ROWS = 50
"""Number of sentences that are translated at once."""


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a TranslationEvaluator artifact.

    Attributes:
      bleu: BLEU of the translations, of words as they are in the corpus, from 0 to 100.
      perplexity: Exponential of the mean of -ln p of the words of the references and their ends.
      pairs: Number of pairs that were translated.
      unigram_perplexity: Perplexity of the same words by their frequencies in the training split.
    """

    bleu: float
    perplexity: float
    pairs: int
    unigram_perplexity: float


class Metrics(NamedTuple):
    """How well a model translates.

    Attributes:
      bleu: BLEU of the translations, from 0 to 100.
      perplexity: Perplexity of the words of the references and their ends.
      translations: The translations, in the order of the pairs.
    """

    bleu: float
    perplexity: float
    translations: list[str]


def plan(
    context: RunContext, model: Fingerprinted, examples: Fingerprinted, schema: Fingerprinted,
    statistics: Fingerprinted,
) -> CacheKey:  # fmt: skip
    """Returns the cache key that `execute` will use; reads which version was pushed last."""
    baseline = pushed_before(context.base_path, model, TRAINED_BY)
    return _cache_key(
        model, examples, schema, statistics, baseline, context.settings.translation.evaluated_pairs
    )


def execute(
    context: RunContext, model: Artifact, examples: Artifact, schema: Artifact, statistics: Artifact
) -> Artifact:
    """Runs the stage in a context, against the model pushed last."""
    return run(
        context.store,
        model,
        examples,
        schema,
        statistics,
        pushed_before(context.base_path, model, TRAINED_BY),
        context.settings.translation.evaluated_pairs,
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
    schema: Fingerprinted,
    statistics: Fingerprinted,
    baseline: Pushed | None,
    count: int,
) -> CacheKey:
    inputs: dict[str, Fingerprinted | str] = {
        "model": model,
        "examples": examples,
        "schema": schema,
        "statistics": statistics,
    }
    if baseline:
        inputs["baseline"] = baseline.fingerprint
    return CacheKey.of(NAME, __name__, inputs, {"pairs": count})


def run(
    store: Store,
    model: Artifact,
    examples: Artifact,
    schema: Artifact,
    statistics: Artifact,
    baseline: Pushed | None,
    count: int = 1000,
) -> Artifact:
    """Evaluates an exported model on the first pairs of the eval split.

    Args:
      store: Store of the artifacts.
      model: Artifact of TranslationTrainer.
      examples: Artifact of ExampleGen.
      schema: Artifact of WordSchemaGen.
      statistics: Artifact of PairStatisticsGen; a model whose perplexity is not below that of the
        words' frequencies is not blessed.
      baseline: Version pushed last, which must not be better; None if there is none.
      count: Largest number of pairs. Default 1000.

    Returns:
      The artifact with the metrics, the translations and the blessing.

    Raises:
      InputError: If no pair is short enough for the models that are compared.
    """
    import tensorflow as tf

    from pipeline.data.pair_batches import PairedSplit, Vocabularies

    def write(directory: str) -> Outcome:
        vocabularies = Vocabularies(*word_schema_gen.read_vocabularies(schema.path))
        saved_model = saved_models(model)["float32"]
        paths = [saved_model, *([baseline.path] if baseline else [])]
        loaded = {path: tf.saved_model.load(path) for path in paths}
        most = min(longest(translator, path) for path, translator in loaded.items())
        pairs = PairedSplit(examples.path, "eval", vocabularies, most).sentences(count)
        if not pairs:
            raise InputError(
                f"no pair of the eval split has at most {most} words, which is what the models "
                "that are compared can translate; give the new one another --model_name"
            )
        metrics = evaluate(loaded[saved_model], pairs)
        against, same_words = None, True
        if baseline:
            against = evaluate(loaded[baseline.path], pairs)
            same_words = target_words(saved_model) == target_words(baseline.path)
        words = pair_statistics.read(statistics.path, "train")
        unigram = _unigram_perplexity(words.words[1], words.pairs, vocabularies.target.words, pairs)
        objection = objections(metrics, against, unigram, baseline, same_words)
        properties = Properties(
            bleu=metrics.bleu,
            perplexity=metrics.perplexity,
            pairs=len(pairs),
            unigram_perplexity=unigram,
        )
        content: dict[str, Any] = {**dataclasses.asdict(properties), "baseline": None}
        if baseline and against:
            content["baseline"] = {
                "version": baseline.version,
                "bleu": against.bleu,
                "perplexity": against.perplexity,
            }
        write_text(os.path.join(directory, METRICS), json.dumps(content, indent=1) + "\n")
        rows = zip(pairs, metrics.translations, strict=True)
        lines = [f"{source}\t{target}\t{found}\n" for (source, target), found in rows]
        write_text(os.path.join(directory, TRANSLATIONS), "".join(lines))
        blessing.write(directory, objection)
        summary = (
            f"BLEU {metrics.bleu:.2f}, perplexity {metrics.perplexity:.2f} over {len(pairs):,} "
            f"pairs, {'not blessed' if objection else 'blessed'}"
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(model, examples, schema, statistics, baseline, count), write)


def objections(
    metrics: Metrics,
    against: Metrics | None,
    unigram: float,
    baseline: Pushed | None,
    same_words: bool = True,
) -> str:
    """Returns the reason why a model is not blessed; empty if it is.

    Args:
      metrics: Metrics of the model.
      against: Metrics of the version pushed last; None if there is none.
      unigram: Perplexity of the words by their frequencies.
      baseline: Version pushed last; None if there is none.
      same_words: Whether both know the same words. Perplexities of other words do not compare, as
        all that are unknown count as one; translations do. Default True.
    """
    if not metrics.perplexity < unigram:
        return (
            f"the perplexity of {metrics.perplexity:.2f} is no better than the {unigram:.2f} of "
            "the words' frequencies alone; train longer"
        )
    if baseline and against and not same_words and metrics.bleu < against.bleu:
        return (
            f"the BLEU of {metrics.bleu:.2f} is lower than the {against.bleu:.2f} of version "
            f"{baseline.version}, pushed last"
        )
    if baseline and against and same_words and metrics.perplexity > against.perplexity:
        return (
            f"the perplexity of {metrics.perplexity:.2f} is worse than the "
            f"{against.perplexity:.2f} of version {baseline.version}, pushed last"
        )
    return ""


def longest(translator: Any, path: str) -> int:
    """Returns the largest number of words of a sentence that a SavedModel translates.

    Args:
      translator: The SavedModel.
      path: Its directory.

    Raises:
      InputError: If the model does not say, as those of earlier versions.
    """
    if not hasattr(translator, "longest"):
        raise InputError(
            f"{path} does not say how long its sentences may be, as an earlier version of "
            "this software wrote it; give the new model another --model_name"
        )
    return int(translator.longest())


def target_words(saved_model: str) -> str:
    """Returns the words of the translations of a SavedModel, as they are among its assets.

    Args:
      saved_model: Directory of the SavedModel.
    """
    from serving.graph.export_translator import TARGET_VOCABULARY

    return read_text(os.path.join(saved_model, "assets", TARGET_VOCABULARY))


def evaluate(translator: Any, pairs: Sequence[SentencePair]) -> Metrics:
    """Measures a SavedModel, by its signatures.

    Args:
      translator: The SavedModel.
      pairs: Pairs of sentences, words between single spaces.
    """
    import tensorflow as tf
    from sacrebleu.metrics import BLEU

    signatures = translator.signatures
    nats, words, translations = 0.0, 0, []
    with progress_bar("Translating", unit="sentences") as progress:
        for first in range(0, len(pairs), ROWS):
            rows = pairs[first : first + ROWS]
            sources, targets = map(tf.constant, zip(*rows, strict=True))
            scored = signatures["score_translations"](sources=sources, targets=targets)
            nats -= float(tf.reduce_sum(scored["log_probabilities"]))
            words += int(tf.reduce_sum(scored["words"]))
            found = signatures["translate"](sources=sources)["translations"].numpy()
            translations += [text.decode() for text in found]
            progress(first + len(rows), len(pairs))
    # The words are those of the corpus, which is split already.
    bleu = BLEU(tokenize="none", force=True).corpus_score(
        translations, [[pair.target for pair in pairs]]
    )
    return Metrics(bleu.score, math.exp(min(nats / max(words, 1), 700.0)), translations)


def _unigram_perplexity(
    counts: Mapping[str, int], sentences: int, known: Sequence[str], pairs: Sequence[SentencePair]
) -> float:
    """Returns the perplexity of the targets of pairs by the frequencies of words.

    Args:
      counts: Number of occurrences of each word in the training split.
      sentences: Number of sentences of it, and so of ends.
      known: Words of the vocabulary; all others count as one.
      pairs: Pairs of sentences.
    """
    total = sum(counts.values()) + sentences
    shares = {word: counts[word] / total for word in known}
    unknown = max(total - sentences - sum(counts[word] for word in known), 1) / total
    end = sentences / total
    nats, words = 0.0, 0
    for pair in pairs:
        nats -= math.log(end) + sum(
            math.log(shares.get(word, unknown)) for word in pair.target.split()
        )
        words += len(pair.target.split()) + 1
    return math.exp(nats / max(words, 1))
