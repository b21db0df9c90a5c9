"""The training of one language model over documents, and what is measured of it.

history.csv        a row per pass
net.weights.h5     the weights at the end
words.txt          the vocabulary, a word per line
coherence.json     how often documents are likelier than other orders of their sentences
attention.json     the attention of a sentence to the one before, of the model that has any
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from common import files
from experiments.documents import (
    document_coherence,
    document_nets,
    document_text,
    document_training,
)
from experiments.documents.document_nets import DocumentNet, Sizes, StreamNet
from experiments.documents.document_text import Document, DocumentConfig, DocumentText
from experiments.documents.document_training import DocumentTrainConfig
from experiments.framework.epoch_history import HISTORY, perplexity_of, read_history
from experiments.framework.experiment import Measurement, Row
from experiments.framework.passes import CHECKPOINTS
from model.contexts.sentence_attention import SentenceAttentionContext
from model.errors import InputError
from model.text.word_vocabulary import END, PADDING
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "DocumentTrial"
WEIGHTS = "net.weights.h5"
COHERENCE = "coherence.json"
ATTENTION = "attention.json"

MAPPED = range(4, 13)
"""Numbers of words of the two sentences in a row whose attention is drawn."""


class TrialConfig(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      text: The text.
      sizes: Sizes of the nets.
      train: Configuration of the training.
      beginnings: Numbers of sentences of the beginnings of documents whose coherence is measured.
      orders: Number of other orders of the sentences of each.
    """

    text: DocumentConfig
    sizes: Sizes
    train: DocumentTrainConfig
    beginnings: tuple[int, ...]
    orders: int = document_coherence.SHUFFLES


@dataclasses.dataclass(frozen=True)
class TrialProperties(Properties):
    """The outcome of a training.

    Attributes:
      perplexity: Perplexity of the words and ends of sentences of the test part; a word that the
        vocabulary lacks counts as one word, the unknown one.
      bits: Bits per character of the test part.
      units: Width of the net.
      parameters: Number of trainable parameters.
      seconds: Seconds of training.
      vocabulary: Number of ids over which the softmax is.
      documents: Number of documents to train on.
      words: Number of their words, ends of sentences included.
      test_documents: Number of documents of the test part.
    """

    perplexity: float
    bits: float
    units: int
    parameters: int
    seconds: float
    vocabulary: int
    documents: int
    words: int
    test_documents: int


def require_enough(text: DocumentText, sizes: Sizes) -> None:
    """Checks that a text is long enough for a training step of each net.

    Args:
      text: The text.
      sizes: Sizes of the nets.

    Raises:
      InputError: If it is not.
    """
    words = document_training.words_in(text.train)
    pieces = sum(math.ceil(len(document) / sizes.sentences) for document in text.train)
    if words < sizes.batch_size * sizes.window or pieces < sizes.batch_size:
        raise InputError(
            f"the training part has {words:,} words in {pieces:,} pieces of {sizes.sentences} "
            f"sentences, and a step needs {sizes.batch_size * sizes.window:,} and "
            f"{sizes.batch_size}; give a corpus of more files by --corpus"
        )


def measure(
    store: Store,
    name: str,
    seed: int,
    config: TrialConfig,
    folder: str | None = None,
    examples: Artifact | None = None,
) -> Measurement:
    """Trains a net and measures it, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      name: Name in `document_nets.NETS`.
      seed: Seed of the initial weights and of the order of the documents.
      config: What all nets have in common.
      folder: Local copy of the data sets; see `datasets.read`.
      examples: Examples of the corpus, for the source "corpus".

    Returns:
      The tables `nets` with one row, `curves` with a row per pass, `coherence` with a row per
      number of sentences, and `attention` with a row per word and word of the sentence before.
    """
    parameters: dict[str, Any] = {
        "text": config.text._asdict(),
        "sizes": config.sizes._asdict(),
        "train": dataclasses.asdict(config.train),
        "beginnings": list(config.beginnings),
        "orders": config.orders,
        "name": name,
        "seed": seed,
    }

    def write(directory: str) -> Outcome:
        text = document_text.load(config.text, folder, examples.path if examples else "")
        properties = _run(directory, text, name, seed, config)
        return Outcome(properties, f"perplexity {properties.perplexity:.2f}")

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    roles = {"examples": examples} if examples else {}
    artifact = store.produce(CacheKey.of(STAGE, __name__, roles, parameters), write, resumable=True)
    properties = TrialProperties.read(artifact)
    tables = {
        "nets": [{**dataclasses.asdict(properties), "files": artifact.path}],
        "curves": read_history(artifact.file(HISTORY)),
        "coherence": _read(artifact, COHERENCE),
        "attention": _read(artifact, ATTENTION),
    }
    # The manifest has the time of the last attempt, the history that of all training.
    return Measurement(tables, max(artifact.manifest.seconds, properties.seconds))


def _read(artifact: Artifact, name: str) -> list[Row]:
    rows: list[Row] = json.loads(pathlib.Path(artifact.file(name)).read_text("utf-8"))
    return rows


def _run(
    directory: str, text: DocumentText, name: str, seed: int, config: TrialConfig
) -> TrialProperties:
    """Trains a net, and writes the files of its artifact."""
    vocabulary = text.vocabulary.size
    units = document_nets.width_of(name, vocabulary, config.sizes)
    tf.keras.utils.set_random_seed(seed)
    net = document_nets.build(name, units, vocabulary, config.sizes)
    history = document_training.train(directory, net, text, config.train, seed)
    nats = math.fsum(float(one.sum()) for one in net.sentence_losses(text.test))
    found = [
        {
            "sentences": sentences,
            **document_coherence.measure(net, text.test, sentences, config.orders)._asdict(),
        }
        for sentences in config.beginnings
    ]
    write = pathlib.Path(directory)
    (write / COHERENCE).write_text(json.dumps(found), encoding="utf-8")
    (write / ATTENTION).write_text(json.dumps(attention(net, text)), encoding="utf-8")
    words = write / "words.txt"
    words.write_text(text.vocabulary.to_text(), encoding="utf-8", newline="")
    net.save_weights(os.path.join(directory, WEIGHTS))
    files.rmtree(os.path.join(directory, CHECKPOINTS))
    return TrialProperties(
        perplexity=perplexity_of(nats, document_training.words_in(text.test)),
        bits=nats / math.log(2) / text.characters,
        units=units,
        parameters=document_nets.parameters_of(net),
        seconds=history[-1]["seconds"],
        vocabulary=vocabulary,
        documents=len(text.train),
        words=document_training.words_in(text.train),
        test_documents=len(text.test),
    )


def mapped_sentences(documents: Sequence[Document]) -> Document:
    """Returns two sentences in a row that are neither short nor long, the first of a document.

    Args:
      documents: The documents.

    Returns:
      The sentences; those with which the first document begins if there are no such two.
    """
    for document in documents:
        if all(len(sentence) in MAPPED for sentence in document[:2]):
            return document[:2]
    return documents[0][:2]


def attention(net: DocumentNet, text: DocumentText) -> list[Row]:
    """Returns the attention of a sentence to the one before.

    Args:
      net: The net.
      text: The text.

    Returns:
      A row per `step` of the second sentence and `place` in the first one, with the predicted word,
      the word there and its share; none of a net without attention.
    """
    if not (isinstance(net, StreamNet) and isinstance(net.context, SentenceAttentionContext)):
        return []
    before, sentence = mapped_sentences(text.test)
    shares = net.attention([before, sentence])[len(before) + 1 :]

    def word(at: int) -> str:
        return "end" if at == END else text.vocabulary.text([at]) if at != PADDING else ""

    rows = []
    for step, (target, of_step) in enumerate(zip([*sentence, END], shares, strict=False)):
        first = len(before) - len(of_step)
        rows += [
            {
                "step": step,
                "word": word(int(target)),
                "place": first + place,
                "before": word(int(before[first + place])),
                "share": round(float(share), 5),
            }
            for place, share in enumerate(of_step)
        ]
    return rows
