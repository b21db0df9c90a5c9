"""How deep recurrent nets train: stacked, residual, highway LSTMs, recurrent highway, grids."""

from experiments.characters import core_comparison
from experiments.characters.core_comparison import (
    NAMES,
    SMALL_TRAINING,
    TINY_TRAINING,
    Comparison,
    bits,
    deepest_trained,
    losses,
)
from experiments.framework.experiment import Summary, Tables, difference
from experiments.framework.scale import Scale

SCALES: dict[Scale, Comparison] = {
    "tiny": Comparison(
        layers=dict.fromkeys(NAMES, (1, 3)),
        parameters=3_000,
        seeds=1,
        training=TINY_TRAINING,
    ),
    "small": Comparison(
        layers=dict.fromkeys(NAMES, (2, 5, 8, 10)),
        parameters=80_000,
        seeds=1,
        training={**SMALL_TRAINING, "steps": 800},
    ),
    "full": Comparison(
        layers=dict.fromkeys(NAMES, (2, 5, 8, 10)),
        parameters=20_000_000,
        seeds=1,
        training={},
    ),
}


def summarize(tables: Tables) -> Summary:
    """Summarizes how deep each architecture trains, and which is best at the largest depth."""
    sentences = []
    last = {}
    for architecture, name in NAMES.items():
        of_depths = losses(tables, architecture)
        best = min(of_depths, key=lambda depth: of_depths[depth])
        last[architecture] = of_depths[max(of_depths)]
        sentences.append(
            f"The {name} is best with {best} layers, {bits(of_depths[best]):.3f} bits per "
            f"character, and stays within 10% of that up to {deepest_trained(tables, architecture)}"
            f" layers ({', '.join(map(str, of_depths))} were tried)."
        )
    deepest = max(row["layers"] for row in tables["models"])
    ranked = sorted(last, key=lambda architecture: last[architecture])
    others = ", ".join(f"{NAMES[one]} {bits(last[one]):.3f}" for one in ranked)
    sentences.append(
        f"At {deepest} layers and equal parameters the order is {others}: the grid is "
        f"{difference(last['grid'], last['stacked'])} than the stacked LSTM."
    )
    return core_comparison.summary(tables, sentences)


EXPERIMENT = core_comparison.core_experiment(
    name="depth",
    title="How deep recurrent nets train",
    claim="Gates between the memories of adjacent layers alleviate the vanishing gradient of deep "
    "LSTMs (Zhang et al., arXiv 1510.08983); the LSTM along depth of a grid is such a gate "
    "(Kalchbrenner, Danihelka, Graves, arXiv 1507.01526).",
    scales=SCALES,
    summarize=summarize,
)
