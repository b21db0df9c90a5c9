"""Sentences from a continuous space, beside language models, by keep rate, annealing and core."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point
from experiments.framework.scale import Scale
from experiments.sentences import sentence_text, sentence_trial
from experiments.sentences.sentence_nets import NetConfig, Sizes
from experiments.sentences.sentence_report import (
    LANGUAGE_MODEL,
    VAE,
    draw_keep_rates,
    draw_training,
    summarize,
)
from experiments.sentences.sentence_text import SentenceConfig
from experiments.sentences.sentence_training import KEEP_RATES, SentenceTrainConfig
from experiments.sentences.sentence_trial import TrialConfig
from pipeline.corpora.corpus import Mixture
from pipeline.settings import DataConfig
from pipeline.stages import example_gen
from pipeline.store.artifacts import Artifact, Store

DATA = DataConfig(train_fraction=0.9)
"""How a corpus is split: half of what is not trained on is the validation part."""


class Comparison(NamedTuple):
    """The comparison at one scale.

    Attributes:
      trial: What all nets have in common.
      seeds: Number of trainings of each net.
      keep_rates: Shares of the words that the decoders of the autoencoders are told.
    """

    trial: TrialConfig
    seeds: int
    keep_rates: Sequence[float] = KEEP_RATES


SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        TrialConfig(
            text=SentenceConfig("corpus", words=8_000, least_count=2, max_words=7, held_out=40),
            sizes=Sizes(units=16, layers=1, latent=4),
            train=SentenceTrainConfig(epochs=2, batch_size=16, learning_rate=0.01),
            samples=5,
        ),
        seeds=1,
        keep_rates=(1.0, 0.0),
    ),
    "small": Comparison(
        TrialConfig(
            text=SentenceConfig(
                "tanaka-ja-en", words=150_000, least_count=3, max_words=15, held_out=300
            ),
            sizes=Sizes(units=128, layers=1, latent=16),
            train=SentenceTrainConfig(epochs=12, learning_rate=0.003),
            samples=100,
        ),
        seeds=2,
    ),
    "full": Comparison(
        TrialConfig(
            text=SentenceConfig(
                "tanaka-ja-en", words=600_000, least_count=2, max_words=15, held_out=500
            ),
            sizes=Sizes(units=512, layers=1, latent=32, dropout=0.3),
            train=SentenceTrainConfig(epochs=40, learning_rate=0.001),
            samples=100,
        ),
        seeds=2,
    ),
}


def examples_of(store: Store, text: Mixture, config: SentenceConfig) -> Artifact | None:
    """Returns the examples of a corpus; None for sentences that need none.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      config: Which sentences.
    """
    return example_gen.run(store, text, DATA) if config.source == "corpus" else None


def prepare(store: Store, scale: Scale, inputs: Inputs) -> None:
    """Writes the examples that all nets are trained on, and checks that they have sentences."""
    config = SCALES[scale].trial.text
    examples = examples_of(store, inputs.text, config)
    sentence_text.load(config, examples.path if examples else "", inputs.data)


def measure(
    store: Store, net: NetConfig, seed: int, config: TrialConfig, text: Mixture, folder: str | None
) -> Measurement:
    """Trains a net and measures it; see `sentence_trial.measure`.

    Args:
      store: Store of the artifacts, held by this process.
      net: Which net.
      seed: Seed of the training.
      config: What all nets have in common, with the keep rate and the annealing of this one.
      text: Corpus.
      folder: Local copy of the data set.
    """
    examples = examples_of(store, text, config.text)
    return sentence_trial.measure(store, net, seed, config, examples, folder)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns the language models, the autoencoders by keep rate, without annealing and by core.

    The other cores have a decoder without inputs, whose only source is the latent vector.

    Args:
      scale: The scale.
      inputs: The user's choices.
    """
    comparison = SCALES[scale]
    annealing = comparison.trial.train.annealing
    lstm = NetConfig("stacked", "stacked")
    nets = [
        *((NetConfig("grid", encoder), 0.0, annealing) for encoder in ("grid", "stacked")),
        (NetConfig("stacked", "grid"), 0.0, annealing),
        *((lstm, rate, annealing) for rate in comparison.keep_rates),
        (lstm, 1.0, 0.0),
        *((NetConfig("stacked"), rate, annealing) for rate in (1.0, 0.0)),
    ]
    made = []
    for seed in inputs.seeds(comparison.seeds):
        for net, rate, rise in nets:
            train = dataclasses.replace(comparison.trial.train, keep_rate=rate, annealing=rise)
            config = comparison.trial._replace(train=train)
            labels = {
                "model": VAE if net.encoder else LANGUAGE_MODEL,
                "encoder": net.encoder,
                "decoder": net.decoder,
                "keep_rate": rate,
                "annealing": rise if net.encoder else 0.0,
                "seed": seed,
            }
            measured = partial(
                measure, net=net, seed=seed, config=config, text=inputs.text, folder=inputs.data
            )
            made.append(Point(labels=labels, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="sentences",
    title="Sentences from a continuous space",
    claim="A variational autoencoder of sentences is about as good as a language model where its "
    "decoder sees all words before the next one, with little divergence, and better where it sees "
    "none: on Penn Treebank 101 nats per sentence, of them 2 of divergence, beside 100, and 125, "
    "of them 15, beside 135 (Bowman et al., arXiv 1511.06349, table 2).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="keep-rates",
            caption="Nats per test sentence by the share of the words that the decoder is told in "
            "training, divided into the reconstruction and the divergence KL(q(z|x) || p(z)); "
            "LSTMs, means over seeds. The language model has no divergence.",
            draw=draw_keep_rates,
        ),
        Plot(
            name="training",
            caption="Divergence of the validation part by passes, by keep rate and without "
            "annealing; LSTMs, mean and range over seeds. The weight of the divergence rises to 1 "
            "with annealing over half of the training.",
            draw=draw_training,
        ),
    ),
    prepare=prepare,
    data_sets={"small": ("tanaka-ja-en",), "full": ("tanaka-ja-en",)},
)
