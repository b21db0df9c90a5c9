"""The training of one language model of sentences, and what is measured of it.

history.csv        a row per pass
logs/              the same for TensorBoard
net.weights.h5     the weights at the end
words.txt          the vocabulary, a word per line
test_bounds.npz    of each test sentence the bounds of -ln p, and the divergence
samples.json       sentences between two others, and ends of sentences
"""

import dataclasses
import json
import os
import pathlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from common import files
from experiments.framework.epoch_history import HISTORY, read_history
from experiments.framework.experiment import Measurement
from experiments.framework.passes import CHECKPOINTS
from experiments.sentences import sentence_nets, sentence_samples, sentence_text, sentence_training
from experiments.sentences.sentence_nets import NetConfig, Sizes
from experiments.sentences.sentence_text import SentenceConfig, Sentences
from experiments.sentences.sentence_training import SentenceTrainConfig
from model.sentences import objective
from model.sentences.sentence_model import SentenceModel
from model.text.word_vocabulary import END
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Properties

STAGE = "SentenceTrial"
WEIGHTS = "net.weights.h5"
BOUNDS = "test_bounds.npz"
SAMPLES = "samples.json"
LISTED = 5
"""Number of sentences of which a report quotes the imputed end."""


class TrialConfig(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      text: The sentences.
      sizes: Sizes of the nets.
      train: Configuration of the training, of which points change the keep rate and the annealing.
      samples: Number of latent vectors per test sentence for the bounds.
    """

    text: SentenceConfig
    sizes: Sizes
    train: SentenceTrainConfig
    samples: int


@dataclasses.dataclass(frozen=True)
class TrialProperties(Properties):
    """The outcome of a training, on the test part.

    Attributes:
      bound: Mean upper bound of -ln p(x), by the evidence lower bound, in nats per sentence; of a
        language model without a latent vector -ln p(x) itself.
      weighted_bound: The same by the importance-weighted bound.
      divergence: Mean of KL(q(z|x) || p(z)), in nats; 0 without a latent vector.
      information: Mutual information of sentences and latent vectors, in nats.
      active_units: Number of active components of the latent vector.
      adversarial_error: Share of ends of sentences that a classifier takes for what they are not;
        None where the decoder has no inputs, or no sentence is long enough.
      words: Number of words of a test sentence on average, the end included.
      parameters: Number of trainable parameters.
      seconds: Seconds of training.
      sentences: Number of sentences to train on.
      tested: Number of test sentences.
      vocabulary: Number of ids of words.
      left_out: Number of sentences of the training part that were too long, or empty.
    """

    bound: float
    weighted_bound: float
    divergence: float
    information: float
    active_units: int
    adversarial_error: float | None
    words: float
    parameters: int
    seconds: float
    sentences: int
    tested: int
    vocabulary: int
    left_out: int


def measure(
    store: Store,
    net: NetConfig,
    seed: int,
    config: TrialConfig,
    examples: Artifact | None = None,
    folder: str | None = None,
) -> Measurement:
    """Trains a net and measures it, or finds the artifact of the same training.

    Args:
      store: Store of the artifact, held by this process.
      net: Which net.
      seed: Seed of the initial weights, the order of the sentences and the latent vectors.
      config: What all nets have in common, with the keep rate and the annealing of this one.
      examples: Examples of the corpus; None for others.
      folder: Local copy of the data set.

    Returns:
      The tables `nets` with one row, `curves` with a row per pass, `homotopies` with a row per
      sentence, and `imputed` with a row per sentence whose end is quoted.
    """
    parameters: dict[str, Any] = {
        "text": config.text._asdict(),
        "sizes": config.sizes._asdict(),
        "train": dataclasses.asdict(config.train),
        "samples": config.samples,
        "net": net._asdict(),
        "seed": seed,
    }

    def write(directory: str) -> Outcome:
        text = sentence_text.load(config.text, examples.path if examples else "", folder)
        properties = _run(directory, text, net, seed, config)
        return Outcome(
            properties, f"bound {properties.bound:.2f} nats, KL {properties.divergence:.2f}"
        )

    # Other processes write artifacts at the same time, which a stage that resumes leaves alone.
    roles = {"examples": examples} if examples else {}
    artifact = store.produce(CacheKey.of(STAGE, __name__, roles, parameters), write, resumable=True)
    return measurement(artifact)


def measurement(artifact: Artifact) -> Measurement:
    """Returns the measurements of a training.

    Args:
      artifact: Artifact of the training.
    """
    properties = TrialProperties.read(artifact)
    samples = json.loads(pathlib.Path(artifact.file(SAMPLES)).read_text("utf-8"))
    homotopies = [
        {"pair": pair, "place": place, "sentence": sentence}
        for pair, line in enumerate(samples["homotopies"])
        for place, sentence in enumerate(line)
    ]
    tables = {
        "nets": [{**dataclasses.asdict(properties), "files": artifact.path}],
        "curves": read_history(artifact.file(HISTORY)),
        "homotopies": homotopies,
        "imputed": samples["imputed"],
    }
    # The manifest has the time of the last attempt, the history that of all training.
    return Measurement(tables, max(artifact.manifest.seconds, properties.seconds))


def _run(
    directory: str, text: Sentences, net: NetConfig, seed: int, config: TrialConfig
) -> TrialProperties:
    """Trains a net, and writes the files of its artifact."""
    keras.utils.set_random_seed(seed)
    model = sentence_nets.build(net, config.sizes, text.vocabulary.size, config.train.batch_size)
    history = sentence_training.train(directory, model, text, config.train, seed)
    bounds = bounds_of(model, text.test, config, seed)
    np.savez_compressed(os.path.join(directory, BOUNDS), **bounds._asdict())
    measured = sentence_training.validate(
        sentence_training.measuring_function(model, config.train.is_inputless),
        text.test,
        config.train.batch_size,
        seed,
    )
    error = _write_samples(directory, model, text, config.train.is_inputless)
    words = pathlib.Path(directory, "words.txt")
    words.write_text(text.vocabulary.to_text(), encoding="utf-8", newline="")
    model.save_weights(os.path.join(directory, WEIGHTS))
    files.rmtree(os.path.join(directory, CHECKPOINTS))
    return TrialProperties(
        bound=float(bounds.bound.mean()),
        weighted_bound=float(bounds.weighted_bound.mean()),
        divergence=measured.latent.divergence,
        information=measured.latent.information,
        active_units=measured.latent.active_units,
        adversarial_error=error,
        words=float(np.mean(np.argmax(text.test == END, axis=1) + 1)),
        parameters=model.count_params(),
        seconds=history[-1]["seconds"],
        sentences=len(text.train),
        tested=len(text.test),
        vocabulary=text.vocabulary.size,
        left_out=text.left_out,
    )


class UpperBounds(NamedTuple):
    """Upper bounds of -ln p(x) of sentences, in nats; of a language model both are exact.

    Attributes:
      bound: By the evidence lower bound, `[sentences]`.
      weighted_bound: By the importance-weighted bound, `[sentences]`.
    """

    bound: np.ndarray
    weighted_bound: np.ndarray


def bounds_of(model: SentenceModel, ids: np.ndarray, config: TrialConfig, seed: int) -> UpperBounds:
    """Returns upper bounds of -ln p(x) of sentences.

    Args:
      model: The net.
      ids: The sentences, `[sentences, longest]`.
      config: Number of latent vectors per sentence, and whether the decoder is told words.
      seed: Seed of the latent vectors.
    """
    train = config.train
    if model.encoder is None:
        measure = sentence_training.measuring_function(model, train.is_inputless)
        (losses,) = sentence_training.by_batches(measure, ids, train.batch_size, seed)
        return UpperBounds(losses, losses)

    def function(ids: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return objective.bounds(model, ids, seed, config.samples, train.is_inputless)

    compiled = tf.function(function, autograph=False)
    evidence, weighted = sentence_training.by_batches(compiled, ids, train.batch_size, seed)
    return UpperBounds(-evidence, -weighted)


def _write_samples(
    directory: str, model: SentenceModel, text: Sentences, is_inputless: bool
) -> float | None:
    """Writes what a net makes of sentences, and returns the adversarial error of the ends.

    A decoder that was never told a word has nothing to continue: it has neither.
    """
    samples: dict[str, Any] = {"homotopies": [], "imputed": []}
    error = None
    if not is_inputless:
        if model.encoder is not None:
            samples["homotopies"] = sentence_samples.homotopies(model, text.test, text.vocabulary)
        train, test = (
            sentence_samples.impute_last_fifth(model, part, text.vocabulary)
            for part in (text.validation, text.test)
        )
        if train.ends and test.ends:
            error = sentence_samples.adversarial_error(train, test)
        samples["imputed"] = [
            {"beginning": beginning, "end": end, "imputed": imputed}
            for beginning, end, imputed in zip(*(one[:LISTED] for one in test), strict=True)
        ]
    pathlib.Path(directory, SAMPLES).write_text(json.dumps(samples), encoding="utf-8")
    return error
