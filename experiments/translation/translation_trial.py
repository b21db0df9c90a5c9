"""The training of one net that translates, and what is measured of it.

history.csv            a row per pass over the pairs
net.weights.h5         the weights at the end
source_words.txt       the vocabularies, a word per line
target_words.txt
sources.txt            the test sentences, a sentence per line
references.txt         their translations in the data set
hypotheses.txt         their translations by the net, from which BLEU can be computed again
alignments.json        gradients of some references by the words of their sources
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from common import files
from experiments.framework.epoch_history import HISTORY, read_history
from experiments.framework.experiment import Measurement, Row
from experiments.framework.passes import CHECKPOINTS
from experiments.translation import translation_data, translation_nets, translation_training
from experiments.translation.translation_data import Corpus, Vocabularies
from experiments.translation.translation_nets import Sizes
from experiments.translation.translation_training import TrainConfig
from model.text.word_vocabulary import END
from model.translation.alignment import source_gradients
from model.translation.beam_search import beam_search, greedy_search
from model.translation.reencoder import Reencoder
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "TranslationTrial"
WEIGHTS = "net.weights.h5"
SOURCES, REFERENCES, HYPOTHESES = "sources.txt", "references.txt", "hypotheses.txt"
GREEDY = "greedy_hypotheses.txt"
ALIGNMENTS = "alignments.json"
ALIGNED = 3
"""Number of sentences whose alignment is drawn."""
ALIGNED_WORDS = range(5, 11)
"""Numbers of words of sentences whose alignment fits into a plot."""


class TrialConfig(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      source: Where the pairs come from.
      parameters: Number of parameters of each net.
      least_count: Number of occurrences in the training part from which on a word is known.
      train: Configuration of the training.
      dropout: Dropout rate of all nets.
      beam_width: Width of the beam of the search.
      max_words: Largest number of words of a translation.
      length_power: Power of the length that scores are divided by; see `beam_search`.
    """

    source: translation_data.Source
    parameters: int
    least_count: int
    train: TrainConfig
    dropout: float
    beam_width: int
    max_words: int
    length_power: float


@dataclasses.dataclass(frozen=True)
class TrialProperties(Properties):
    """The outcome of a training.

    Attributes:
      perplexity: Perplexity of the words of the test part, the ends included.
      units: Width of the net.
      parameters: Number of trainable parameters.
      epochs: Number of passes over the training part.
      seconds: Seconds of training.
      greedy_speed: Sentences translated per second by the likeliest word at each place.
      beam_speed: Sentences translated per second by the beam.
      pairs: Number of pairs to train on.
      skipped: Which pairs of the files were skipped, as a sentence; "" for none.
    """

    perplexity: float
    units: int
    parameters: int
    epochs: int
    seconds: float
    greedy_speed: float
    beam_speed: float
    pairs: int
    skipped: str


def measure(
    store: Store, net: str, seed: int, config: TrialConfig, folder: str | None
) -> Measurement:
    """Trains a net and translates the test part, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      net: Name of the net in `translation_nets.NETS`.
      seed: Seed of the initial weights, of the order of the pairs and of the dropout.
      config: What all nets have in common.
      folder: Local copy of the data set.

    Returns:
      The tables `nets` with one row, `curves` with a row per pass, `sentences` with a row per test
      sentence, and `alignments`, of a Reencoder, with a row per pair of words.
    """
    parameters: dict[str, Any] = {
        **config._asdict(),
        "train": config.train._asdict(),
        "net": net,
        "seed": seed,
    }

    def write(directory: str) -> Outcome:
        properties = _run(directory, net, seed, config, folder)
        return Outcome(properties, f"perplexity {properties.perplexity:.2f}")

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    key = CacheKey.of(STAGE, __name__, {}, parameters)
    artifact = store.produce(key, write, resumable=True)
    return measurement(artifact, translation_data.load(config.source, folder))


def measurement(artifact: Artifact, corpus: Corpus) -> Measurement:
    """Returns the measurements of a training.

    Args:
      artifact: Artifact of the training.
      corpus: The pairs.
    """
    properties = TrialProperties.read(artifact)
    known = set(corpus.train.sources), set(corpus.train.targets)
    sentences = [
        {
            "number": number,
            "source": source,
            "reference": reference,
            "hypothesis": hypothesis,
            "greedy_hypothesis": greedy,
            "in_training": source in known[0] or reference in known[1],
        }
        for number, (source, reference, hypothesis, greedy) in enumerate(
            zip(
                *(_lines(artifact, name) for name in (SOURCES, REFERENCES, HYPOTHESES, GREEDY)),
                strict=True,
            )
        )
    ]
    tables = {
        "nets": [{**dataclasses.asdict(properties), "files": artifact.path}],
        "curves": read_history(artifact.file(HISTORY)),
        "sentences": sentences,
        "alignments": json.loads(pathlib.Path(artifact.file(ALIGNMENTS)).read_text()),
    }
    # The manifest has the time of the last attempt, the history that of all training.
    seconds = max(artifact.manifest.seconds, properties.seconds)
    return Measurement(tables, seconds)


def _lines(artifact: Artifact, name: str) -> list[str]:
    return pathlib.Path(artifact.file(name)).read_text(encoding="utf-8").split("\n")[:-1]


def _run(
    directory: str, name: str, seed: int, config: TrialConfig, folder: str | None
) -> TrialProperties:
    """Trains a net, and writes the files of its artifact."""
    corpus = translation_data.load(config.source, folder)
    vocabularies = translation_data.vocabularies_of(corpus.train, config.least_count)
    train, dev, test = (translation_data.encode(part, vocabularies) for part in corpus)
    sizes = vocabularies.source.size, vocabularies.target.size
    units = translation_nets.width_of(name, *sizes, config.parameters)
    keras.utils.set_random_seed(seed)
    net = translation_nets.build(name, Sizes(*sizes, units, config.dropout))
    history = translation_training.train(directory, net, train, dev, config.train, seed)
    perplexity = translation_training.perplexity(translation_training.loss_function(net), test)
    greedy = translation_training.decode(
        lambda ids: greedy_search(net, ids, config.max_words), test.sources
    )
    beam = translation_training.decode(
        lambda ids: beam_search(net, ids, config.beam_width, config.max_words, config.length_power),
        test.sources,
    )
    texts = {
        SOURCES: corpus.test.sources,
        REFERENCES: corpus.test.targets,
        HYPOTHESES: [vocabularies.target.text(ids) for ids in beam.ids],
        GREEDY: [vocabularies.target.text(ids) for ids in greedy.ids],
        "source_words.txt": vocabularies.source.words,
        "target_words.txt": vocabularies.target.words,
    }
    for file, lines in texts.items():
        text = "".join(f"{line}\n" for line in lines)
        pathlib.Path(directory, file).write_text(text, encoding="utf-8", newline="")
    references = [row[row > END].tolist() for row in test.targets]
    alignments = alignment_rows(net, vocabularies, test.sources, references)
    pathlib.Path(directory, ALIGNMENTS).write_text(json.dumps(alignments), encoding="utf-8")
    net.save_weights(os.path.join(directory, WEIGHTS))
    files.rmtree(os.path.join(directory, CHECKPOINTS))
    return TrialProperties(
        perplexity=perplexity,
        units=units,
        parameters=net.count_params(),
        epochs=config.train.epochs,
        seconds=history[-1]["seconds"],
        greedy_speed=greedy.sentences_per_second,
        beam_speed=beam.sentences_per_second,
        pairs=len(corpus.train.sources),
        skipped="; ".join(part.skipped for part in corpus if part.skipped),
    )


def alignment_rows(
    net: Any, vocabularies: Vocabularies, sources: np.ndarray, translations: Sequence[Sequence[int]]
) -> list[Row]:
    """Returns the gradients of the first translations of a middling length, of a Reencoder.

    Args:
      net: The net; others than a Reencoder have none.
      vocabularies: The vocabularies.
      sources: Source ids `[sentences, longest]`, 0 after the last word.
      translations: Ids of the words of each translation.

    Returns:
      A row per word of a source and of its translation, with their places and `norm`, the norm of
      the gradient; see `source_gradients`.
    """
    rows: list[Row] = []
    if not isinstance(net, Reencoder):
        return rows
    lengths = np.count_nonzero(sources, axis=1)
    chosen = [
        number
        for number, ids in enumerate(translations)
        if lengths[number] in ALIGNED_WORDS and len(ids) in ALIGNED_WORDS
    ]
    for number in chosen[:ALIGNED]:
        source, target = sources[number, : lengths[number]], np.array(translations[number])
        norms = source_gradients(net, source, target).numpy()
        for (row, column), norm in np.ndenumerate(norms):
            rows.append(
                {
                    "number": number,
                    "target_place": row,
                    "source_place": column,
                    "target_word": vocabularies.target.text([translations[number][row]]),
                    "source_word": vocabularies.source.text([int(source[column])]),
                    "norm": float(norm),
                }
            )
    return rows
