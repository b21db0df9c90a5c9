"""The training of one language model over words, and what is measured of it.

history.csv        a row per pass
net.weights.h5     the weights at the end
words.txt          the vocabulary, a word per line
test_losses.npz    of each word of the test part -ln p, its id, and the id of the word before
neighbours.json    the nearest neighbours of some words
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import files
from experiments.framework.epoch_history import HISTORY, perplexity_of, read_history
from experiments.framework.experiment import Measurement, Row
from experiments.framework.passes import CHECKPOINTS
from experiments.words import word_nets, word_text, word_training
from experiments.words.word_nets import Core, Sizes
from experiments.words.word_text import TextConfig, WordText, streams_of
from experiments.words.word_training import WordTrainConfig
from model.text.word_vocabulary import END, UNKNOWN
from model.words.neighbours import nearest_neighbours
from model.words.word_model import WordModel
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "WordTrial"
WEIGHTS = "net.weights.h5"
LOSSES = "test_losses.npz"
NEIGHBOURS = "neighbours.json"

FREQUENCIES = {"1-9": (1, 9), "10-99": (10, 99), "100-999": (100, 999), "1000+": (1000, 1 << 62)}
"""Ranges of the number of occurrences in the training part, by name."""
UNSEEN = "0"
"""Name of the range of words that the training part lacks."""
UNKNOWN_BIN = "<unk>"
"""Name of the range of targets that the vocabulary lacks."""

QUERIES = 3
"""Number of known words, and of unseen ones, whose neighbours are listed."""
LISTED = 5
"""Number of neighbours of each."""
LEAST_LETTERS = 5
"""Number of letters from which on a word is one to list, as shorter ones have no ending."""


class TrialConfig(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      text: The text.
      sizes: Sizes of the nets.
      train: Configuration of the training.
    """

    text: TextConfig
    sizes: Sizes
    train: WordTrainConfig


@dataclasses.dataclass(frozen=True)
class TrialProperties(Properties):
    """The outcome of a training.

    Attributes:
      perplexity: Perplexity of the words of the test part, ends of lines included; a word that the
        vocabulary lacks counts as one word, the unknown one.
      validation_perplexity: Perplexity of the validation part after the last pass.
      units: Width of the core.
      parameters: Number of trainable parameters.
      epochs: Number of passes over the training part.
      seconds: Seconds of training.
      vocabulary: Number of ids over which the softmax is.
      words: Number of words to train on.
      cut: Number of distinct words of all parts that are longer than a spelling, and are cut.
    """

    perplexity: float
    validation_perplexity: float
    units: int
    parameters: int
    epochs: int
    seconds: float
    vocabulary: int
    words: int
    cut: int


def measure(
    store: Store,
    inputs: str,
    core: Core,
    seed: int,
    config: TrialConfig,
    examples: Artifact | None = None,
) -> Measurement:
    """Trains a net and measures it, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      inputs: Name in `word_nets.INPUTS`.
      core: Name of the recurrent core.
      seed: Seed of the initial weights and of the dropout.
      config: What all nets have in common.
      examples: Examples of the corpus; None for a generated text.

    Returns:
      The tables `nets` with one row, `curves` with a row per pass, `frequencies` with a row per
      range of frequencies, of the predicted word and of the word before, and `neighbours` with a
      row per word.
    """
    parameters: dict[str, Any] = {
        "text": config.text._asdict(),
        "sizes": config.sizes._asdict(),
        "train": dataclasses.asdict(config.train),
        "inputs": inputs,
        "core": core,
        "seed": seed,
    }
    text = word_text.load(config.text, examples.path if examples else "")

    def write(directory: str) -> Outcome:
        properties = _run(directory, text, inputs, core, seed, config)
        return Outcome(properties, f"perplexity {properties.perplexity:.2f}")

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    roles = {"examples": examples} if examples else {}
    artifact = store.produce(CacheKey.of(STAGE, __name__, roles, parameters), write, resumable=True)
    return measurement(artifact, text)


def measurement(artifact: Artifact, text: WordText) -> Measurement:
    """Returns the measurements of a training.

    Args:
      artifact: Artifact of the training.
      text: The text.
    """
    properties = TrialProperties.read(artifact)
    with np.load(artifact.file(LOSSES)) as saved:
        frequencies = by_frequency(text, saved["losses"], saved["inputs"], saved["targets"])
    tables = {
        "nets": [{**dataclasses.asdict(properties), "files": artifact.path}],
        "curves": read_history(artifact.file(HISTORY)),
        "frequencies": frequencies,
        "neighbours": json.loads(pathlib.Path(artifact.file(NEIGHBOURS)).read_text("utf-8")),
    }
    # The manifest has the time of the last attempt, the history that of all training.
    return Measurement(tables, max(artifact.manifest.seconds, properties.seconds))


def _run(
    directory: str, text: WordText, inputs: str, core: Core, seed: int, config: TrialConfig
) -> TrialProperties:
    """Trains a net, and writes the files of its artifact."""
    sizes = text.vocabulary.size, text.spelling.size
    net = word_nets.build(inputs, core, config.sizes, *sizes, config.train.batch_size)
    word_nets.start_uniformly(net, config.train.init_scale, seed)
    history = word_training.train(directory, net, text, config.train, seed)
    test = streams_of(text.test, config.train.batch_size, config.train.window)
    losses = word_training.part_losses(
        word_training.loss_function(net, text), net, test, config.train.window
    )
    np.savez_compressed(os.path.join(directory, LOSSES), losses=losses, **test._asdict())
    found = neighbours(net, text)
    pathlib.Path(directory, NEIGHBOURS).write_text(json.dumps(found), encoding="utf-8")
    words = pathlib.Path(directory, "words.txt")
    words.write_text(text.vocabulary.to_text(), encoding="utf-8", newline="")
    net.save_weights(os.path.join(directory, WEIGHTS))
    files.rmtree(os.path.join(directory, CHECKPOINTS))
    return TrialProperties(
        perplexity=perplexity_of(float(losses.sum()), losses.size),
        validation_perplexity=history[-1]["validation_perplexity"],
        units=net.config.core.units,
        parameters=net.count_params(),
        epochs=config.train.epochs,
        seconds=history[-1]["seconds"],
        vocabulary=text.vocabulary.size,
        words=len(text.train),
        cut=sum(map(text.spelling.is_cut, text.words)),
    )


def by_frequency(
    text: WordText, losses: np.ndarray, inputs: np.ndarray, targets: np.ndarray
) -> list[Row]:
    """Returns the perplexity by the frequency of the predicted word, and of the word before.

    Args:
      text: The text.
      losses: -ln p of each word, `[streams, steps]`.
      inputs: Ids of the words before, `[streams, steps]`.
      targets: Ids of the words, `[streams, steps]`.

    Returns:
      A row per range that has words: `side` is "target" for ranges of the predicted word, of which
      one is that of all words that the vocabulary lacks, and "input" for ranges of the word before,
      of which one is that of words that the training part lacks.
    """
    known = text.known(targets)
    groups = {("target", UNKNOWN_BIN): known == UNKNOWN}
    groups["input", UNSEEN] = text.counts[inputs] == 0
    for name, (least, most) in FREQUENCIES.items():
        for side, ids in (("target", targets), ("input", inputs)):
            counts = text.counts[ids]
            chosen = (least <= counts) & (counts <= most)
            if side == "target":
                chosen &= known != UNKNOWN
            groups[side, name] = chosen
    return [
        {
            "side": side,
            "occurrences": name,
            "words": int(chosen.sum()),
            "perplexity": perplexity_of(float(losses[chosen].sum()), int(chosen.sum())),
        }
        for (side, name), chosen in groups.items()
        if chosen.any()
    ]


def queries_of(text: WordText) -> list[int]:
    """Returns the ids of the words whose neighbours are listed.

    These are the most frequent known words of letters, and the most frequent ones of the test part
    that the training part lacks.

    Args:
      text: The text.
    """

    def is_listed(word: str) -> bool:
        return word.isalpha() and len(word) >= LEAST_LETTERS

    known = [at for at in range(END, text.vocabulary.size) if is_listed(text.words[at])]
    ids, counts = np.unique(text.test, return_counts=True)
    order = ids[np.argsort(-counts, kind="stable")]
    unseen = [int(at) for at in order if text.counts[at] == 0 and is_listed(text.words[at])]
    return known[:QUERIES] + unseen[:QUERIES]


def neighbours(net: WordModel, text: WordText) -> list[Row]:
    """Returns the known words that are nearest to some, by the cosine of their vectors.

    Args:
      net: The net.
      text: The text.

    Returns:
      A row per word and `layer`: "table" for the rows of a table, which has none of unseen words,
      "before" and "after" for vectors before and after the highway layers.
    """
    known = range(UNKNOWN + 1, text.vocabulary.size)
    queries = queries_of(text)
    vectors: dict[str, tf.Tensor] = {}
    ids = tf.constant([*known, *queries])
    if net.config.inputs == "words":
        queries = [one for one in queries if one in known]
        vectors["table"] = net.embedding(ids[: len(known) + len(queries)])
    else:
        characters = tf.gather(text.table(), ids)
        vectors["before"] = net.embedding.features(characters)
        if net.config.highway_layers:
            vectors["after"] = net.embedding.highway(vectors["before"])
    rows = []
    for layer, of_all in vectors.items():
        count = min(LISTED + 1, len(known))
        found = nearest_neighbours(of_all[: len(known)], of_all[len(known) :], count)
        for query, places in zip(queries, found.places.numpy(), strict=True):
            others = [known[place] for place in places if known[place] != query]
            rows.append(
                {
                    "word": text.words[query],
                    "occurrences": int(text.counts[query]),
                    "layer": layer,
                    "neighbours": " ".join(text.words[one] for one in others[:LISTED]),
                }
            )
    return rows


def frequency_names(rows: Sequence[Row], side: str) -> list[str]:
    """Returns the names of the ranges of one side that have words, from the rarest on.

    Args:
      rows: Rows of `by_frequency`.
      side: "target" or "input".
    """
    order = [UNKNOWN_BIN, UNSEEN, *FREQUENCIES]
    present = {row["occurrences"] for row in rows if row["side"] == side}
    return [name for name in order if name in present]
