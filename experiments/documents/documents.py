"""Language models that are told the sentence before, beside a 3-D grid over whole documents."""

import itertools
from functools import partial
from typing import NamedTuple

from experiments.documents import document_text, document_trial
from experiments.documents.document_nets import NETS, Sizes
from experiments.documents.document_text import BIBLE, DocumentConfig
from experiments.documents.document_training import DocumentTrainConfig
from experiments.documents.document_trial import TrialConfig
from experiments.documents.documents_report import (
    draw_attention,
    draw_coherence,
    draw_curves,
    summarize,
)
from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point
from experiments.framework.scale import Scale
from pipeline.corpora.corpus import Mixture
from pipeline.settings import DataConfig
from pipeline.stages import example_gen
from pipeline.store.artifacts import Artifact, Store

DATA = DataConfig(train_fraction=0.9, split_by="document")
"""How a corpus is split: half of the files that are not trained on are the validation part."""


class Comparison(NamedTuple):
    """The comparison at one scale.

    Attributes:
      trial: What all nets have in common.
      seeds: Number of trainings of each net.
    """

    trial: TrialConfig
    seeds: int


SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        TrialConfig(
            text=DocumentConfig(
                "corpus", documents=12, held_out=6, max_sentences=16, max_words=10, max_size=120
            ),
            sizes=Sizes(parameters=8_000, batch_size=4, window=16, sentences=8, words=10),
            train=DocumentTrainConfig(epochs=2, learning_rate=0.01),
            beginnings=(2, 4),
            orders=4,
        ),
        seeds=1,
    ),
    "small": Comparison(
        TrialConfig(
            text=DocumentConfig(BIBLE, documents=400, held_out=50, max_sentences=40, max_words=40),
            sizes=Sizes(parameters=600_000, batch_size=16, window=40, sentences=8, words=40),
            train=DocumentTrainConfig(epochs=4),
            beginnings=(2, 3, 6, 12),
        ),
        seeds=2,
    ),
    "full": Comparison(
        TrialConfig(
            text=DocumentConfig(
                BIBLE,
                documents=2_000,
                held_out=200,
                max_sentences=200,
                max_words=100,
                max_size=10_000,
            ),
            sizes=Sizes(parameters=4_000_000, batch_size=32, window=50, sentences=16, words=100),
            train=DocumentTrainConfig(epochs=15, decay=0.8),
            beginnings=(2, 3, 6, 12, 20),
        ),
        seeds=2,
    ),
}


def comparison_at(scale: Scale, inputs: Inputs) -> Comparison:
    """Returns the comparison at a scale, on the corpus where no folder of data sets is named.

    Args:
      scale: The scale.
      inputs: The user's choices.
    """
    comparison = SCALES[scale]
    if inputs.data:
        return comparison
    trial = comparison.trial
    return comparison._replace(trial=trial._replace(text=trial.text._replace(source="corpus")))


def examples_of(store: Store, text: Mixture, config: DocumentConfig) -> Artifact | None:
    """Returns the examples of a corpus; None for a data set.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      config: How the text is cut into documents.
    """
    return example_gen.run(store, text, DATA) if config.source == "corpus" else None


def prepare(store: Store, scale: Scale, inputs: Inputs) -> None:
    """Writes the examples that all nets are trained on, and checks that they are long enough."""
    trial = comparison_at(scale, inputs).trial
    examples = examples_of(store, inputs.text, trial.text)
    text = document_text.load(trial.text, inputs.data, examples.path if examples else "")
    document_trial.require_enough(text, trial.sizes)


def measure(
    store: Store, name: str, seed: int, config: TrialConfig, text: Mixture, folder: str | None
) -> Measurement:
    """Trains a net and measures it; see `document_trial.measure`.

    Args:
      store: Store of the artifacts, held by this process.
      name: Name in `document_nets.NETS`.
      seed: Seed of the training.
      config: What all nets have in common.
      text: Corpus.
      folder: Local copy of the data sets.
    """
    examples = examples_of(store, text, config.text)
    return document_trial.measure(store, name, seed, config, folder, examples)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per seed and net; the grid, which takes longest, first."""
    comparison = comparison_at(scale, inputs)
    made = []
    for seed, name in itertools.product(inputs.seeds(comparison.seeds), reversed(NETS)):
        measured = partial(
            measure,
            name=name,
            seed=seed,
            config=comparison.trial,
            text=inputs.text,
            folder=inputs.data,
        )
        made.append(Point(labels={"model": name, "seed": seed}, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="documents",
    title="Sentences in documents",
    claim="Language models that are told the sentence before come to slightly lower perplexities "
    "than models of sentences, and tell documents from their shuffled sentences far better, as a "
    "model of sentences cannot by construction: 50% (Ji, Cohn, Kong, Dyer, "
    "Eisenstein, arXiv 1511.03962).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="coherence",
            caption="How often the beginning of a document is likelier than its sentences in "
            "another order, by the number of sentences; mean and range over seeds.",
            draw=draw_coherence,
        ),
        Plot(
            name="curves",
            caption="Perplexity of the validation part by passes over the training part; mean and "
            "range over seeds.",
            draw=draw_curves,
        ),
        Plot(
            name="attention",
            caption="Attention of ADCLM to the words of the sentence before (below) where each "
            "word (left) is predicted, the darker the larger; first seed.",
            draw=draw_attention,
        ),
    ),
    prepare=prepare,
    data_sets={"small": (BIBLE,), "full": (BIBLE,)},
)
