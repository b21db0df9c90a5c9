"""Words from their characters, beside a table of words, with stacked LSTMs and with grids."""

import itertools
from functools import partial
from typing import NamedTuple

from experiments.framework.experiment import Experiment, Inputs, Measurement, Plot, Point
from experiments.framework.scale import Scale
from experiments.words import word_text, word_trial
from experiments.words.character_aware_report import (
    draw_curves,
    draw_frequencies,
    summarize,
)
from experiments.words.word_nets import INPUTS, Core, Sizes
from experiments.words.word_text import TextConfig
from experiments.words.word_training import WordTrainConfig
from experiments.words.word_trial import TrialConfig
from pipeline.corpora.corpus import Mixture
from pipeline.settings import DataConfig
from pipeline.stages import example_gen
from pipeline.store.artifacts import Artifact, Store

DATA = DataConfig(train_fraction=0.9)
"""How a corpus is split: half of what is not trained on is the validation part."""

CORES: tuple[Core, ...] = ("stacked", "grid")


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
            text=TextConfig("generated", words=4_000, least_count=2, max_length=12),
            sizes=Sizes(parameters=20_000, layers=1, maps_per_width=3, widths=(1, 2, 3, 4)),
            train=WordTrainConfig(epochs=4, batch_size=8, window=10),
        ),
        seeds=1,
    ),
    # With the paper's 25 maps per character two highway layers alone have 1.1 million weights, and
    # with its batches a training of minutes has too few steps for plain gradient descent.
    "small": Comparison(
        TrialConfig(
            text=TextConfig("corpus", words=150_000, least_count=2),
            sizes=Sizes(parameters=1_200_000, layers=1, maps_per_width=10),
            train=WordTrainConfig(epochs=5, batch_size=10, window=20),
        ),
        seeds=2,
    ),
    "full": Comparison(
        TrialConfig(
            text=TextConfig("corpus", words=1_000_000, least_count=2),
            sizes=Sizes(parameters=5_000_000, layers=2, dropout=0.5),
            train=WordTrainConfig(epochs=25),
        ),
        seeds=2,
    ),
}


def examples_of(store: Store, text: Mixture, config: TextConfig) -> Artifact | None:
    """Returns the examples of a corpus; None for a generated text.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      config: How the text is cut into words.
    """
    return example_gen.run(store, text, DATA) if config.source == "corpus" else None


def prepare(store: Store, scale: Scale, inputs: Inputs) -> None:
    """Writes the examples that all nets are trained on, and checks that they are long enough."""
    trial = SCALES[scale].trial
    examples = examples_of(store, inputs.text, trial.text)
    text = word_text.load(trial.text, examples.path if examples else "")
    word_text.require_windows(text, trial.train.batch_size, trial.train.window)


def measure(
    store: Store, inputs: str, core: Core, seed: int, config: TrialConfig, text: Mixture
) -> Measurement:
    """Trains a net and measures it; see `word_trial.measure`.

    Args:
      store: Store of the artifacts, held by this process.
      inputs: Name in `word_nets.INPUTS`.
      core: Name of the recurrent core.
      seed: Seed of the initial weights and of the dropout.
      config: What all nets have in common.
      text: Corpus.
    """
    examples = examples_of(store, text, config.text)
    return word_trial.measure(store, inputs, core, seed, config, examples)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per seed, core and kind of input; those that take longest first."""
    comparison = SCALES[scale]
    made = []
    for seed, core, name in itertools.product(
        inputs.seeds(comparison.seeds), reversed(CORES), reversed(INPUTS)
    ):
        measured = partial(
            measure, inputs=name, core=core, seed=seed, config=comparison.trial, text=inputs.text
        )
        made.append(Point(labels={"core": core, "model": name, "seed": seed}, measure=measured))
    return made


EXPERIMENT = Experiment(
    name="character-aware",
    title="Words from their characters",
    claim="A language model over words whose inputs are made from characters, by convolutions and "
    "a highway layer, is on par with one that has a table of words and more parameters: on Penn "
    "Treebank the small models come to a test perplexity of about 93 and 98 (Kim, Jernite, Sontag, "
    "Rush, arXiv 1508.06615; figures of the authors' code, github.com/yoonkim/lstm-char-cnn).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="frequencies",
            caption="Perplexity by the number of occurrences of the predicted word in the training "
            "part, and of the word before it; means over seeds. Words that the vocabulary lacks "
            "count as one word, <unk>, and 0 are words that the training part lacks.",
            draw=draw_frequencies,
        ),
        Plot(
            name="curves",
            caption="Perplexity of the validation part by passes over the training part; mean and "
            "range over seeds.",
            draw=draw_curves,
        ),
    ),
    prepare=prepare,
)
