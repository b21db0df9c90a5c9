"""Probes an exported model: which cells follow a feature, which gates saturate, what goes wrong.

Karpathy, Johnson, Fei-Fei, "Visualizing and Understanding Recurrent Networks", arXiv 1506.02078,
sections 4.2 and 4.4.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from experiments.experiment import Row, Tables
from experiments.language_models import WARM, Export
from experiments.text_features import FEATURES

SHOWN = 400
"""Characters that a cell is drawn over."""
GATES = ("input", "forget", "output")
DIMENSIONS = ("time", "depth")
CONFIDENT = 0.5
"""Probability of the right character below which a prediction is an error."""
KINDS = ("new line", "indentation", "first letter of a word", "rest of a word", "other")


def probe(saved_model: str, text: bytes, pieces: int) -> Tables:
    """Reads pieces of a text by an exported model of bytes, and correlates its cells.

    Args:
      saved_model: the export.
      text: the text.
      pieces: how many to cut from it, evenly spread.

    Returns:
      Tables cells (by feature the cell that follows it best), drawn (its value by character of a
      piece), gates (share of saturated values by layer, dimension and gate) and errors.
    """
    export = Export.load(saved_model)
    cut = export.pieces(text, pieces)
    memories, saturation = [], []
    for piece in cut:  # one at a time, as all gates of all of them would take gigabytes
        found = export.signatures["inspect"](
            text=tf.constant([piece]), layer=tf.constant([-1]), unit=tf.constant([-1])
        )
        memories.append(np.tanh(found["memories"].numpy()[0]))  # as h' = o tanh(m) sees them
        saturation.append(found["saturation"].numpy()[0])
    cells = np.concatenate(memories)  # [characters, layers, units]
    tables: Tables = {"cells": [], "drawn": []}
    for name, feature in FEATURES.items():
        values = [feature(piece) for piece in cut]
        best = strongest(cells, np.concatenate(values))
        if best is None:
            continue
        layer, unit, correlation = best
        row = {"feature": name, "layer": layer + 1, "unit": unit}
        tables["cells"].append({**row, "correlation": round(correlation, 4)})
        # The piece over whose beginning the feature varies the most.
        shown = int(np.argmax([one[:SHOWN].std() for one in values]))
        drawn = zip(cut[shown][:SHOWN], memories[shown][:, layer, unit], strict=False)
        for position, (code, value) in enumerate(drawn):
            row = {"feature": name, "position": position, "character": chr(code)}
            tables["drawn"].append({**row, "value": round(float(value), 3)})
    tables["gates"] = list(_gates(np.mean(saturation, axis=0)))
    tables["errors"] = list(_errors(export, cut))
    return tables


def strongest(cells: np.ndarray, values: np.ndarray) -> tuple[int, int, float] | None:
    """The cell that follows a feature best.

    Args:
      cells: `[characters, layers, units]`.
      values: `[characters]`, of the feature.

    Returns:
      Its layer and unit, and the Pearson correlation, the largest in magnitude; None where the
      feature is constant.
    """
    deviations = values - values.mean()
    if not deviations.any():
        return None
    flat = cells.reshape(len(cells), -1).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    scale = np.sqrt((flat**2).sum(axis=0) * (deviations**2).sum())
    correlations = np.divide(deviations @ flat, scale, out=np.zeros(flat.shape[1]), where=scale > 0)
    best = int(np.abs(correlations).argmax())
    layer, unit = np.unravel_index(best, cells.shape[1:])
    return int(layer), int(unit), float(correlations[best])


def _gates(saturation: np.ndarray) -> Iterator[Row]:
    """Rows of `[layers, dimensions, gates, sides]`."""
    for layer, dimension, gate in np.ndindex(saturation.shape[:3]):
        low, high = saturation[layer, dimension, gate]
        yield {
            "layer": layer + 1,
            "dimension": DIMENSIONS[dimension],
            "gate": GATES[gate],
            "left": round(float(low), 4),
            "right": round(float(high), 4),
        }


def _errors(export: Export, cut: Sequence[bytes]) -> Iterator[Row]:
    """How many of the characters of each kind get less than half of the probability."""
    probabilities = np.exp(export.score(cut)[:, WARM:]).ravel()
    kinds = np.concatenate([kinds_of(piece)[WARM:] for piece in cut])
    wrong = probabilities < CONFIDENT
    for kind in KINDS:
        chosen = kinds == KINDS.index(kind)
        yield {"kind": kind, "count": int(chosen.sum()), "errors": int((wrong & chosen).sum())}


def kinds_of(text: bytes) -> np.ndarray:
    """For each character the number of its kind among `KINDS`, by what stands before it."""
    kinds, before, blank = [], "\n", True
    for code in text:
        character = chr(code)
        if before == "\n":
            kind = 0
        elif blank and character == " ":
            kind = 1
        elif _in_word(character):
            kind = 3 if _in_word(before) else 2
        else:
            kind = 4
        blank = character == "\n" or (blank and character == " ")
        kinds.append(kind)
        before = character
    return np.array(kinds)


def _in_word(character):
    return character.isascii() and (character.isalnum() or character == "_")
