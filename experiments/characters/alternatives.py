"""Character models with a word context, a softmax by the last characters, and both, by width."""

import functools
import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.characters import language_models
from experiments.framework import plots
from experiments.framework.experiment import (
    Experiment,
    Inputs,
    Measurement,
    Plot,
    Point,
    Row,
    Summary,
    Tables,
    difference,
    distinct,
)
from experiments.framework.scale import Scale
from model.contexts.word_conditioned import WordContext
from model.language_model.character_model import CharacterModel
from model.language_model.config import Architecture, ModelConfig
from pipeline.baselines.measuring import Texts, measure
from pipeline.baselines.texts import read_text
from pipeline.corpora.corpus import Mixture
from pipeline.preset_files import load_preset
from pipeline.settings import Settings
from pipeline.stages import schema_gen
from pipeline.store.artifacts import Store

PRESET = "enwik8-stacked3"
"""The preset of all trainings, of which the experiment changes some settings."""

NONE = "none"
ADDITIONS: dict[str, tuple[str, ...]] = {
    NONE: (),
    "output": ("output",),
    "word": ("word",),
    "both": ("output", "word"),
}
"""The contexts of each addition."""

CORES: dict[str, str] = {"stacked": "LSTM", "grid": "Grid LSTM"}
"""The names of the cores in tables and plots."""

NGRAM = "n-gram"

_LOOKS: dict[str, dict[str, Any]] = {
    NONE: {"marker": "o", "linestyle": "-", "color": "#1a6fb5"},
    "output": {"marker": "s", "linestyle": "--", "color": "#d9662b"},
    "word": {"marker": "^", "linestyle": ":", "color": "#3f8f4f"},
    "both": {"marker": "D", "linestyle": "-.", "color": "#a04fb0"},
}
"""What tells the additions apart, also where there is no colour."""


class Alternatives(NamedTuple):
    """The trainings at one scale.

    Attributes:
      architectures: The cores.
      units: Widths of each.
      settings: Settings of the training that differ from the preset.
      seeds: Number of trainings of each model.
    """

    architectures: Sequence[Architecture]
    units: Sequence[int]
    settings: Mapping[str, Any]
    seeds: int


SCALES: dict[Scale, Alternatives] = {
    "tiny": Alternatives(
        architectures=("stacked",),
        units=(8,),
        settings={
            "batch_size": 8,
            "window": 16,
            "steps": 30,
            "validate_every": 15,
            "validation_characters": 2000,
            "learning_rate": 0.01,
        },
        seeds=1,
    ),
    "small": Alternatives(
        architectures=("stacked", "grid"),
        units=(64, 128, 256),
        settings={
            "batch_size": 32,
            "window": 50,
            "steps": 350,
            "validate_every": 70,
            "validation_characters": 50_000,
            "learning_rate": 0.01,
        },
        seeds=2,
    ),
    "full": Alternatives(
        architectures=("stacked", "grid"),
        units=(64, 128, 256),
        settings={"steps": 50_000, "validate_every": 1000, "validation_characters": 1_000_000},
        seeds=2,
    ),
}


def settings(
    chosen: Alternatives, architecture: Architecture, units: int, addition: str, seed: int
) -> Settings:
    """Returns the settings of a training.

    Args:
      chosen: The trainings at their scale.
      architecture: The core, of one layer.
      units: Width of the core, and of the slow net over words.
      addition: Name of the addition.
      seed: Seed of the training.
    """
    fixed = {
        "layers": 1,
        "optimizer": "adam",
        "schedule": "cosine",
        "warmup_steps": 20,
        "clip_value": 0.0,
        "clip_norm": 1.0,
        "dropout": 0.0,
        "init_scale": 0.0,
        "remat_steps": 0,
        "quantize": False,
        "dtype": "float32",
    }
    net = {
        "architecture": architecture,
        "units": units,
        "contexts": ADDITIONS[addition],
        "seed": seed,
    }
    return load_preset(PRESET, {**fixed, **chosen.settings, **net})


def prepare(store: Store, _: Scale, inputs: Inputs) -> None:
    """Writes the examples that all models are trained on."""
    language_models.examples_of(store, inputs.text, load_preset(PRESET).data)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns the n-grams, and a point per seed, width, core and addition.

    Args:
      scale: The scale.
      inputs: The user's choices.
    """
    chosen = SCALES[scale]
    of_nets = [
        Point(
            labels={
                "model": architecture,
                "addition": addition,
                "units": units,
                "seed": seed,
            },
            measure=functools.partial(
                measure_net,
                text=inputs.text,
                settings=settings(chosen, architecture, units, addition, seed),
            ),
        )
        for seed in inputs.seeds(chosen.seeds)
        for units in chosen.units
        for architecture in chosen.architectures
        for addition in ADDITIONS
    ]
    any_net = settings(chosen, chosen.architectures[0], chosen.units[0], NONE, 0)
    of_ngrams = Point(
        labels={"model": NGRAM, "addition": NONE, "units": 0, "seed": inputs.first_seed},
        measure=functools.partial(measure_ngrams, text=inputs.text, settings=any_net),
    )
    return [of_ngrams, *of_nets]


def measure_net(store: Store, text: Mixture, settings: Settings) -> Measurement:
    """Trains a model and measures it.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      settings: Settings of data, model and training.

    Returns:
      The tables of `language_models.measure`, where `models` also has the multiplications per
      character.
    """
    measurement = language_models.measure(store, text, settings, pieces=8)
    examples, schema = language_models.examples_of(store, text, settings.data)
    characters = characters_per_word(language_models.text_of(examples, "eval"))
    size = schema_gen.read_vocabulary(schema.path).size
    count = multiplications(settings.model, size, characters)
    (row,) = measurement.tables["models"]
    return measurement._replace(
        tables={**measurement.tables, "models": [{**row, "multiplications": count}]}
    )


def characters_per_word(text: bytes) -> float:
    """Returns the number of characters of a text by that of its words, separators included."""
    return len(text) / max(len(text.split()), 1)


def multiplications(config: ModelConfig, vocabulary_size: int, per_word: float) -> int:
    """Returns the multiplications that predict one character: one per weight of a kernel.

    The slow net over words multiplies once a word. The word softmax is of training alone. A kernel
    of the context `output` counts as the sum W + U_s that it is, in place of the model's W.

    Args:
      config: Architecture of the model.
      vocabulary_size: Number of distinct characters.
      per_word: Characters of a word, with the separators after it.
    """
    model = CharacterModel(config, vocabulary_size)
    of_core = sum(_size(one) for one in model.core.trainable_variables if "kernel" in one.name)
    of_words = sum(
        _size(one)
        for context in model.contexts
        if isinstance(context, WordContext)
        for one in (context.slow_net.kernel, context.input_kernel)
    )
    return round(of_core + _size(model.output_kernel) + of_words / per_word)


def _size(variable: Any) -> int:
    return math.prod(variable.shape)


def measure_ngrams(store: Store, text: Mixture, settings: Settings) -> Measurement:
    """Measures n-grams on the characters of the validations, after as much text as a net reads.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      settings: Settings of the nets.
    """
    examples, schema = language_models.examples_of(store, text, settings.data)
    config = settings.training
    limit = config.steps * config.batch_size * config.window
    vocabulary = schema_gen.read_vocabulary(schema.path)
    train = read_text(examples.path, "train", vocabulary, limit, from_end=True)
    evaluated = read_text(examples.path, "eval", vocabulary, config.validation_characters)
    texts = Texts(train.ids, evaluated.ids, vocabulary)
    measured = measure(texts, methods=[NGRAM])[NGRAM]
    row: Row = {
        "loss": measured.bits_per_character * math.log(2),
        "parameters": 0,
        "multiplications": 0,
        "characters": len(train.ids),
        "seconds": measured.seconds,
        "text": measured.method,
    }
    return Measurement({"models": [row]}, measured.seconds)


def losses(tables: Tables, architecture: str, units: int, addition: str) -> list[float]:
    """Returns the validation losses of the seeds of a model, in nats."""
    wanted = architecture, units, addition
    return [
        row["loss"]
        for row in tables["models"]
        if (row["model"], row["units"], row["addition"]) == wanted
    ]


def nets(tables: Tables) -> list[tuple[str, int]]:
    """Returns the cores and widths that were measured without an addition, the cores in turn."""
    found = {
        (row["model"], row["units"])
        for row in tables["models"]
        if row["model"] != NGRAM and row["addition"] == NONE
    }
    return sorted(found, key=lambda net: (list(CORES).index(net[0]), net[1]))


def ngrams(tables: Tables) -> Row | None:
    """Returns the row of the n-grams; None if they have not been measured."""
    return next((row for row in tables["models"] if row["model"] == NGRAM), None)


def summarize(tables: Tables) -> Summary:
    """Compares the additions at equal width."""
    rows, sentences = [], []
    for architecture, units in nets(tables):
        plain = mean(losses(tables, architecture, units, NONE))
        for addition in ADDITIONS:
            found = losses(tables, architecture, units, addition)
            if found:
                rows.append(_summary_row(tables, architecture, units, addition, plain))
    for addition in [one for one in ADDITIONS if one != NONE]:
        sentences += _sentences(tables, addition)
    baseline = ngrams(tables)
    if baseline:
        bits = baseline["loss"] / math.log(2)
        rows.append(
            (baseline["text"], "", "", "", "", f"{bits:.4f}", "", f"{baseline['seconds']:,.0f}")
        )
        better = sum(row["loss"] < baseline["loss"] for row in tables["models"])
        sentences.append(
            f"The n-grams, which read the last {baseline['characters']:,} characters before those "
            f"that are predicted, come to {bits:.4f} bits per character; {better} of the "
            f"{len(tables['models']) - 1} trained models are better."
        )
    header = (
        "core", "units", "addition", "parameters", "multiplications per character",
        "bits per character", "against none", "seconds",
    )  # fmt: skip
    return Summary(sentences=sentences, header=header, rows=rows)


def _summary_row(
    tables: Tables, architecture: str, units: int, addition: str, plain: float
) -> Sequence[str]:
    """Returns the row of a model in the table of the report."""
    found = losses(tables, architecture, units, addition)
    same = (architecture, units, addition)
    trained = [
        row for row in tables["models"] if (row["model"], row["units"], row["addition"]) == same
    ]
    bits = [loss / math.log(2) for loss in found]
    spread = f" ({min(bits):.4f} to {max(bits):.4f})" if len(bits) > 1 else ""
    return (
        CORES[architecture],
        str(units),
        addition,
        f"{trained[0]['parameters']:,}",
        f"{trained[0]['multiplications']:,}",
        f"{mean(bits):.4f}{spread}",
        "" if addition == NONE else difference(mean(found), plain),
        f"{mean(row['seconds'] for row in trained):,.0f}",
    )


def _sentences(tables: Tables, addition: str) -> list[str]:
    """Returns what an addition changes by width, a sentence per core."""
    sentences = []
    for architecture in distinct(tables["models"], "model"):
        widths = [units for core, units in nets(tables) if core == architecture]
        changes, clear = [], 0
        for units in widths:
            plain = losses(tables, architecture, units, NONE)
            found = losses(tables, architecture, units, addition)
            if found:
                changes.append(f"{difference(mean(found), mean(plain))} at {units} units")
                clear += max(found) < min(plain)
        if changes:
            name = "Both additions make" if addition == "both" else f"The addition {addition} makes"
            sentences.append(
                f"{name} the loss of the {CORES[architecture]} {', '.join(changes)}; every seed is "
                f"below every seed without it at {clear} of {len(changes)} widths."
            )
    return sentences


def draw_widths(tables: Tables) -> Figure:
    """Draws the bits per character over the width, a panel per core and a line per addition."""
    cores = list(dict.fromkeys(core for core, _ in nets(tables)))
    figure, axes = plots.panels(len(cores), height=3.6)
    baseline = ngrams(tables)
    for axis, architecture in zip(axes, cores, strict=True):
        rows = [
            {**row, "bits": row["loss"] / math.log(2)}
            for row in tables["models"]
            if row["model"] == architecture
        ]
        plots.curves(axis, rows, "units", "bits", lambda row: row["addition"], _LOOKS.__getitem__)
        if baseline:
            bits = baseline["loss"] / math.log(2)
            axis.axhline(bits, color="#6b7580", linewidth=1, label="n-grams")
        widths = distinct(rows, "units")
        axis.set_xscale("log")
        axis.set_xticks(widths, [str(one) for one in widths])
        axis.minorticks_off()
        axis.set(title=CORES[architecture], xlabel="units")
    axes[0].set_ylabel("bits per character")
    axes[0].legend()
    return figure


EXPERIMENT = Experiment(
    name="alternatives",
    title="Words and output kernels as contexts of character models",
    claim="A slow net over words that conditions the characters, and a softmax whose kernel "
    "depends on the last characters, lower the loss of character models of equal width, most where "
    "they are small (Bojanowski, Joulin, Mikolov, arXiv 1511.06303).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="widths",
            caption="Validation loss over the width of the core; mean and range over seeds.",
            draw=draw_widths,
        ),
    ),
    outcomes="models",
    prepare=prepare,
)
