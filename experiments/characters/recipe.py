"""What changes of the net and its training change, on a text that is read several times."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.characters import language_models
from experiments.framework import plots
from experiments.framework.experiment import (
    Experiment,
    Inputs,
    Plot,
    Point,
    Summary,
    Tables,
    distinct,
)
from experiments.framework.scale import Scale
from pipeline.preset_files import load_preset
from pipeline.settings import Settings
from pipeline.store.artifacts import Store

PRESET = "shakespeare"
"""The preset of all trainings, of which a variant changes some settings."""

PLAIN = "plain"
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.3": {"dropout": 0.3},
    "DropConnect 0.1": {"weight_dropout": 0.1},
    "DropConnect 0.3": {"weight_dropout": 0.3},
    "AdamW 0.1": {"weight_decay": 0.1},
    "averages 0.99": {"average_decay": 0.99},
    "tied embeddings": {"tied_embeddings": True},
    "layer normalisation": {"layer_normalization": True},
    "mogrifier": {"mogrifier_rounds": 4},
    "n-grams": {"contexts": ("ngrams",)},
    "n-grams, layer normalisation": {"contexts": ("ngrams",), "layer_normalization": True},
    "dropout, AdamW, averages": {"dropout": 0.2, "weight_decay": 0.1, "average_decay": 0.99},
}
"""The settings that differ from plain training, by the name of the variant."""


class Recipes(NamedTuple):
    """The trainings at one scale.

    Attributes:
      settings: Settings of all trainings that differ from the preset.
      seeds: Number of trainings of each variant.
      variants: Names of the variants.
    """

    settings: Mapping[str, Any]
    seeds: int
    variants: Sequence[str] = tuple(VARIANTS)


SCALES: dict[Scale, Recipes] = {
    "tiny": Recipes(
        settings={
            "units": 16,
            "batch_size": 8,
            "window": 16,
            "steps": 30,
            "warmup_steps": 5,
            "validate_every": 15,
            "validation_characters": 2000,
        },
        seeds=1,
        variants=(PLAIN, "AdamW 0.1", "averages 0.99"),
    ),
    "small": Recipes(
        settings={
            "train_fraction": 0.1,  # of a million characters, which are then read nine times
            "units": 128,
            "steps": 500,
            "learning_rate": 0.008,
            "warmup_steps": 50,
            "validate_every": 50,
            "validation_characters": 50_000,  # the rest of the text is nine times as long
        },
        seeds=2,
    ),
    "full": Recipes(settings={"validate_every": 250}, seeds=3),
}


def settings(recipes: Recipes, variant: str, seed: int) -> Settings:
    """Returns the settings of a training.

    Args:
      recipes: The trainings at their scale.
      variant: Name of the variant.
      seed: Seed of the training.
    """
    plain = {
        "dropout": 0.0,
        "weight_dropout": 0.0,
        "weight_decay": 0.0,
        "layer_normalization": False,
        "contexts": (),
    }
    fixed = {**plain, "seed": seed, "dtype": "float32"}
    return load_preset(PRESET, {**fixed, **recipes.settings, **VARIANTS[variant]})


def prepare(store: Store, scale: Scale, inputs: Inputs) -> None:
    """Writes the examples that all models are trained on."""
    shared = settings(SCALES[scale], PLAIN, seed=0)
    language_models.examples_of(store, inputs.text, shared.data)


def points(scale: Scale, inputs: Inputs) -> list[Point]:
    """Returns a point per variant and seed.

    Args:
      scale: The scale.
      inputs: The user's choices.
    """
    recipes = SCALES[scale]
    return [
        Point(
            labels={"model": variant, "seed": seed},
            measure=partial(
                language_models.measure,
                text=inputs.text,
                settings=settings(recipes, variant, seed),
            ),
        )
        for seed in inputs.seeds(recipes.seeds)
        for variant in recipes.variants
    ]


def losses_within(tables: Tables, variant: str, seconds: float = math.inf) -> list[float]:
    """Returns the lowest validation loss of each seed of a variant, in nats.

    Args:
      tables: Measurements.
      variant: Name of the variant.
      seconds: Seconds of training that count. Default: all.
    """
    rows = [
        row for row in tables["curves"] if row["model"] == variant and row["seconds"] <= seconds
    ]
    return [
        min(row["loss"] for row in rows if row["seed"] == seed) for seed in distinct(rows, "seed")
    ]


def summarize(tables: Tables) -> Summary:
    """Compares the variants after as many steps and after as much time, the best one first."""
    variants = distinct(tables["models"], "model")
    ends = [
        max(row["seconds"] for row in tables["curves"] if row["model"] == variant)
        for variant in variants
    ]
    time = min(ends)
    means = {variant: mean(losses_within(tables, variant)) for variant in variants}
    rows = []
    for variant in sorted(variants, key=means.__getitem__):
        found = losses_within(tables, variant)
        in_time = losses_within(tables, variant, time)
        nets = [row for row in tables["models"] if row["model"] == variant]
        rows.append(
            (
                variant,
                f"{nets[0]['parameters']:,}",
                f"{means[variant]:.4f}",
                f"{min(found):.4f} to {max(found):.4f}",
                f"{mean(in_time):.4f}" if in_time else "",
                f"{mean(row['seconds'] for row in nets):,.0f}",
            )
        )
    worst = max(losses_within(tables, PLAIN))
    better = [one for one in variants if one != PLAIN and max(losses_within(tables, one)) < worst]
    best = rows[0][0]
    sentences = [
        f"Plain training comes to {means[PLAIN]:.4f} nats per character, {best} to "
        f"{means[best]:.4f}, after as many steps.",
        f"With every seed below the worst seed of plain training: {', '.join(better) or 'none'}.",
    ]
    header = (
        "training", "parameters", "nats per character", "seeds", f"in {time:,.0f} s", "seconds",
    )  # fmt: skip
    return Summary(sentences=sentences, header=header, rows=rows)


def draw_curves(tables: Tables) -> Figure:
    """Draws the validation loss over the characters that were trained on, a line per variant."""
    figure, (axis,) = plots.panels(1, width=6.5, height=5)
    lines = ("-", "--", ":", "-.", (0, (8, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 4)))
    variants = distinct(tables["models"], "model")
    plots.curves(
        axis,
        tables["curves"],
        "characters",
        "loss",
        lambda row: row["model"],
        # Two widths of as many lines, so that all differ in grey, too.
        lambda variant: {
            "linestyle": lines[variants.index(variant) % len(lines)],
            "linewidth": 1.2 if variants.index(variant) < len(lines) else 2.2,
        },
    )
    lowest = min(row["loss"] for row in tables["curves"])
    axis.set(xlabel="characters of training", ylabel="validation loss, nats per character")
    axis.set_ylim(lowest - 0.02, lowest + 0.4)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


EXPERIMENT = Experiment(
    name="recipe",
    title="Regularisation of the training",
    claim="Dropout between the layers, DropConnect on recurrent kernels (Merity, Keskar, Socher, "
    "arXiv 1708.02182), decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101) and averages "
    "of the weights (Polyak, Juditsky, 1992) lower the loss of language models that read their "
    "text several times, as do embeddings tied to the output (Press, Wolf, arXiv 1608.05859), "
    "layer normalisation (Ba, Kiros, Hinton, arXiv 1607.06450), the Mogrifier (Melis, Kočiský, "
    "Blunsom, arXiv 1909.01792) and hashed embeddings of n-grams (Pagnoni and others, arXiv "
    "2412.09871).",
    points=points,
    summarize=summarize,
    plots=(
        Plot(
            name="curves",
            caption="Validation loss over the characters of the training; mean and range over "
            "seeds.",
            draw=draw_curves,
        ),
    ),
    outcomes="models",
    prepare=prepare,
)
